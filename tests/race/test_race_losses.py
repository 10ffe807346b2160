"""Losses from files of measures: one scale, documents in common, and what is refused."""

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from calibrant.errors import InputError
from calibrant.evaluation.measure_table import UnitMeasures, measure_rows
from calibrant.race.candidates import Candidate, check_candidates
from calibrant.race.losses import Purpose, read_losses
from calibrant.settings.choose_settings import ChooseSettings


def table(sums: Any, counts: Any, measure: str = "kl", evaluation: str = "fiction", first: int = 0) -> pa.Table:
    units = [f"tale {first + i}" for i in range(len(sums))]
    return measure_rows([UnitMeasures(evaluation, "text", units, measure, list(sums), list(counts))])


COUNTS = np.array([100, 40, 300, 7, 90, 55, 120, 80, 200, 10, 60, 70])


def drawn(seed: int, sets: int, mean: float) -> list[pa.Table]:
    rng = np.random.default_rng(seed)
    return [table(rng.gamma(9, mean / 9, len(COUNTS)) * COUNTS, COUNTS) for _ in range(sets)]


@pytest.mark.parametrize("measure", ["kl", "perplexity"])
def test_the_variance_of_a_difference_over_documents_is_that_of_drawing_documents_in_common(measure: str) -> None:
    name = {"perplexity": "loss"}.get(measure, measure)
    sets = {
        each: [t.set_column(4, "measure", pa.array([name] * t.num_rows)) for t in drawn(seed, 3, mean)]
        for each, seed, mean in (("a", 1, 0.5), ("b", 2, 0.6))
    }
    losses = read_losses(sets, [Purpose("fiction", measure)])
    sums = {each: np.array([t["sum"].to_numpy() for t in tables]) for each, tables in sets.items()}
    of = math.log if measure == "kl" else float
    for each in sets:
        expected = [of(row.sum() / COUNTS.sum()) for row in sums[each]]
        assert losses.scores[each] == pytest.approx(expected)
    evidence = losses.evidence(["a", "b"])
    rng = np.random.default_rng(3)
    places = rng.integers(len(COUNTS), size=(20_000, len(COUNTS)))
    tokens = COUNTS[places].sum(axis=1)
    logs = np.log if measure == "kl" else np.asarray
    drawn_means = {each: logs(sums[each][:, places].sum(axis=2) / tokens).mean(axis=0) for each in sets}
    spread = (drawn_means["a"] - drawn_means["b"]).var() * len(COUNTS) / (len(COUNTS) - 1)
    assert evidence.document_variances()[0, 1] == pytest.approx(spread, rel=0.15)


def test_a_difference_of_a_hundredth_is_one_per_cent_of_any_measure() -> None:
    for measure, better in (("kl", 0.99), ("flips", 0.99), ("acc", 1 / 0.99)):
        sums = np.full(12, 0.5)
        sets = {"a": [table(sums, np.ones(12, int), measure)], "b": [table(better * sums, np.ones(12, int), measure)]}
        scores = read_losses(sets, [Purpose("fiction", measure)]).scores
        assert scores["a"][0] - scores["b"][0] == pytest.approx(-math.log(0.99))


def test_purposes_are_averaged_with_their_weights() -> None:
    both = {
        name: [
            pa.concat_tables([table(x * COUNTS, COUNTS), table(y * COUNTS[:6], COUNTS[:6], "kl", "speech", first=50)])
        ]
        for name, x, y in (("a", 1.0, 2.0), ("b", 1.5, 1.0))
    }
    found = read_losses(both, [Purpose("fiction", "kl", 3), Purpose("speech", "kl", 1)])
    assert found.scores["b"][0] == pytest.approx(0.75 * math.log(1.5))
    assert found.pulls["a"].shape == (1, 18)
    assert found.documents == pytest.approx(min(_equal(COUNTS), _equal(COUNTS[:6])))


def _equal(sizes: Any) -> float:
    squares = sizes.astype(float) ** 2
    return float(squares.sum() ** 2 / (squares**2).sum())


def test_what_is_no_matrix_of_losses_is_refused() -> None:
    good = table(COUNTS * 0.5, COUNTS)
    purposes = [Purpose("fiction", "kl")]
    with pytest.raises(InputError, match=r"set 0 of b, fiction \(kl\): has no document in common"):
        read_losses({"a": [good], "b": [table(COUNTS * 0.5, COUNTS, first=99)]}, purposes)
    with pytest.raises(InputError, match=r"set 1 of a.*other documents.*\(6 of 12 documents in common\)"):
        read_losses({"a": [good, table(COUNTS[:6] * 0.5, COUNTS[:6])]}, purposes)
    for bad in (math.nan, math.inf):
        sums = COUNTS * 0.5
        sums[3] = bad
        with pytest.raises(InputError, match=r"set 0 of b.*document tale 3: the loss is not a finite number"):
            read_losses({"a": [good], "b": [table(sums, COUNTS)]}, purposes)
    with pytest.raises(InputError, match=r"was not measured; the file has fiction \(kl\)"):
        read_losses({"a": [good]}, [Purpose("fiction", "agreement")])
    with pytest.raises(InputError, match="is 0 on all documents"):
        read_losses({"a": [table(COUNTS * 0.0, COUNTS)]}, purposes)
    with pytest.raises(InputError, match="needs candidates"):
        read_losses({}, purposes)


def candidate(text: str = "web", **other: Any) -> Candidate:
    usual = {"origin": "real", "method": "wanda", "target": "0.6", "sha256": text, "available": 9}
    return Candidate(text, **(usual | {"samples": 8, "length": 512} | other))


def test_candidates_are_named_by_what_they_differ_in() -> None:
    both = [candidate(), candidate(origin="synthetic")]
    assert check_candidates(both) == ["web", "web (self-generated)"]
    options = [candidate(options={"a": "1"}), candidate(options={"a": "2"})]
    assert check_candidates(options) == ["web (a=1)", "web (a=2)"]


def test_candidates_that_cannot_race_are_refused_by_name() -> None:
    news = candidate("news")
    with pytest.raises(InputError, match="two candidates or more, and has web"):
        check_candidates([candidate()])
    with pytest.raises(InputError, match="copy: is the same text, origin, method and options as web"):
        check_candidates([candidate(), candidate("copy", sha256="web")])
    with pytest.raises(InputError, match=r"news: has text for 1 set of 8 x 512 tokens, and 2 are needed.*8,192"):
        check_candidates([candidate(), candidate("news", available=1)])
    with pytest.raises(InputError, match=r"one target, and these have 0\.6, 2:4"):
        check_candidates([candidate(), candidate("news", target="2:4")])
    with pytest.raises(InputError, match="web: two sources have this name"):
        check_candidates([candidate(), candidate(sha256="other")])
    with pytest.raises(InputError, match="--reference wiki: is no candidate; there are web, news"):
        check_candidates([candidate(), news], "wiki")


def test_a_race_chooses_by_divergence_unless_told_otherwise() -> None:
    assert ChooseSettings().measure == Purpose("fiction").measure == "kl"
    with pytest.raises(InputError, match=r"--margin 2.*such as 0\.01 for one per cent"):
        ChooseSettings(margin=2)
    with pytest.raises(InputError, match=r"--budget 3: must be a time such as 60m.*sets, 4 or more"):
        ChooseSettings(budget="3")


def test_two_measures_of_one_text_pull_by_the_same_documents() -> None:
    one = {name: [table(x * COUNTS + np.arange(12), COUNTS)] for name, x in (("a", 1.0), ("b", 1.5))}
    twice = {
        name: [pa.concat_tables([t, t.set_column(4, "measure", pa.array(["flips"] * 12))]) for t in tables]
        for name, tables in one.items()
    }
    single = read_losses(one, [Purpose("fiction", "kl")]).evidence(["a", "b"]).document_variances()
    both = read_losses(twice, [Purpose("fiction", "kl"), Purpose("fiction", "flips")])
    assert both.evidence(["a", "b"]).document_variances() == pytest.approx(single)
    assert len(both.sizes) == 1
    with pytest.raises(InputError, match="weights above 0"):
        read_losses(one, [Purpose("fiction", "kl", 2), Purpose("fiction", "kl", -1)])


def test_a_set_that_is_given_twice_is_refused() -> None:
    first, second = drawn(1, 2, 0.5)
    with pytest.raises(InputError, match=r"set 0 of b.*is the same measurement as set 1 of a"):
        read_losses({"a": [first, second], "b": [second]}, [Purpose("fiction")])
    with pytest.raises(InputError, match=r"the file has fiction \(perplexity\); evaluate it with --dense"):
        read_losses({"a": [table(COUNTS * 0.5, COUNTS, "loss")]}, [Purpose("fiction")])
