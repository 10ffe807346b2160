"""Simulated studies of known truth: what the rules decide is right (at length: benchmarks/simulated_conclusions.py)."""

import re
import sys
from collections import Counter
from typing import Any

import numpy as np
import pytest
from support import ROOT

sys.path.append(str(ROOT / "benchmarks"))

from simulated_conclusions import coverage, markdown, tally
from simulated_studies import Simulation
from simulated_truths import alike, every, some, truths
from simulated_worlds import WORLDS, world_of

from calibrant.reporting.inference import statistics
from calibrant.reporting.inference.claims import CLAIMS
from calibrant.reporting.inference.gaps import larger_range, pairs
from calibrant.reporting.results.study_results import StudyResults

FEW = {"paper": 4, "five-seeds": 10}
# Right in nine of ten studies or more of the published world, and so in all but one or two of a few.
DECIDED = {
    "paper": {claim.name for claim in CLAIMS},
    "five-seeds": {
        "generated_beats_real",
        "some_sources_below_magnitude",
        "unfiltered_beats_real",
    },
}


@pytest.mark.parametrize("design", FEW)
def test_in_the_published_world_what_is_decided_is_right(design: str) -> None:
    found, _ = tally(world_of(design, "published"), FEW[design], seed=5)
    counted = sum((each.counted for each in found.values()), Counter[str]())
    assert counted["wrong"] <= 1  # of hundreds of verdicts
    assert {name for name, each in found.items() if each.share("right") > 50} >= DECIDED[design]


@pytest.mark.parametrize("design", FEW)
def test_in_the_null_world_few_are_decided_wrongly(design: str) -> None:
    found, spoilt = tally(world_of(design, "null"), FEW[design], seed=6)
    assert spoilt <= 20
    open_ones = [each for each in found.values() if each.asked and each.truth is None]
    assert len(open_ones) >= 7
    assert sum(each.counted["undecided"] for each in open_ones) >= 0.95 * len(open_ones) * FEW[design]


@pytest.mark.parametrize("world", ["opposite", "unlike"])
def test_what_contradicts_the_paper_is_found(world: str) -> None:
    found, spoilt = tally(world_of("paper", world), 3, seed=7)
    assert spoilt == 0
    fails = [name for name, each in found.items() if each.truth is False and each.share("right") > 50]
    assert len(fails) >= {"opposite": 14, "unlike": 8}[world]


def test_a_reason_says_what_would_decide() -> None:
    found, _ = tally(world_of("five-seeds", "published"), 3, seed=8)
    assert "sets of each text suffice for 80 %" in found["alike_whatever_source"].reason
    assert "a deviation that is halved" in found["deviation_falls_with_amount"].reason


def test_the_example_of_the_page_runs(study: Any, capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/claims.md").read_text(), re.DOTALL)
    assert "data/STUDY/index.json" in block
    exec(compile(block.replace("data/STUDY/index.json", str(study.write())), "docs/claims.md", "exec"), {})
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [claim.name for claim in CLAIMS]


def test_the_page_lists_every_conclusion_and_what_is_simulated_of_it() -> None:
    page = (ROOT / "docs/claims.md").read_text()
    listed = page.split("## The claims")[1].split("**Choices")[0]
    assert listed.count("\n| ") - 1 == len(CLAIMS)
    assert [row.split(" | ")[1] for row in listed.split("|---|---|---|---|\n")[1].splitlines() if row] == [
        claim.section for claim in CLAIMS
    ]


def test_results_are_those_of_the_frame() -> None:
    """Of each study, and not those of the first one again."""
    simulation = Simulation(world_of("paper", "published"))
    for seed in (3, 4):
        one = simulation.results(np.random.default_rng(seed))
        other = StudyResults(simulation.frame(np.random.default_rng(seed)), simulation.world.study)
        assert [one.scores(cell, m) for cell in one.cells for m in one.measures] == [
            other.scores(cell, m) for cell in other.cells for m in other.measures
        ]


def test_each_conclusion_of_the_paper_has_a_truth_in_each_world() -> None:
    for world in WORLDS:
        assert set(truths(world_of("paper", world))) == {claim.name for claim in CLAIMS}
    assert all(truths(world_of("paper", "published")).values())


def test_truths_of_three_kinds() -> None:
    assert (every([1, 2]), every([1, -2]), every([1, 0]), every([-1], 2)) == (True, False, None, True)
    assert (some([-1, 2]), some([-1, -2]), some([-1, 0])) == (True, False, None)
    assert (alike([1, -2], 3), alike([1, -4], 3)) == (True, False)


def test_intervals_of_the_gain_hold_it() -> None:
    rows = coverage(60, seed=9)
    assert [row[0] for row in rows] == ["2", "5", "20"]
    assert all(float(row[1]) >= 85 for row in rows)
    assert markdown(["a"], [["b"]]) == "| a |\n|---|\n| b |"


@pytest.mark.parametrize("sets", [5, 20])
def test_a_margin_that_is_estimated_is_not_taken_as_known(sets: int) -> None:
    """Two settings of one text differ by exactly the margin: 2.5 % of the studies find either side, not 15 %."""
    rng = np.random.default_rng(11)
    within = outside = 0
    for _ in range(400):
        first, second = rng.standard_normal((2, sets))
        found = statistics.estimate(list(second - first + 2.77))
        margin = 2.77 * float(np.std(first, ddof=1))
        within += (statistics.equivalence(found, margin, sets - 1) or 1) < 0.05
        outside += (statistics.p_above(found, margin, sets - 1) or 1) < 0.05
        known, nearly = statistics.equivalence(found, margin), statistics.equivalence(found, margin, 1e9)
        assert known is not None
        assert nearly == pytest.approx(min(1.0, known), abs=1e-3)
    assert max(within, outside) <= 0.05 * 400


@pytest.mark.parametrize(("text", "method", "side"), [(8.0, 2.0, 1), (2.0, 8.0, -1), (0.0, 0.0, 0), (3.0, 3.0, 0)])
def test_the_larger_of_two_ranges(text: float, method: float, side: int) -> None:
    rng = np.random.default_rng(10)
    means = np.add.outer([0, 0, 0, text], [0, 0, method])
    across = pairs(4)[:, :, None] * np.full(3, 1 / 3)
    along = np.full(4, 1 / 4)[:, None] * pairs(3)[:, None, :]
    found = []
    for _ in range(20):
        sets = [row + 0.7 * rng.standard_normal((5, 1)) + 0.7 * rng.standard_normal((5, 3)) for row in means]
        one, _ = larger_range(sets, across, along)
        assert one.low is not None
        assert one.high is not None
        assert one.p is not None
        assert (one.p < 0.05) == one.excludes_zero
        found.append((one.low <= text - method <= one.high, one.excludes_zero, np.sign(one.mean)))
    assert sum(held for held, *_ in found) >= 18
    if side:
        assert all(decided and sign == side for _, decided, sign in found)
    else:
        assert sum(decided for _, decided, _ in found) <= 1
