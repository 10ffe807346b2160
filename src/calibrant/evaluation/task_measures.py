"""Measures of tasks by item: whether it was answered rightly, and whether the answer is not the dense model's."""

import math
from collections.abc import Mapping, Sequence
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


def flip_rows(measures: Sequence[UnitMeasures], rows: Sequence[ResultRow]) -> list[ResultRow]:
    """Result rows of the flips among measures: the share of items, described as the task's accuracy is."""
    found = []
    for each in measures:
        if each.measure.startswith(FLIPS):
            number = len(each.sums)
            share = sum(each.sums) / number
            about = next(row for row in rows if row["task"] == each.evaluation)
            error = math.sqrt(share * (1 - share) / (number - 1)) if number > 1 else None
            kept = {key: about[key] for key in ("num_fewshot", "task_version", "split")}
            row = {"task": each.evaluation, "metric": each.measure, "value": share, "stderr": error, "n": number}
            found.append(row | kept)
    return found
