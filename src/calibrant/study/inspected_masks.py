"""Which masks of a study the report looks into, and on which text besides their own."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from calibrant.errors import InputError
from calibrant.settings.target import parse_target
from calibrant.study.grid import Run, SetKey, calibration_sets, runs
from calibrant.study.target_text import normal_target


@dataclass(frozen=True)
class Inspection:
    """Masks to look into, and the set that is held out from them; None when the study has no other."""

    run: Run
    heldout: SetKey | None


def inspections(config: dict[str, Any]) -> list[Inspection]:
    """The masks that `inspect` chooses, one for each source and origin; none for the report of a layout.

    Where a study varies samples, prefix length or filter rate, the first run of a source and origin is taken.

    Raises:
        InputError: as `grid.runs`, or the study has no mask of the chosen method, target or seed.
    """
    chosen = config["inspect"]
    if not chosen["sequences"] or "layout" in config:
        return []
    found = [run for run in runs(config) if run.calibration]
    sets = calibration_sets(config)
    asked: dict[str, Any] = {name: chosen[name] for name in ("method", "target", "seed") if name in chosen}
    if "target" in asked:
        asked["target"] = normal_target(asked["target"], "inspect.target")
    if not found and set(asked) == {"seed"}:  # the schema's default: nobody asked
        return []
    for name, value in asked.items():
        there = list(dict.fromkeys(_value(run, name) for run in found))
        if value not in there:
            choices = ", ".join(str(v) for v in there) or "none"
            raise InputError(f"inspect.{name} is {value!r}; the study's masks that are made on text have {choices}")
        found = [run for run in found if _value(run, name) == value]
    method, target = found[0].method, found[0].target
    by_text: dict[tuple[str, str], Inspection] = {}
    for run in found:
        key = run.calibration
        if key and (run.method, run.target) == (method, target) and key.origin in chosen["origins"]:
            by_text.setdefault((key.source, key.origin), Inspection(run, heldout_set(key, sets)))
    return list(by_text.values())


def heldout_set(key: SetKey, sets: Sequence[SetKey]) -> SetKey | None:
    """The set of the same text with the lowest other seed; else the next source's, alike otherwise; else None."""
    other_seeds = sorted(k for k in sets if k != key and replace(k, seed=key.seed) == key)
    if other_seeds:
        return other_seeds[0]
    alike = [k for k in sets if replace(k, source=key.source) == key]
    return alike[(alike.index(key) + 1) % len(alike)] if len(alike) > 1 else None


def compared(config: dict[str, Any]) -> list[Run]:
    """Runs whose masks are compared with each other: those of `inspections`, and one more seed of each.

    None where the target is a width alone, since all weights are kept then.
    """
    there = set(runs(config))
    found: dict[Run, None] = {}
    for inspection in inspections(config):
        if parse_target(inspection.run.target).pattern is None:
            return []
        found[inspection.run] = None
        second = replace(inspection.run, calibration=inspection.heldout)
        if second in there and _same_text(inspection):
            found[second] = None
    return list(found) if len(found) > 1 else []


def _same_text(inspection: Inspection) -> bool:
    own, other = inspection.run.calibration, inspection.heldout
    return own is not None and other is not None and own.source == other.source


def _value(run: Run, name: str) -> Any:
    return run.calibration.seed if name == "seed" and run.calibration else getattr(run, name)
