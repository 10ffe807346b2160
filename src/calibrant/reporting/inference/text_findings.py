"""What is said of the choice of text by target: from where on it matters, and what says little of other models."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from calibrant.reporting.inference.observations import Statement
from calibrant.reporting.inference.ranges import Range
from calibrant.reporting.inference.text_effects import TextEffect, TextEffects
from calibrant.reporting.inference.words import NO_INTERVAL
from calibrant.reporting.results.cells import (
    kind_of,
    method_label,
    sparsity_of,
    target_label,
    target_of_run,
    targets_told,
)
from calibrant.reporting.results.model_bits import FileBits
from calibrant.reporting.results.numbers import listed, number

RULE = (
    "The texts differ where the range of their means is too large for the luck of the draw, by the studentized range "
    "over sets, p < 0.05 after Holm's correction over {} of target and method."
)


@dataclass(frozen=True)
class Found:
    """The targets by what was decided of them, each list from mild to severe; a target is any of its methods'.

    Attributes:
        differ: at which texts differ.
        alike: at which that was tested and not found.
        untested: with one set of each text.
        from_one_on: whether no target milder than another in `differ` is in `alike`.
    """

    differ: Sequence[str]
    alike: Sequence[str]
    untested: Sequence[str]
    from_one_on: bool


def found_by_target(effects: TextEffects) -> Found:
    """What was decided, by target."""
    tested = [t for t in effects.targets if any(e.tested for e in effects.at(t).values())]
    differ = [t for t in tested if any(e.differs for e in effects.at(t).values())]
    alike = [t for t in tested if t not in differ]
    return Found(differ, alike, [t for t in effects.targets if t not in tested], tested == [*alike, *differ])


def target_names(targets: Sequence[str]) -> dict[str, str]:
    """Targets within sentences and below an axis: `4 bits`, where all widths share one group (`group_note` says it)."""
    one = common_group(targets)
    return {t: f"{width.bits} bits" if one and (width := target_of_run(t).width) else _whole(t) for t in targets}


def _whole(target: str) -> str:
    return f"{target_label(target)} sparsity" if sparsity_of(target) else target_label(target)


def common_group(targets: Sequence[str]) -> int | None:
    """The group that all widths have; None without widths, with several groups, or beside sparsities of their own."""
    known = [target_of_run(t) for t in targets]
    groups = {t.width.group for t in known if t.width}
    return next(iter(groups)) if len(groups) == 1 and not any(t.width and t.pattern for t in known) else None


def group_note(targets: Sequence[str]) -> str:
    """What `target_names` leaves out; empty where it leaves out nothing."""
    group = common_group(targets)
    return f"Widths have a scale for each {group} columns." if group else ""


def by_target(effects: TextEffects, bits: FileBits | None = None) -> Statement:
    """From which target on the choice of text matters, by how much, and where no difference was found.

    Args:
        effects: what was decided.
        bits: of the file that the model was made of (`model_bits`).
    """
    found, names = found_by_target(effects), target_names(effects.targets)
    said = []
    if found.differ:
        ends = dict.fromkeys([found.differ[0], found.differ[-1]])
        moved = [_moved(effects, target, f" at {names[target]}" if len(found.differ) > 1 else "") for target in ends]
        said.append(f"{_where(found, names)}, the choice of text moves the {effects.measure.name}: {listed(moved)}.")
    if found.alike:
        said.append(_none_found(effects, found.alike, names))
    if found.untested:
        also = f"At {_listed(found.untested, names)}" if len(found.untested) < len(names) else "Here"
        said.append(f"{also} there is one set of each text, and nothing was tested.")
    more = [rule(effects), numbers_of_texts(effects), luck(effects), group_note(effects.targets)]
    said.append(caveat(effects, bits))
    return Statement(" ".join(filter(None, said)), " ".join(filter(None, more)))


def rule(effects: TextEffects) -> str:
    """The test behind every decision; empty where nothing was tested."""
    pairs = f"{effects.tests} pairs" if effects.tests > 1 else "1 pair"
    return RULE.format(pairs) if effects.tests else ""


def _where(found: Found, names: Mapping[str, str]) -> str:
    first, *rest = found.differ
    if found.alike and found.from_one_on and rest:
        return f"From {names[first]} on (then {_listed(rest, names)})"
    if rest and not found.alike and not found.untested:
        return f"At each target ({_listed(found.differ, names)})"
    return f"At {_listed(found.differ, names)}"


def _listed(targets: Sequence[str], names: Mapping[str, str]) -> str:
    """`3 bits, 2:4 sparsity and 2 bits`; `50 % and 2:4 sparsity` where there are sparsities alone."""
    if kind_of(targets) == "sparsity":
        return targets_told(targets)
    return listed([names[target] for target in targets])


def _moved(effects: TextEffects, target: str, place: str) -> str:
    """Of the method that does best of those with which the texts differ."""
    here = {method: effect for method, effect in effects.at(target).items() if effect.differs}
    method = min(here, key=lambda m: here[m].mean.mean)
    return f"by {range_told(here[method].moved)}{place} with {method_label(method)}"


def _none_found(effects: TextEffects, targets: Sequence[str], names: Mapping[str, str]) -> str:
    ends = [e.moved.high for t in targets for e in effects.at(t).values() if e.moved.high is not None]
    top = _per_cent(max(ends))
    interval = f"the 95 % interval ends at {top}" if len(ends) == 1 else f"the 95 % intervals end at {top} or below"
    return f"At {_listed(targets, names)} no difference between texts was found; {interval}."


def range_told(moved: Range) -> str:
    """`21.3 % (95 % interval 15.0 to 27.6 %)`."""
    if moved.low is None or moved.high is None:
        return f"{_per_cent(moved.value)} ({NO_INTERVAL})"
    return f"{_per_cent(moved.value)} (95 % interval {number(moved.low, 1)} to {_per_cent(moved.high)})"


def _per_cent(value: float) -> str:
    return f"{number(value, 1)} %"


def numbers_of_texts(effects: TextEffects) -> str:
    """Of how many texts the ranges are, and a warning where they are of different numbers."""
    numbers = sorted({e.moved.groups for e in effects.effects.values()})
    origins = {text.origin for e in effects.effects.values() for text in e.means}
    also = ", self-generated ones among them" if len(origins) > 1 else ""
    if len(numbers) == 1:
        return f"Ranges are of {numbers[0]} texts{also}."
    return f"Ranges are of {numbers[0]} to {numbers[-1]} texts{also}, and grow with their number."


def luck(effects: TextEffects) -> str:
    """What sets of one text differ by, for comparison; empty where no text has two."""
    known = [e.moved.deviation for e in effects.effects.values() if e.moved.deviation is not None]
    if not known:
        return ""
    low, high = _per_cent(min(known)), _per_cent(max(known))
    size = low if low == high else f"{low} to {high}"
    return f"Sets of one text have a standard deviation of {size}, which is the luck of the draw."


def caveat(effects: TextEffects, bits: FileBits | None) -> str:
    """Targets that say little of models that were never quantized; empty where the model was not, or there are none."""
    mild = weak_targets(effects.targets, bits)
    if bits is None or not mild:
        return ""
    names = target_names(effects.targets)
    return (
        f"The model's weights come from a {bits.bits}-bit file ({bits.name}): what is seen at "
        f"{_listed(mild, names)} says little about models whose weights do not."
    )


def weak_targets(targets: Sequence[str], bits: FileBits | None) -> list[str]:
    """The targets as wide as the file that the weights come from, or wider."""
    if bits is None:
        return []
    return [t for t in targets if (width := target_of_run(t).width) is not None and width.bits >= bits.bits]


def decided_word(effect: TextEffect) -> str:
    """`yes`, `not found`, or `not tested`, of the question whether texts differ."""
    return "yes" if effect.differs else "not found" if effect.tested else "not tested"
