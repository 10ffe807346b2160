"""A round of a race: from the sets that are measured to what is known and which sets are next."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calibrant.choice.entries import Entry, entries, reference_name
from calibrant.choice.measured_sets import MeasuredSets
from calibrant.choice.pool_record import Pool, given_pool, read_pool
from calibrant.errors import InputError
from calibrant.race.candidates import Candidate, check_candidates
from calibrant.race.course import Course, course
from calibrant.race.losses import Losses, NoLossError
from calibrant.study.paths import StudyPaths


@dataclass(frozen=True)
class Field:
    """Who is in a race, and who is not.

    Attributes:
        racing: candidates by name.
        available: sets that each has text for, in this order.
        refused: reasons of those that are out, by name.
        pools: what is known of each source.
        reference: the name of what is used today; None without one, or where that is out.
    """

    racing: Mapping[str, Entry]
    available: list[int]
    refused: Mapping[str, str]
    pools: Mapping[str, Pool]
    reference: str | None


@dataclass(frozen=True)
class State:
    """A race after some rounds.

    Attributes:
        field: who is in it.
        losses: of what is measured.
        course: what is known, and what is needed next.
        counts: measured sets of each candidate.
        measured: the files of measures that were read.
    """

    field: Field
    losses: Losses
    course: Course
    counts: Mapping[str, int]
    measured: MeasuredSets

    @property
    def needed(self) -> dict[str, int] | None:
        """Sets that each candidate must have in all before it goes on; None where the race has ended."""
        if self.course.needed is None:
            return None
        return dict(zip(self.field.racing, map(int, self.course.needed), strict=True))


def race_field(config: Mapping[str, Any], root: Path) -> Field:
    """Who races, by the records of the pools.

    Raises:
        InputError: fewer than two candidates are left, two are one text, or the reference is out.
    """
    paths, named = StudyPaths(config["study"]), entries(config)
    pools = {
        each.source: given_pool(Path(config["choose"]["reference"]))
        if each.origin == "given"
        else read_pool(root / paths.pool(each.source))
        for each in named.values()
    }
    refused = {name: why for name, each in named.items() if (why := pools[each.source].refusal(each, config))}
    racing = {name: each for name, each in named.items() if name not in refused}
    candidates = [_candidate(each, pools[each.source], config) for each in racing.values()]
    reference = reference_name(config, named)
    why = "; ".join(f"{name}: {reason}" for name, reason in refused.items())
    if reference in refused:
        raise InputError(f"choose.reference: {reference}: {refused[reference]}")
    if len(racing) < 2:
        raise InputError(f"{len(racing)} of {len(named)} candidates can be raced, and two are needed: {why}")
    free = [each for each, entry in zip(candidates, racing.values(), strict=True) if entry.origin != "given"]
    if len(free) > 1:
        check_candidates(free)
    return Field(racing, [each.available for each in candidates], refused, pools, reference)


def _candidate(entry: Entry, pool: Pool, config: Mapping[str, Any]) -> Candidate:
    return entry.candidate(config, pool.sha256, pool.available(entry, config))


def race_state(config: Mapping[str, Any], root: Path, counts: Mapping[str, int]) -> State:
    """Where a race stands once these sets are measured; a candidate whose loss is no number is out.

    Args:
        config: of the study, resolved.
        root: the folder that its paths are relative to.
        counts: measured sets of each candidate; none before the first round.

    Raises:
        InputError: as `race_field`, `MeasuredSets.table` and `course.course`.
    """
    field = race_field(config, root)
    measured = MeasuredSets(config, root)
    names = list(field.racing)
    if counts:
        broken = {}
        for name, entry in field.racing.items():
            if not counts.get(name):
                continue
            try:
                measured.losses({name: entry}, counts)
            except NoLossError as error:
                broken[name] = str(error)
        if broken:
            field = _without(field, broken)
            names = list(field.racing)
    losses = measured.losses(field.racing, counts) if counts else Losses({}, {})
    chosen = config["choose"]
    found = course(
        losses,
        names,
        chosen["budget"],
        margin=float(chosen["margin"]),
        available=field.available,
        reference=field.reference,
    )
    return State(field, losses, found, {name: counts.get(name, 0) for name in names}, measured)


def _without(field: Field, broken: Mapping[str, str]) -> Field:
    left = [name for name in field.racing if name not in broken]
    if len(left) < 2 or field.reference in broken:
        raise InputError("; ".join(f"{name}: {why}" for name, why in broken.items()))
    return Field(
        {name: field.racing[name] for name in left},
        [count for name, count in zip(field.racing, field.available, strict=True) if name in left],
        {**field.refused, **broken},
        field.pools,
        field.reference,
    )
