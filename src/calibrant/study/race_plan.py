"""How many sets of which size a race has time for: arithmetic over a model's shape and a machine's rates.

A budget in time becomes a number of sets before the first is drawn. That number is written down and decides, so that
the answer does not hang on how busy a machine was.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from calibrant.errors import InputError
from calibrant.study import cost
from calibrant.study.choose_section import document_tokens, guards, judging_tasks, judging_texts
from calibrant.study.cost import Rates
from calibrant.study.row_counts import block_rows
from calibrant.study.shapes import Shape
from calibrant.study.stage_needs import TASK_LENGTH, bytes_a_number, evaluation_tokens, stage_needs

# Sequences and tokens of a set, from what a laptop does in seconds to the paper's.
LADDER = ((8, 512), (16, 512), (16, 1024), (32, 1024), (32, 2048), (64, 2048), (128, 2048))
WANTED = 3  # sets of every candidate that a budget should hold: the largest of LADDER for which it does is taken
BESIDE_DENSE = 1.25  # forward passes that divergence and agreement take, beside one of perplexity (docs/race.md)
WORKFLOW = 15.0  # seconds until Snakemake has read the workflow
OTHER_JOBS = 6  # the model, the number format, rounds, the answer

Size = tuple[int, int]


@dataclass(frozen=True)
class Field:
    """Who races, by what a set costs: sets of text as it is, of text that the model writes, and sets that exist."""

    real: int
    synthetic: int
    given: int = 0

    @property
    def candidates(self) -> int:
        """All of them."""
        return self.real + self.synthetic + self.given


@dataclass(frozen=True)
class RaceCosts:
    """Seconds of one core or GPU.

    Attributes:
        real, synthetic, given: of one set of each kind: drawn or written, pruned with, judged.
        once: of what is done whatever the number of sets.
    """

    real: float
    synthetic: float
    given: float
    once: float

    def of_a_set(self, field: Field) -> float:
        """Of a set of the average candidate."""
        total = self.real * field.real + self.synthetic * field.synthetic + self.given * field.given
        return total / field.candidates

    def of_sets(self, sets: int, field: Field) -> float:
        """Of a whole race."""
        return self.once + sets * self.of_a_set(field)

    def sets_in(self, seconds: float, field: Field) -> int:
        """The sets that fit."""
        return max(0, math.floor((seconds - self.once) / self.of_a_set(field) + 1e-9))


def race_costs(config: Mapping[str, Any], shape: Shape, rates: Rates, size: Size) -> RaceCosts:
    """What the sets of a race cost.

    Args:
        config: a resolved configuration with a section `choose`.
        shape: of the model.
        rates: of the machine.
        size: sequences and tokens of a set.
    """
    samples, length = size
    sized = {**config, "calibration": {**config["calibration"], "samples": samples, "length": length}}
    prune = stage_needs("prune", sized, shape, rates, method=config["choose"]["method"]).seconds
    without_text = stage_needs("prune", sized, shape, rates, method="magnitude").seconds
    rows = block_rows(samples, float(config["filter"]["drop"]))
    write = sum(stage_needs(stage, sized, shape, rates, samples=rows).seconds for stage in ("generate", "score"))
    judge = judging_seconds(config, shape, rates)
    guard = _forward_seconds(config, shape, rates, guards(config, "texts"), guards(config, "tasks"))
    start = rates.start + shape.parameters * bytes_a_number(config, rates) / rates.load
    tested = 3 * (judge + guard + start)  # the dense model, the recommended one and the reference's
    texts = 2 * len(config["sources"]) + 2 * len(config["texts"]) + len(config["tasks"])  # fetched, divided, cleaned
    once = WORKFLOW + (texts + OTHER_JOBS) * rates.start + tested
    once += 2 * (judge + start) + without_text  # dense and without text on the selection halves
    given = prune + judge + start
    return RaceCosts(given + rates.start, given + write + rates.start, given, once)


def judging_seconds(config: Mapping[str, Any], shape: Shape, rates: Rates) -> float:
    """One model judged on one half of all that judges."""
    passes = BESIDE_DENSE if config["choose"]["measure"] in ("kl", "agreement") else 1.0
    tasks = judging_tasks(config)
    return passes * _forward_seconds(config, shape, rates, judging_texts(config), []) + (
        _forward_seconds(config, shape, rates, [], tasks) / 2
    )


def sizes(samples: int | None, length: int | None, positions: int | None) -> list[Size]:
    """The sizes that a set may have, the smallest first: those of LADDER with what is given in place of theirs.

    Args:
        samples, length: as they were asked for, if they were.
        positions: of the model, which no sequence exceeds that was not asked for; None: not known.
    """
    longest = math.inf if positions is None else positions
    found = [(samples or each, length or int(min(tokens, longest))) for each, tokens in LADDER]
    return sorted(set(found), key=lambda size: (size[0] * size[1], size[0]))


def size_within(
    seconds: float, choices: Sequence[Size], field: Field, config: Mapping[str, Any], shape: Shape, rates: Rates
) -> Size:
    """The largest of some sizes at which every candidate has WANTED sets in so many seconds; else the smallest."""
    fitting = [
        size
        for size in choices
        if race_costs(config, shape, rates, size).sets_in(seconds, field) >= WANTED * field.candidates
    ]
    return fitting[-1] if fitting else choices[0]


def check_time(typed: str, held: int, least: int, seconds: float, field: Field, size: Size) -> None:
    """Refuse a budget in time that is too small for a first round.

    Args:
        typed: the budget.
        held: sets that fit into it.
        least: sets of the first round.
        seconds: that the first round and what follows it take here.
        field: who races.
        size: of a set.

    Raises:
        InputError: says what would be enough.
    """
    if held >= least:
        return
    raise InputError(
        f"--budget {typed}: holds {held} sets of {size[0]} x {size[1]:,} tokens here; one round of {field.candidates} "
        f"candidates needs {least // field.candidates} each: give {math.ceil(seconds / 60)}m, or less to do: fewer "
        "candidates (--origins real), smaller sets (--samples, --length), less text to judge by (--tokens)"
    )


def _forward_seconds(
    config: Mapping[str, Any], shape: Shape, rates: Rates, texts: Sequence[str], tasks: Sequence[str]
) -> float:
    """Texts as far as they are read, and whole tasks."""
    read = int(config["choose"]["tokens"]) * len(texts)
    named = {**config, "texts": {}, "tasks": {name: config["tasks"][name] for name in tasks}}
    items, _ = evaluation_tokens(named)
    return cost.forward_seconds(shape, rates, read, document_tokens(config), head=True) + cost.forward_seconds(
        shape, rates, items, TASK_LENGTH
    )
