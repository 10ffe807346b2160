"""The answer of a race: which set, what it is worth on text that took no part, and what is lost elsewhere."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from calibrant.choice.entries import DENSE
from calibrant.choice.facts import chosen_facts, handed_over, handed_run, natural, reference_runs
from calibrant.choice.measured_sets import TEST, MeasuredSets
from calibrant.choice.race_round import race_state
from calibrant.choice.round_file import read_round
from calibrant.race.handover import value
from calibrant.race.losses import Losses, Purpose
from calibrant.study.choose_section import guards
from calibrant.study.grid import Run, SetKey

HANDED, REFERENCE = "the set", "the reference"
GUARD_MEASURE = "perplexity"  # of a text; of a task its accuracy


def answer_facts(config: Mapping[str, Any], root: Path, round_file: Path) -> tuple[Run, dict[str, Any]]:
    """The run whose set is handed over at a race's end, and the facts with its worth.

    Args:
        config: of the study, resolved.
        root: the folder that its paths are relative to.
        round_file: the last round's.

    Raises:
        InputError: a file is missing, damaged, or of another race.
    """
    last = read_round(round_file)
    state = race_state(config, root, last["measured"])
    handed = handed_over(state)
    run = handed_run(config, state, handed)
    measured = state.measured
    others = reference_runs(config, state)
    losses = measured.losses_of(_named(run, others), TEST)
    facts = {**last["facts"], **chosen_facts(config, state, handed, root / measured.paths.calibration_set(_key(run)))}
    facts["purposes"] = [
        {**each, "test": len(sizes)} for each, sizes in zip(facts["purposes"], losses.sizes, strict=True)
    ]
    own = natural(float(_of(losses, run).mean()), config)
    facts["chosen"] = {**facts["chosen"], "value": own}
    facts["test"] = {"value": own, "reference": None, "gain": None, "low": None, "high": None}
    if others:
        facts["test"] |= _against(losses, run, others, config)
    facts["guards"] = [_guard(name, config, measured, run, others) for name in config["choose"]["guard"]]
    return run, facts


def answer_record(facts: Mapping[str, Any], tokens: int) -> dict[str, Any]:
    """`answer.json`: the same bytes for the same input."""
    chosen, test, look = facts["chosen"], facts["test"], facts["looks"][-1]
    reference = facts["reference"]
    gain = None
    if test["gain"] is not None:
        gain = {"gain": share(test["gain"]), "low": share(test["low"]), "high": share(test["high"])}
    guarded = [{**each, **{key: share(each[key]) for key in ("change", "low", "high")}} for each in facts["guards"]]
    return {
        "text": chosen["text"],
        "origin": chosen["origin"],
        "method": facts["method"],
        "options": chosen["options"],
        "target": facts["target"],
        "set": "set.parquet",
        "number": chosen["number"],
        "measure": facts["measure"],
        "value": test["value"],
        "reference": None if reference is None else {"text": reference, "value": test["reference"]},
        **(gain or {"gain": None, "low": None, "high": None}),
        "bound": share(look["bound"]),
        "confidence": facts["confidence"],
        "leader": look["leader"],
        "as_good": look["as_good"],
        "guards": guarded,
        "stopped": facts["stopped"],
        "rounds": facts["rounds"],
        "sets": facts["sets"],
        "samples": facts["samples"],
        "length": facts["length"],
        "tokens": tokens,
        "model": facts["model"],
        "dtype": facts["dtype"],
        "margin": facts["margin"],
        "budget": facts["budget"],
    }


def share(loss: float | None) -> float | None:
    """How much better a loss is that is smaller by so much, as a share of what is measured (`spoken.better`)."""
    return None if loss is None else -math.expm1(-loss)


def _against(losses: Losses, run: Run, others: Sequence[Run], config: Mapping[str, Any]) -> dict[str, Any]:
    """The set beside the reference's sets, in the unit of the measure and as shares of it."""
    both = _both(losses, run, others)
    found = value(both, HANDED, REFERENCE)
    return {
        "reference": natural(float(both.scores[REFERENCE].mean()), config),
        "gain": found.value,
        "low": found.low,
        "high": found.high,
    }


def _both(losses: Losses, run: Run, others: Sequence[Run]) -> Losses:
    """The set and the reference's sets, of which it may be one."""
    names = [each.name for each in others]
    scores = {HANDED: losses.scores[run.name], REFERENCE: _joined([losses.scores[name] for name in names])}
    pulls = {HANDED: losses.pulls[run.name], REFERENCE: _joined([losses.pulls[name] for name in names])}
    return Losses(scores, pulls, losses.sizes)


def _guard(
    name: str, config: Mapping[str, Any], measured: MeasuredSets, run: Run, others: Sequence[Run]
) -> dict[str, Any]:
    """A guard's values of the dense model, the set and the reference, and the change against the reference."""
    task = name in guards(config, "tasks")
    purpose = Purpose(name, "acc" if task else GUARD_MEASURE)
    alone = {"choose": {"for": {name: {}}, "measure": purpose.measure}, "texts": {} if task else {name: {}}}
    losses = measured.losses_of(_named(run, others), TEST, [purpose])
    dense = measured.losses_of({"dense": [DENSE]}, TEST, [purpose])
    found = {
        "name": name,
        "kind": "task" if task else "text",
        "measure": purpose.measure,
        "unit": "",
        "dense": natural(float(dense.scores["dense"].mean()), alone),
        "chosen": natural(float(_of(losses, run).mean()), alone),
        **{"reference": None, "change": None, "low": None, "high": None},
    }
    if others:
        against = _against(losses, run, others, alone)
        found |= {"change": against.pop("gain"), **against}
    return found


def _named(run: Run, others: Sequence[Run]) -> dict[str, list[Run]]:
    return {each.name: [each] for each in _once([run, *others])}


def _once(runs: Sequence[Run]) -> list[Run]:
    return list(dict.fromkeys(runs))


def _of(losses: Losses, run: Run) -> Any:
    return losses.scores[run.name]


def _joined(arrays: Sequence[Any]) -> Any:
    return np.concatenate(arrays)


def _key(run: Run) -> SetKey:
    assert run.calibration is not None  # what is handed over was made on a set
    return run.calibration
