"""The standard error of a group of tasks: lm-eval's, and by the same formula where a member has a single row."""

import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lm_eval.api.group import Group
from lm_eval.config.group import AggMetricConfig

from calibrant.evaluation.tasks.group_error import group_stderr


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=6), min_size=1, max_size=8))
def test_the_error_of_a_group_is_the_pooled_one_of_its_members(answers: list[list[bool]]) -> None:
    """By the deviations of single answers from their task's mean, as lm-eval's formula says where it has one."""

    class Member:
        def __init__(self, name: str) -> None:
            self.task_name = name

    group = Group("g", aggregate_metric_list=[AggMetricConfig("acc")])
    group.get_all_tasks = lambda recursive=True: list(map(Member, map(str, range(len(answers)))))  # type: ignore[method-assign]
    results = {
        str(i): {
            "acc,none": statistics.mean(rows),
            "acc_stderr,none": statistics.stdev(rows) / len(rows) ** 0.5 if len(rows) > 1 else "N/A",
            "sample_len": len(rows),
        }
        for i, rows in enumerate([list(map(float, rows)) for rows in answers])
    }
    total, free = sum(map(len, answers)), sum(len(rows) - 1 for rows in answers)
    found = group_stderr(group, "acc", "none", results)
    if not free:
        assert found is None
        return
    squares = sum((answer - statistics.mean(rows)) ** 2 for rows in answers for answer in rows)
    assert found == pytest.approx((squares / free / total) ** 0.5)
    whole = group.aggregate(results)["acc_stderr,none"]  # type: ignore[arg-type]
    assert whole == "N/A" or whole == pytest.approx(found)
