"""What always giving the same answer scores: the accuracy that a model exceeds only if it reads the questions.

One over the number of choices is less than that wherever the right choices are not spread evenly: most answers of BoolQ
are yes. Everything here comes from the documents that are evaluated; no model is asked.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from calibrant.evaluation.tasks.lm_eval_tasks import TaskSet, undisturbed

POSITIONAL = ("acc", "acc_norm", "acc_bytes", "acc_mutual_info")  # the model chooses one of an item's choices
ACCURACIES = (*POSITIONAL, "exact_match")  # shares of items that are answered rightly


@dataclass(frozen=True)
class RightPositions:
    """Where among their choices the right ones of a task's items stand.

    Attributes:
        items: number of evaluated items.
        counts: how many items have a right choice at a position, by position from 0. An item with fewer choices than a
            position has none there.
    """

    items: int
    counts: Mapping[int, int]


def right_positions(tasks: TaskSet, limit: int | None = None) -> dict[str, RightPositions | None]:
    """The right positions of each task, members of groups included; None for a task without choices to position.

    Args:
        tasks: loaded tasks (`lm_eval_tasks.load_tasks`).
        limit: at most so many items of each task, from the start, as in an evaluation.
    """
    with undisturbed():
        return {name: _of_task(task, limit) for name, task in tasks.tasks.items()}


def constant_accuracy(
    name: str, metric: str, tasks: TaskSet, right: Mapping[str, RightPositions | None]
) -> float | None:
    """The accuracy, 0 to 1, of the best constant answer to a task or group of tasks under a metric.

    For a group one answer is given to all items of its members, which weigh as lm-eval weighs them for that metric.

    Args:
        name: of a task or group among `tasks`.
        metric: as results call it, such as acc.
        tasks: loaded tasks.
        right: `right_positions` of them.

    Returns:
        None where there is no constant answer: the metric is no choice among positions, or the task has none.
    """
    if metric not in POSITIONAL:
        return None
    if name not in tasks.groups:
        return _best([right[name]], by_size=True)
    rules = [rule for rule in tasks.groups[name].aggregate_metric_list or () if rule.metric == metric]
    members = [task.config.task for task in tasks.groups[name].get_all_tasks() if metric in task.aggregation()]
    return _best([right[member] for member in members], by_size=rules[0].weight_by_size) if rules else None


def _best(members: Sequence[RightPositions | None], *, by_size: bool) -> float | None:
    known = [member for member in members if member is not None]
    if not known or len(known) < len(members):
        return None
    total = sum(member.items for member in known)
    shares: dict[int, Fraction] = {}
    for member in known:
        weight = Fraction(1, total) if by_size else Fraction(1, len(known) * member.items)  # of each of its items
        for position, count in member.counts.items():
            shares[position] = shares.get(position, Fraction(0)) + weight * count
    return float(max(shares.values(), default=Fraction(0)))


def _of_task(task: Any, limit: int | None) -> RightPositions | None:
    # A task that computes its own results may mean anything by acc: truthfulqa_mc2, a share of probability.
    if task.OUTPUT_TYPE != "multiple_choice" or callable(task.config.process_results):
        return None
    counts: Counter[int] = Counter()
    items = 0
    for _, document in task.doc_iterator(limit=limit):
        items += 1
        counts.update(_right_choices(task, document))
    return RightPositions(items, counts)


def _right_choices(task: Any, document: Any) -> list[int]:
    """Positions that lm-eval counts as right (`ConfigurableTask.process_results`): mostly one, none for a bad label."""
    choices = task.doc_to_choice(document)
    # Where choices stand inside the context (Winogrande: the sentence up to its end), the label is the task's text.
    label = task.doc_to_text(document) if task.multiple_input else task.doc_to_target(document)
    if isinstance(label, str):
        return [choices.index(label)] if label in choices else []
    labels = label if isinstance(label, list | tuple) else [label]
    return [position for position in range(len(choices)) if position in labels]
