"""Results of tasks: rows of task, metric, value and standard error, as lm-eval has them."""

from collections.abc import Mapping
from typing import Any

from lm_eval.evaluator import evaluate as lm_eval_evaluate

from calibrant.evaluation.tasks.constant_answer import ACCURACIES, RightPositions, constant_accuracy, right_positions
from calibrant.evaluation.tasks.group_error import group_stderr
from calibrant.evaluation.tasks.item_answers import ItemAnswers, item_answers
from calibrant.evaluation.tasks.lm_eval_model import TreeLM
from calibrant.evaluation.tasks.lm_eval_tasks import TaskSet, undisturbed

ResultRow = dict[str, Any]


def task_rows(
    lm: TreeLM,
    tasks: TaskSet,
    limit: int | None = None,
    right: Mapping[str, RightPositions | None] | None = None,
    answers: list[ItemAnswers] | None = None,
) -> list[ResultRow]:
    """Run lm-eval on loaded tasks: rows of groups, then of tasks, each metric with lm-eval's standard error.

    Args:
        lm: the model.
        tasks: loaded tasks.
        limit: at most so many items of each task, from the start.
        right: `right_positions` of these tasks and limit, where several models are asked the same; None finds them.
        answers: receives what was answered to each item, where it is wanted.
    """
    right = right_positions(tasks, limit) if right is None else right
    # bootstrap_iters must not be 0, which turns off standard errors; those of means are in closed form anyway.
    with undisturbed():
        results = lm_eval_evaluate(
            lm, tasks.as_lm_eval(), limit=limit, log_samples=answers is not None, bootstrap_iters=1000
        )
    if answers is not None:
        answers += item_answers(tasks, results["samples"])
    rows: list[ResultRow] = []
    for name in [*tasks.groups, *tasks.tasks]:
        found = results["results"].get(name) or results.get("groups", {}).get(name) or {}
        members = tasks.groups[name].get_all_tasks() if name in tasks.groups else [tasks.tasks[name]]
        shots = {tasks.fewshot[task.config.task] for task in members}
        splits = {task.config.test_split or task.config.validation_split for task in members}
        for key, value in found.items():
            metric, comma, kind = key.partition(",")
            if not comma or metric.endswith("_stderr"):
                continue
            stderr = found.get(f"{metric}_stderr,{kind}")
            if stderr in (None, "N/A") and name in tasks.groups:
                stderr = group_stderr(tasks.groups[name], metric, kind, results["results"])
            rows.append(
                {
                    "task": name,
                    "metric": metric if kind == "none" else key,
                    "value": float(value),
                    "stderr": None if stderr in (None, "N/A") else float(stderr),
                    "n": int(found["sample_len"]),
                    "num_fewshot": min(shots) if len(shots) == 1 else None,
                    "task_version": str(results["versions"][name]),
                    "split": "+".join(sorted(splits)),
                    **({"chance": constant_accuracy(name, metric, tasks, right)} if metric in ACCURACIES else {}),
                }
            )
    return rows
