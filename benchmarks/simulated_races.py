"""Whole races in worlds of known truth: how often what they say holds, and how sharp it is.

    .venv/bin/python benchmarks/simulated_races.py --worlds 2000                      # worlds with measured variances
    .venv/bin/python benchmarks/simulated_races.py --worlds 2000 --resampled MATRIX   # sets and documents drawn again

Prints a Markdown table. Every world is raced three times on the same sets: by `calibrant.race`, with equal shares of
the same budget, and by the plain rule of a bound for every look and rival (Bonferroni) whose sets go to leader and
challenger one at a time. All run to their budget, or to a bound of zero.

bound holds: share of worlds in which the leader was truly no further from the best than the bound, at the last look
(and at every look). differences: share in which a candidate was called worse that was not. test half: share in which
the interval of the handed-over set's gain over the reference held the true gain, on documents that took no part. bound,
regret: the median bound and the mean true excess of the leader over the best, per cent, over the worlds that the plain
rule was run in; in brackets what the race expected. within 1 %: share with a bound
of at most 1 %.
"""

import argparse
import math
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from scipy import special

from calibrant.race.course import Streams, course
from calibrant.race.evidence import Array
from calibrant.race.handover import best_set, value
from calibrant.race.losses import Losses, Purpose

SPREADS = {"clear": 0.06, "near-tied": 0.015, "equal": 0.0, "uneven": 0.015, "one best": 0.0}  # of true losses
KINDS = tuple(SPREADS)
UNEVEN = (0.5, 1.5)  # of the deviation between sets, of one candidate and the next, in the kind of that name
ONE_BEST = 0.42  # deviations between sets, with 96 sets
PLAIN_WORLDS = 300  # the plain rule is slow, and only its medians are told
SETTINGS = ((4, 12), (4, 48), (4, 200), (8, 24), (8, 96), (12, 48), (12, 200))  # candidates, sets
FEWER = ((4, 48), (8, 96), (12, 200))
PLAIN_LOOKS = 4
ALPHA = 0.05


@dataclass(frozen=True)
class RaceWorld:
    """What sets and documents differ by; losses are logarithms, 0.01 is one per cent.

    Attributes:
        sets: standard deviation between sets of one candidate.
        documents: standard deviation of how one token suits a candidate.
        interaction: standard deviation of how one token suits a set.
        size: tokens of a document.
        halves: documents of the selection half, and of the test half.
        shares: of the deviation between sets that one candidate and the next have.
    """

    sets: float
    documents: float
    interaction: float
    size: float
    halves: int
    shares: tuple[float, ...] = (1.0,)

    def draw(self, means: Array, sets: int, rng: np.random.Generator) -> tuple[Losses, Losses, dict[str, Array]]:
        """Losses on the selection and on the test half, and every set's true loss."""
        true = {
            f"candidate {number}": mean + rng.normal(0, self.sets * self.shares[number % len(self.shares)], sets)
            for number, mean in enumerate(means)
        }
        return self._half(true, rng), self._half(true, rng), true

    def _half(self, true: dict[str, Array], rng: np.random.Generator) -> Losses:
        scores, pulls = {}, {}
        of = math.sqrt(self.size)
        for name, losses in true.items():
            suits = rng.normal(0, self.documents / of, self.halves)
            noise = rng.normal(0, self.interaction / of, (len(losses), self.halves)) + suits
            means = noise.mean(axis=1)
            scores[name] = losses + means
            pulls[name] = (noise - means[:, None]) / math.sqrt(self.halves * (self.halves - 1))
        return Losses(scores, pulls, [np.full(self.halves, self.size)])


@dataclass
class Outcomes:
    """What a rule said in many worlds."""

    bounds: list[float] = field(default_factory=list)
    regrets: list[float] = field(default_factory=list)
    holds: list[bool] = field(default_factory=list)
    all_hold: list[bool] = field(default_factory=list)
    false: list[bool] = field(default_factory=list)
    covers: list[bool] = field(default_factory=list)
    expected: list[float] = field(default_factory=list)

    @property
    def median_bound(self) -> float:
        """Median of the bounds."""
        return float(np.median(self.bounds))

    @property
    def regret(self) -> float:
        """Mean excess of the leader's true loss over the best candidate's."""
        return float(np.mean(self.regrets))

    @property
    def bound_holds(self) -> float:
        """Share of worlds whose last bound holds."""
        return float(np.mean(self.holds))

    @property
    def every_look_holds(self) -> float:
        """Share of worlds in which the bound of every look holds."""
        return float(np.mean(self.all_hold))

    @property
    def false_differences(self) -> float:
        """Share of worlds in which a candidate was called worse than one that is no better."""
        return float(np.mean(self.false))

    @property
    def value_covers(self) -> float:
        """Share of the intervals of the gain that hold the true gain."""
        return float(np.mean(self.covers)) if self.covers else math.nan


def equal_shares(evidence: Any, contenders: Any, number: int, *_: Any) -> Any:
    """The next sets to those with the fewest."""
    given = np.zeros_like(evidence.sets)
    for _ in range(number):
        given[np.argmin(evidence.sets + given)] += 1
    return given


class _Pooled(Streams):
    """Streams whose variance between sets is one for all candidates."""

    def pooled(self, sets: Any) -> Any:
        """What the first sets of each candidate say."""
        found = self.evidence(sets)
        df = int(sets.sum() - len(sets))
        return replace(found, variances=np.full(len(sets), self.squares(sets).sum() / df), df=df)


def plain_race(losses: Losses, names: list[str], budget: int) -> tuple[int, float]:
    """Leader and bound of the plain rule: t quantiles, Bonferroni over looks and rivals, one set at a time."""
    streams, sets = _Pooled(losses, names), np.full(len(names), 2)
    share = ALPHA / (PLAIN_LOOKS * (len(names) - 1))
    while True:
        evidence = streams.pooled(sets)
        errors, _ = evidence.errors()
        leader = evidence.leader
        reach = evidence.means[leader] - evidence.means + special.stdtrit(evidence.df, 1 - share) * errors[leader]
        reach[leader] = -math.inf
        if sets.sum() >= budget:
            return leader, max(0.0, float(reach.max()))
        rival = int(np.argmax(reach))
        sets[leader if sets[leader] <= sets[rival] else rival] += 1


def judge(
    found: dict[str, Outcomes],
    selection: Losses,
    test: Losses,
    means: Array,
    true: dict[str, Array],
    budget: int,
    *,
    with_reference: bool = True,
) -> None:
    """Race one world by the three rules."""
    names = list(selection.scores)
    reference = names[-1] if with_reference else None
    for rule, options in (("race", {}), ("equal shares", {"allocate": equal_shares})):
        ended = course(selection, names, [budget], margin=0.0, reference=reference, **options)
        excess = [means[look.found.leader] - means.min() for look in ended.looks]
        holds = [far <= look.standing.bound + 1e-12 for far, look in zip(excess, ended.looks, strict=True)]
        last = ended.looks[-1]
        of = found[rule]
        of.bounds.append(last.standing.bound)
        of.regrets.append(excess[-1])
        of.expected.append(last.standing.expected)
        of.holds.append(holds[-1])
        of.all_hold.append(all(holds))
        of.false.append(bool((last.found.worse & (means <= means[last.found.leader])).any()))
        if rule == "race":
            counts = dict(zip(names, last.sets.tolist(), strict=True))
            seen = _first(selection, counts)
            handed = best_set(seen, last.standing.as_good)
            if reference is not None and handed.candidate != reference:
                gain = value(_for_test(test, handed.candidate, handed.number, reference, counts), "set", "reference")
                truth = true[reference][: counts[reference]].mean() - true[handed.candidate][handed.number]
                of.covers.append(gain.low <= truth <= gain.high)
    plain = found["plain"]
    if len(plain.bounds) == PLAIN_WORLDS:
        return
    leader, bound = plain_race(selection, names, budget)
    plain.bounds.append(bound)
    plain.regrets.append(means[leader] - means.min())
    plain.holds.append(plain.regrets[-1] <= bound + 1e-12)


def _first(losses: Losses, counts: dict[str, int]) -> Losses:
    return Losses(
        {name: losses.scores[name][:n] for name, n in counts.items()},
        {name: losses.pulls[name][:n] for name, n in counts.items()},
        losses.sizes,
    )


def _for_test(test: Losses, candidate: str, number: int, reference: str, counts: dict[str, int]) -> Losses:
    own, other = slice(number, number + 1), slice(0, counts[reference])
    return Losses(
        {"set": test.scores[candidate][own], "reference": test.scores[reference][other]},
        {"set": test.pulls[candidate][own], "reference": test.pulls[reference][other]},
        test.sizes,
    )


def race_outcomes(
    world: RaceWorld, kind: str, candidates: int, budget: int, worlds: int, seed: int = 0
) -> dict[str, Outcomes]:
    """What the three rules said in worlds of a kind."""
    rng = np.random.default_rng([seed, candidates, budget, KINDS.index(kind)])
    found = {rule: Outcomes() for rule in ("race", "equal shares", "plain")}
    world = replace(world, shares=UNEVEN) if kind == "uneven" else world
    for _ in range(worlds):
        means = rng.normal(0, SPREADS[kind], candidates) if SPREADS[kind] else np.zeros(candidates)
        if kind == "one best":  # and all others worse by what is just not seen: the hardest world for the bound
            means[1:] = ONE_BEST * world.sets * math.sqrt(96 / budget)
        judge(found, *_drawn(world, means, budget, rng), budget, with_reference=kind != "one best")
    return found


def _drawn(world: RaceWorld, means: Array, budget: int, rng: np.random.Generator) -> tuple[Losses, Losses, Array, Any]:
    selection, test, true = world.draw(means, budget, rng)
    return selection, test, means, true


class Matrix:
    """A measured matrix, drawn from again: documents in common, sets of each text with replacement.

    Its own means are the truth; with `equal` every text's mean is moved to the same place.
    """

    def __init__(self, path: Path, target: str, evaluation: str, measure: str) -> None:
        table = pq.read_table(path)
        rows = [row for row in table.to_pylist() if row["target"] == target and row["evaluation"] == evaluation]
        name = Purpose(evaluation, measure).name
        self.texts = sorted({row["text"] for row in rows})
        sets = sorted({row["set"] for row in rows if row["set"].startswith("s")})
        units = sorted({row["number"] for row in rows})
        self.sums = np.zeros((len(self.texts), len(sets), len(units)))
        self.counts = np.zeros(len(units))
        for row in rows:
            if row["measure"] == name and row["set"] in sets:
                at = self.texts.index(row["text"]), sets.index(row["set"]), units.index(row["number"])
                self.sums[at] = row["sum"]
                self.counts[at[2]] = row["count"]
        self.logarithm = measure != "perplexity"

    def scores(self, sums: Array, counts: Array) -> Array:
        """Losses of sums [..., D]."""
        means = sums.sum(axis=-1) / counts.sum()
        return np.log(means) if self.logarithm else means

    def draw(self, candidates: int, budget: int, rng: np.random.Generator, *, equal: bool) -> tuple[Any, ...]:
        """Selection and test half of as many documents as were measured, the true means, and every set's truth."""
        known = len(self.texts)
        texts = rng.integers(known, size=candidates) if candidates > known else np.arange(candidates)
        whole = self.scores(self.sums, self.counts)
        means = whole.mean(axis=1)[texts]
        places = rng.integers(self.sums.shape[1], size=(candidates, budget))
        shift = means.mean() - means if equal else np.zeros(candidates)
        names = [f"candidate {number}" for number in range(candidates)]
        true = {name: whole[text][place] + s for name, text, place, s in zip(names, texts, places, shift, strict=True)}
        halves = [self._half(names, texts, places, shift, rng) for _ in range(2)]
        return halves[0], halves[1], means + shift, true

    def _half(self, names: list[str], texts: Any, places: Any, shift: Array, rng: np.random.Generator) -> Losses:
        units = rng.integers(len(self.counts), size=len(self.counts))
        counts = self.counts[units]
        scores, pulls = {}, {}
        for name, text, place, by in zip(names, texts, places, shift, strict=True):
            sums = self.sums[text][:, units]
            means = sums.sum(axis=1) / counts.sum()
            slope = 1 / means if self.logarithm else np.ones_like(means)
            spread = math.sqrt(len(units) / (len(units) - 1)) / counts.sum()
            pull = slope[:, None] * (sums - means[:, None] * counts) * spread
            scores[name] = (np.log(means) if self.logarithm else means)[place] + by
            pulls[name] = pull[place]
        return Losses(scores, pulls, [counts])


def resampled_outcomes(
    matrix: Matrix, candidates: int, budget: int, worlds: int, *, equal: bool, seed: int = 0
) -> dict[str, Outcomes]:
    """What the three rules said in worlds drawn from a measured matrix."""
    rng = np.random.default_rng([seed, candidates, budget, int(equal)])
    found = {rule: Outcomes() for rule in ("race", "equal shares", "plain")}
    for _ in range(worlds):
        judge(found, *matrix.draw(candidates, budget, rng, equal=equal), budget)
    return found


HEAD = (
    "| worlds | candidates | sets | bound holds (every look) | differences | test half "
    "| bound: race, plain, equal shares | regret (expected): race, plain, equal shares | within 1 % |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def line(kind: str, candidates: int, budget: int, found: dict[str, Outcomes]) -> str:
    """A row of the table."""
    race, plain, equal = (found[rule] for rule in ("race", "plain", "equal shares"))
    within = np.mean(np.array(race.bounds) <= 0.01)
    same = len(plain.bounds)
    bounds = [100 * np.median(each.bounds[:same]) for each in (race, plain, equal)]
    regrets = [100 * np.mean(each.regrets[:same]) for each in (race, plain, equal)]
    expected = 100 * np.mean(race.expected[:same])
    holds = "no other is better" if kind == "equal" else f"{race.bound_holds:.3f} ({race.every_look_holds:.3f})"
    return (
        f"| {kind} | {candidates} | {budget} | {holds} | {race.false_differences:.3f} | {race.value_covers:.3f} | "
        + ", ".join(f"{each:.2f}" for each in bounds)
        + f" | {regrets[0]:.2f} ({expected:.2f}), {regrets[1]:.2f}, {regrets[2]:.2f} | {within:.2f} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=2000)
    parser.add_argument("--sets", type=float, default=0.047, help="deviation between sets")
    parser.add_argument("--documents", type=float, default=0.2, help="deviation of a token's suiting a candidate")
    parser.add_argument("--interaction", type=float, default=0.2, help="deviation of a token's suiting a set")
    parser.add_argument("--size", type=float, default=152, help="tokens of a document")
    parser.add_argument("--halves", type=int, default=27, help="documents of a half")
    parser.add_argument("--resampled", type=Path, help="measured matrix to draw from in place of normal worlds")
    parser.add_argument("--target", default="0.6")
    parser.add_argument("--evaluation", default="fiction")
    parser.add_argument("--measure", default="kl")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(HEAD, flush=True)
    begun = time.time()
    if options.resampled:
        matrix = Matrix(options.resampled, options.target, options.evaluation, options.measure)
        for equal in (False, True):
            for candidates, budget in FEWER:
                found = resampled_outcomes(matrix, candidates, budget, options.worlds, equal=equal, seed=options.seed)
                print(line("measured, made equal" if equal else "measured", candidates, budget, found), flush=True)
    else:
        world = RaceWorld(options.sets, options.documents, options.interaction, options.size, options.halves)
        for kind in KINDS:
            for candidates, budget in FEWER if kind in ("uneven", "one best") else SETTINGS:
                found = race_outcomes(world, kind, candidates, budget, options.worlds, options.seed)
                print(line(kind, candidates, budget, found), flush=True)
    print(f"\n{options.worlds} worlds a row, {time.time() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    main()
