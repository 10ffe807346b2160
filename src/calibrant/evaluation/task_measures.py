"""Measures of tasks by item: whether it was answered rightly, and whether the answer is not the dense model's."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from calibrant.errors import InputError
from calibrant.evaluation.measure_table import FLIPS, UnitMeasures
from calibrant.evaluation.tasks.item_answers import ItemAnswers, flips

ResultRow = dict[str, Any]


def answer_measures(
    found: Sequence[ItemAnswers], dense: Mapping[tuple[str, str], ItemAnswers] | None = None
) -> list[UnitMeasures]:
    """Measures by item: each metric, and the flips from the dense model's answers where these are given.

    Raises:
        InputError: the dense model was asked other items, or not this task.
    """
    measures = []
    for each in found:
        ones = [1] * len(each.items)
        measures.append(UnitMeasures(each.task, "task", each.items, each.metric, each.right, ones))
        if dense is not None and each.answers is not None:
            key = (each.task, each.metric)
            if key not in dense:
                raise InputError(f"has no answers to {each.task} ({each.metric}); evaluate the dense model on it")
            name = FLIPS + each.metric.removeprefix("acc")
            measures.append(UnitMeasures(each.task, "task", each.items, name, flips(dense[key], each), ones))
    return measures


def flip_rows(
    measures: Sequence[UnitMeasures], rows: Sequence[ResultRow], groups: Mapping[str, Collection[str]]
) -> list[ResultRow]:
    """Result rows of the flips among measures: the share of items, described as the task's accuracy is.

    Args:
        measures: of tasks (`answer_measures`).
        rows: the results of these tasks, and of groups of them.
        groups: the tasks of each group. It has a share of its own, over all their items, where each of them has one.
    """
    flipped = {(each.evaluation, each.measure): each.sums for each in measures if each.measure.startswith(FLIPS)}
    names = list(dict.fromkeys(measure for _, measure in flipped))
    shares: list[tuple[str, str, Sequence[float]]] = [
        (group, name, [value for member in members for value in flipped[member, name]])
        for group, members in groups.items()
        for name in names
        if all((member, name) in flipped for member in members)
    ]
    shares += [(task, name, sums) for (task, name), sums in flipped.items()]
    found = []
    for task, name, sums in shares:
        about = next((row for row in rows if row["task"] == task), None)
        if about is None:
            continue  # a group without an accuracy of its own
        number = len(sums)
        share = sum(sums) / number
        error = math.sqrt(share * (1 - share) / (number - 1)) if number > 1 else None
        kept = {key: about[key] for key in ("num_fewshot", "task_version", "split")}
        found.append({"task": task, "metric": name, "value": share, "stderr": error, "n": number} | kept)
    return found
