"""The facts of a race, as plain values: what a page, a summary and `answer.json` are made from."""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from calibrant.calibration.sample_set import read_samples
from calibrant.choice.entries import baseline, entries, options_for, variant_options
from calibrant.choice.measured_sets import MeasuredSets, measure_of
from calibrant.choice.race_round import State
from calibrant.errors import InputError
from calibrant.race.critical_values import tukey
from calibrant.race.evidence import Evidence
from calibrant.race.handover import Handover, best_set
from calibrant.race.losses import lower_is_better
from calibrant.race.spending import ALPHA, level
from calibrant.race.spoken import sentences
from calibrant.race.standing import forecast
from calibrant.study.grid import Run
from calibrant.study.paths import COMPARISON, StudyPaths

ROWS = 3  # of the set that is handed over, shown
CHARACTERS = 1200  # of each
JsonValue = Any


def race_facts(config: Mapping[str, Any], state: State, *, rounds: int) -> dict[str, JsonValue]:
    """What is known after some rounds; `chosen` is None before the first look, `test` and `guards` until the end.

    Args:
        config: of the study, resolved.
        state: of the race.
        rounds: that were measured.
    """
    chosen, sets, paths = config["choose"], config["calibration"], StudyPaths(config["study"])
    looks = state.course.looks
    last = looks[-1] if looks else None
    if last is not None:
        more = max(2, config["choose"]["budget"][-1])
        ahead = _forecast(state, more)
        said = sentences(last.standing, state.field.reference, measure=_measure(config))
    else:
        more, ahead, said = 0, None, []
    record = _record(state)
    return {
        "study": config["study"],
        "model": record.get("model") or config["model"].get("id", ""),
        "model_place": config["model"].get("hub")
        or os.path.relpath(f"{paths.data}/model", chosen["answer"] or paths.report),
        "method": chosen["method"],
        "target": chosen["target"],
        "dtype": record.get("settings", {}).get("dtype", ""),
        "samples": sets["samples"],
        "length": sets["length"],
        "measure": _measure(config),
        "margin": chosen["margin"],
        "confidence": 1 - ALPHA,
        "purposes": _purposes(config, state),
        "candidates": _candidates(config, state),
        "baseline": _baseline(config, state.measured),
        "looks": [
            {
                "sets": int(look.sets.sum()),
                "leader": look.standing.leader,
                "bound": finite(look.standing.bound),
                "expected": finite(look.standing.expected),
                "as_good": list(look.standing.as_good),
            }
            for look in looks
        ],
        "rounds": rounds,
        "sets": sum(state.counts.values()),
        "budget": chosen["budget"],
        "stopped": last.standing.stopped if last and state.course.ended else "",
        "sentences": said,
        "forecast": None if ahead is None else {"sets": more, "bound": finite(ahead), "hours": None},
        "reference": state.field.reference,
        "chosen": None,
        "test": None,
        "guards": [],
        "kept_out": _kept_out(config, state),
        "notes": _notes(state),
        "texts": [],
        "timing": None,
        # A study's own report, which is made when the race has ended.
        "comparison": f"{COMPARISON}/index.html" if config["grids"] else None,
    }


def handed_over(state: State) -> Handover:
    """The set that the race hands over: the best that is drawn, of the texts that are as good."""
    if not state.course.looks:
        raise InputError("the race has not looked at anything yet, so there is no set to hand over")
    return best_set(state.losses, state.course.looks[-1].standing.as_good)


def handed_run(config: Mapping[str, Any], state: State, handed: Handover) -> Run:
    """The run whose set is handed over."""
    return state.field.racing[handed.candidate].run(config, handed.number)


def valued(state: State) -> list[tuple[str, int]]:
    """The sets that are evaluated on what took no part, as (candidate, number): the one handed over comes first."""
    handed, name = handed_over(state), state.field.reference
    others = [] if name is None else [(name, number) for number in range(state.counts[name])]
    return list(dict.fromkeys([(handed.candidate, handed.number), *others]))


def reference_runs(config: Mapping[str, Any], state: State) -> list[Run]:
    """The runs of all measured sets of what is used today; none without a reference."""
    name = state.field.reference
    if name is None:
        return []
    return [state.field.racing[name].run(config, number) for number in range(state.counts[name])]


def chosen_facts(config: Mapping[str, Any], state: State, handed: Handover, calibration: Path) -> dict[str, JsonValue]:
    """`chosen` and `texts` of the facts."""
    entry = state.field.racing[handed.candidate]
    rows = read_samples(calibration).table
    texts = rows["text"].to_pylist()[:ROWS] if "text" in rows.column_names else []
    return {
        "chosen": {
            "candidate": handed.candidate,
            "text": entry.text,
            "origin": "synthetic" if entry.origin == "synthetic" else "real",
            "options": options_for(
                config["choose"]["method"], config["choose"]["target"], variant_options(config, entry.variant)
            ),
            "number": handed.number,
            "value": natural(handed.expected, config),
        },
        "texts": [{"candidate": handed.candidate, "rows": [str(text)[:CHARACTERS] for text in texts]}],
    }


def natural(loss: float, config: Mapping[str, Any]) -> float | None:
    """A loss in the unit of its measure: nats a token, a perplexity, a share; None where several are averaged."""
    if len(config["choose"]["for"]) > 1:
        return None
    measure = measure_of(next(iter(config["choose"]["for"])), config)
    return math.exp(loss if lower_is_better(measure) else -loss)


def finite(value: float) -> float | None:
    """None in the place of what JSON has not."""
    return float(value) if math.isfinite(value) else None


def _measure(config: Mapping[str, Any]) -> str:
    """What the race chose by: of a single text or task its own measure."""
    names = list(config["choose"]["for"])
    return measure_of(names[0], config) if len(names) == 1 else str(config["choose"]["measure"])


def _forecast(state: State, more: int) -> float | None:
    last = state.course.looks[-1]
    budgets = [int(last.sets.sum()), int(last.sets.sum()) + more]
    names = list(state.field.racing)
    at = None if state.field.reference is None else names.index(state.field.reference)
    share = level(budgets[1], budgets[0], budgets)
    return forecast(last.evidence, last.found, more, share, state.field.available, at)


def _record(state: State) -> dict[str, Any]:
    """The metadata of any measured run."""
    for name, count in state.counts.items():
        if count:
            return state.measured.record(state.field.racing[name].run(state.measured.config, 0))
    return {}


def _purposes(config: Mapping[str, Any], state: State) -> list[dict[str, JsonValue]]:
    sizes = [len(each) for each in state.losses.sizes]
    found = []
    for place, (name, entry) in enumerate(config["choose"]["for"].items()):
        kind = "text" if name in config["texts"] else "task"
        found.append(
            {
                "name": name,
                "kind": kind,
                "measure": measure_of(name, config),
                "weight": float(entry["weight"]),
                "selection": sizes[place] if place < len(sizes) else None,
                "test": None,
            }
        )
    return found


def _candidates(config: Mapping[str, Any], state: State) -> list[dict[str, JsonValue]]:
    """Candidates in the order of their means, then those that are not measured, then those that are out."""
    names = list(state.field.racing)
    found = {}
    last = state.course.looks[-1] if state.course.looks else None
    evidence = state.losses.evidence(names) if state.counts and all(state.counts.values()) else None
    intervals = [(None, None)] * len(names) if evidence is None else _to_leader(evidence)
    for place, name in enumerate(names):
        entry, scores = state.field.racing[name], state.losses.scores.get(name, np.array([]))
        low, high = intervals[place]
        found[name] = {
            "name": name,
            "text": entry.text,
            "origin": entry.origin,
            "options": dict(entry.options),
            "available": state.field.available[place],
            "sets": len(scores),
            "mean": float(scores.mean()) if len(scores) else None,
            "low": low,
            "high": high,
            "values": [natural(float(each), config) for each in scores],
            "state": "open" if last is None else _state_of(name, last.standing),
            "reason": "",
        }
    ordered = sorted(found.values(), key=lambda each: (each["mean"] is None, each["mean"] or 0.0))
    named = entries(config)
    for name, reason in state.field.refused.items():
        entry = named[name]
        ordered.append(
            {
                **{"name": name, "text": entry.text, "origin": entry.origin, "options": dict(entry.options)},
                **{"available": state.field.pools[entry.source].available(entry, config), "sets": 0, "mean": None},
                **{"low": None, "high": None, "values": [], "state": "refused", "reason": reason},
            }
        )
    return ordered


def _state_of(name: str, said: Any) -> str:
    for what, those in (("leader", [said.leader]), ("as good", said.as_good), ("worse", said.worse), ("out", said.out)):
        if name in those:
            return what
    return "open"


def _to_leader(evidence: Evidence) -> list[tuple[float | None, float | None]]:
    """Intervals of each candidate's mean minus the leader's, all together at 95 % (Tukey); None of the leader's own."""
    leader = evidence.leader
    if evidence.reason:
        return [(None, None)] * len(evidence.means)
    errors, df = evidence.errors()
    found: list[tuple[float | None, float | None]] = []
    for place, mean in enumerate(evidence.means):
        if place == leader:
            found.append((None, None))
            continue
        half = tukey(ALPHA, len(evidence.means), float(df[place, leader])) * float(errors[place, leader])
        difference = float(mean - evidence.means[leader])
        found.append((difference - half, difference + half))
    return found


def _baseline(config: Mapping[str, Any], measured: MeasuredSets) -> dict[str, JsonValue] | None:
    run = baseline(config)
    try:
        loss = measured.losses_of({run.method: [run]}).scores[run.method][0]
    except InputError:  # not measured yet, or a model so broken that its loss is no number
        return {"name": run.method, "value": None}
    return {"name": run.method, "value": natural(float(loss), config)}


def _kept_out(config: Mapping[str, Any], state: State) -> list[dict[str, JsonValue]]:
    found = []
    for source, pool in state.field.pools.items():
        for judging in sorted({row["judging_source"] for row in pool.removed}):
            rows = [row for row in pool.removed if row["judging_source"] == judging]
            most = max(float(row["share"]) for row in rows)
            found.append({"source": source, "documents": len(rows), "of": pool.of, "judging": judging, "share": most})
    return found


def _notes(state: State) -> list[str]:
    return [f"{source}: {pool.reason}" for source, pool in sorted(state.field.pools.items()) if pool.reason]
