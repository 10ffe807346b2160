"""The standard error of a group of tasks, also where a member has a single row."""

from collections.abc import Mapping
from typing import Any

from lm_eval.api.group import Group
from lm_eval.api.metrics import pooled_sample_stderr


def group_stderr(group: Group, metric: str, kind: str, results: Mapping[str, Mapping[str, Any]]) -> float | None:
    """lm-eval's pooled standard error of a group whose members weigh by their size.

    A member of one row has no standard error, for which lm-eval gives the group none. In its formula, the sum of
    (n - 1) n stderr^2 over members by the sum of (n - 1) and the number of rows, such a member has no term: whatever
    its error is, the group's is known from the others. None: no member has two rows, or members weigh alike.

    Args:
        group: of lm-eval, with its members.
        metric, kind: the metric and its filter, as in `acc,none`.
        results: what lm-eval says of each task, by name.
    """
    rules = [rule for rule in group.aggregate_metric_list or () if rule.metric == metric]
    members = [results.get(task.task_name, {}) for task in group.get_all_tasks()]
    members = [found for found in members if f"{metric},{kind}" in found]
    sizes = [int(found["sample_len"]) for found in members]
    errors = [found.get(f"{metric}_stderr,{kind}") for found in members]
    if not rules or not rules[0].weight_by_size or sum(sizes) <= len(sizes):
        return None
    if any(error in (None, "N/A") and size > 1 for error, size in zip(errors, sizes, strict=True)):
        return None
    known = [0.0 if size == 1 else float(error) for error, size in zip(errors, sizes, strict=True)]  # type: ignore[arg-type]
    return float(pooled_sample_stderr(known, sizes))
