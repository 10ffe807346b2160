"""How often each conclusion is decided rightly, wrongly, or not at all, in simulated studies of known truth.

    .venv/bin/python benchmarks/simulated_conclusions.py --replicas 100            # both designs, four worlds
    .venv/bin/python benchmarks/simulated_conclusions.py --coverage                # of 95 % intervals of the gain

Prints one Markdown table: a row for each conclusion of a design, a column for each world (`simulated_worlds.py` says
what these are, and which means the paper gives). A cell says what is true (`holds`, `fails`, or `neither`, where any
verdict is wrong) and in how many per cent of the studies it is decided rightly / wrongly / not at all. `any` is the
share of studies with a wrong verdict among their conclusions. `reason` is why the first study of the first world
that left a conclusion undecided did so, where more than half of them do.

With --coverage: how often the interval of the mean gain by generated text (sources fixed, Table 2) holds the true
gain, with 2, 5 and 20 sets of each text.

Methods on one set share its luck (correlation 0.5), and so do sets of one seed that differ in the number of samples or
the filter rate.
"""

import argparse
import gc
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from simulated_studies import Simulation
from simulated_truths import truths
from simulated_worlds import DESIGNS, WORLDS, World, world_of

from calibrant.reporting.inference.answers import FAILS, HOLDS, UNDECIDED
from calibrant.reporting.inference.claims import CLAIMS
from calibrant.reporting.inference.generated_claims import gain
from calibrant.reporting.inference.scope import Scope
from calibrant.reporting.results.outcome import choose_outcome

SETS = (2, 5, 20)  # of each text, for --coverage


@dataclass
class Tally:
    """What became of one conclusion in a world.

    Attributes:
        truth: what is true; absent where the design has no runs for it.
        counted: right, wrong, undecided.
        reason: why the first undecided study left it so, and what would decide it.
    """

    truth: bool | None = None
    asked: bool = False
    counted: Counter[str] = field(default_factory=Counter)
    reason: str = ""

    def add(self, verdict: str, reason: str) -> None:
        """Count one study's verdict."""
        if verdict == UNDECIDED:
            self.counted["undecided"] += 1
            self.reason = self.reason or reason
        else:
            right = self.asked and verdict == {True: HOLDS, False: FAILS, None: ""}[self.truth]
            self.counted["right" if right else "wrong"] += 1

    def share(self, what: str) -> float:
        """Per cent of the studies."""
        return 100 * self.counted[what] / max(1, self.counted.total())

    @property
    def told(self) -> str:
        """`holds 97 / 0 / 3`."""
        word = {True: "holds", False: "fails", None: "neither"}[self.truth] if self.asked else "not run"
        return f"{word} " + " / ".join(f"{self.share(w):.3g}" for w in ("right", "wrong", "undecided"))


def tally(world: World, replicas: int, seed: int) -> tuple[dict[str, Tally], float]:
    """Each conclusion's tally, and the share of studies with a wrong verdict among their conclusions."""
    known = truths(world)
    found = {claim.name: Tally(known.get(claim.name), claim.name in known) for claim in CLAIMS}
    spoilt = 0
    for judged in Simulation(world).studies(replicas, seed):
        before = sum(t.counted["wrong"] for t in found.values())
        for j in judged.claims:
            found[j.claim.name].add(j.verdict, "; ".join(part for part in (j.reason, j.would_decide) if part))
        spoilt += sum(t.counted["wrong"] for t in found.values()) > before
    return found, 100 * spoilt / max(1, replicas)


def table(designs: Sequence[str], worlds: Sequence[str], replicas: int, seed: int) -> list[list[str]]:
    """Rows of the table; each world is told on the error stream when it is done."""
    rows = []
    for design in designs:
        tallies, spoilt = {}, {}
        for name in worlds:
            start = time.perf_counter()
            tallies[name], spoilt[name] = tally(world_of(design, name), replicas, seed)
            print(f"{design}, {name}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
        first = tallies[worlds[0]]
        for claim in CLAIMS:
            one = first[claim.name]
            why = one.reason if one.share("undecided") > 50 else ""
            rows.append([design, claim.name, *(tallies[w][claim.name].told for w in worlds), why])
        rows.append([design, "any", *(f"{spoilt[w]:.3g} wrong" for w in worlds), ""])
    return rows


def coverage(replicas: int, seed: int) -> list[list[str]]:
    """How often the interval of the gain holds the true one, in the published world of the paper's design."""
    full = world_of("paper", "published")
    main = [(128, None, None), (128, 4, 0.2)]
    kept = {c: mean for c, mean in full.means.items() if c.target == "0.6" and c[4:] in main}
    rows = []
    for sets in SETS:
        world = replace(full, means=kept, sds={c: full.sds[c] for c in kept}, language={}, seeds=sets)
        simulation, rng = Simulation(world), np.random.default_rng(seed)
        true = sum(mean * (1 if c.origin == "synthetic" else -1) for c, mean in kept.items()) / 12
        held, widths = 0, []
        for _ in range(replicas):
            data = simulation.results(rng)
            outcome = choose_outcome(data)
            assert outcome is not None
            found = gain(Scope(data, outcome), "0.6")
            assert found is not None
            low, high = found.estimate.low, found.estimate.high
            assert low is not None
            assert high is not None
            held += low <= true <= high
            widths.append(high - low)
        rows.append([str(sets), f"{100 * held / replicas:.1f}", f"{float(np.mean(widths)):.3f}"])
    return rows


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The table as text."""
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicas", type=int, default=1000, help="studies of each world (default 1000)")
    parser.add_argument("--design", choices=DESIGNS, nargs="+", default=list(DESIGNS))
    parser.add_argument("--world", choices=WORLDS, nargs="+", default=list(WORLDS))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--coverage", action="store_true", help="of the intervals of the gain, instead")
    options = parser.parse_args()
    if options.coverage:
        rows = coverage(options.replicas, options.seed)
        print(markdown(["sets of each text", "holds the gain, %", "mean width"], rows))
        return
    gc.disable()  # a tenth of the time; polars' frames and the results hold no circles
    rows = table(options.design, options.world, options.replicas, options.seed)
    print(markdown(["design", "conclusion", *options.world, "reason"], rows))


if __name__ == "__main__":
    main()
