"""How much `choose` does within its budget: how large sets are and how many, by what this computer does in a second."""

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from calibrant.artefacts.atomic import read_json
from calibrant.choice.entries import entries
from calibrant.errors import InputError, first_line
from calibrant.race.rounds import looks, round_ends
from calibrant.settings.choose_settings import BUDGET, Budget, ChooseSettings, read_budget
from calibrant.settings.race_settings import FIRST
from calibrant.settings.target import check_group
from calibrant.stages.choose_study import with_defaults
from calibrant.study.race_plan import (
    Field,
    Size,
    check_time,
    race_costs,
    size_within,
    sizes,
)

if TYPE_CHECKING:
    from calibrant.study.machines import Machine

Config = dict[str, Any]


@dataclass(frozen=True)
class ChoosePlan:
    """What a race does.

    Attributes:
        config: the study, complete.
        field: who races.
        seconds: that all of it takes here; None where the rates of the machines that run it are not known.
        machine: whose rates that is by, in words.
    """

    config: Config
    field: Field
    seconds: float | None
    machine: str = ""

    def lines(self) -> list[str]:
        """What is told before anything runs."""
        chosen, sets = self.config["choose"], self.config["calibration"]
        budgets, field = chosen["budget"], self.field
        kinds = {"of text as it is": field.real, "that the model writes": field.synthetic, "that exist": field.given}
        said = ", ".join(f"{count} {what}" for what, count in kinds.items() if count)
        rounds = len(round_ends(field.candidates, budgets))
        found = [
            f"{field.candidates} candidates ({said}), {chosen['method']} at {chosen['target']}",
            f"sets of {sets['samples']} x {sets['length']:,} tokens; at most {budgets[-1]} sets in {rounds} "
            f"round{'s' if rounds > 1 else ''}; "
            f"something is claimed after {', '.join(map(str, looks(field.candidates, budgets)))}",
        ]
        if self.seconds is not None:
            found.append(
                f"about {shown_time(self.seconds)} here ({self.machine}); an estimate, which decides nothing more"
            )
        return found


def first_plan(config: Config, settings: ChooseSettings, *, gpu: bool, elsewhere: bool) -> ChoosePlan:
    """The plan of a race that has not begun.

    Args:
        config: as `choose_study.laid_out` has it.
        settings: sizes and budget.
        gpu: whether jobs compute on a GPU, or on machines that are not known here.
        elsewhere: whether they are not known.

    Raises:
        InputError: a budget that is too small, or in time where its machine or the model's shape is not known.
    """
    typed = settings.budget or BUDGET
    budget = read_budget(typed)
    raw = raw_config(config["model"], needed=budget.seconds is not None)
    if raw is not None and settings.target.width is not None and settings.target.width.group is not None:
        try:
            check_group(settings.target.width.group, input_columns(raw))
        except InputError as error:
            raise InputError(f"--{error}") from None
    longest = positions(raw)
    if longest is not None and longest < int(with_defaults(config)["evaluation"]["length"]):
        config = {**config, "evaluation": {"length": longest}}
    choices = sizes(settings.samples, settings.length, longest)
    resolved = with_defaults(config)
    field = field_of(resolved)
    if budget.sets is not None:
        size = choices[-1] if gpu else choices[0]
        looks(field.candidates, [budget.sets])
        found = _complete(config, size, [budget.sets], [typed])
        if elsewhere or raw is None:
            return ChoosePlan(found, field, None)
        try:
            machine, at_once = machine_of(resolved, settings, gpu=gpu)
            costs = race_costs(resolved, shape(raw), machine.rates, size)
        except InputError:  # a model of another kind; the time is only told
            return ChoosePlan(found, field, None)
        return ChoosePlan(found, field, costs.of_sets(budget.sets, field) / at_once, _of(machine, at_once))
    seconds = _seconds(budget, typed, elsewhere=elsewhere)
    assert raw is not None
    of_model = shape(
        raw, f"--budget {typed}: a time needs the model's shape, to know what fits; give a number of sets: "
    )
    machine, at_once = machine_of(resolved, settings, gpu=gpu)
    size = size_within(seconds * at_once, choices, field, resolved, of_model, machine.rates)
    costs = race_costs(resolved, of_model, machine.rates, size)
    held, least = costs.sets_in(seconds * at_once, field), FIRST * field.candidates
    check_time(typed, held, least, costs.of_sets(least, field) / at_once, field, size)
    looks(field.candidates, [held])
    found = _complete(config, size, [held], [typed])
    return ChoosePlan(found, field, costs.of_sets(held, field) / at_once, _of(machine, at_once))


def raised_plan(recorded: Config, settings: ChooseSettings, folder: Path, *, gpu: bool, elsewhere: bool) -> ChoosePlan:
    """The plan of a race that goes on: with the budget that is recorded, or a larger one behind it.

    Raises:
        InputError: a budget that is not larger, or in time where its machine or the model's shape is not known.
    """
    chosen = recorded["choose"]
    budgets, asked = list(chosen["budget"]), [str(each) for each in chosen.get("asked") or ()]
    asked = asked if len(asked) == len(budgets) else [str(each) for each in budgets]
    size = (int(recorded["calibration"]["samples"]), int(recorded["calibration"]["length"]))
    resolved = with_defaults(recorded)
    field = field_of(resolved)
    typed = settings.budget
    if typed is None or typed == asked[-1]:
        return ChoosePlan(recorded, field, None)
    budget, spent = read_budget(typed), f"{asked[-1]}, which is {budgets[-1]} sets, is this race's already"
    if budget.sets is not None:
        total = budget.sets
        if total <= budgets[-1]:
            raise InputError(f"--budget {typed}: {spent}; give more, or leave it out to go on")
        return ChoosePlan(_complete(recorded, size, [*budgets, total], [*asked, typed]), field, None)
    seconds = _seconds(budget, typed, elsewhere=elsewhere)
    before = read_budget(asked[-1]).seconds
    if before is not None and seconds <= before:
        raise InputError(f"--budget {typed}: {spent}; give more time, or leave it out to go on")
    raw = raw_config(recorded["model"], needed=True)
    assert raw is not None
    of_model = shape(
        raw, f"--budget {typed}: a time needs the model's shape, to know what fits; give a number of sets: "
    )
    machine, at_once = machine_of(resolved, settings, gpu=gpu, root=folder)
    costs = race_costs(resolved, of_model, machine.rates, size)
    # What is recorded stays, however fast this computer was then; only the time that is added is reckoned now.
    more = (seconds - before) * at_once / costs.of_a_set(field) if before is not None else 0
    total = budgets[-1] + int(more) if before is not None else costs.sets_in(seconds * at_once, field)
    if total <= budgets[-1]:
        raise InputError(f"--budget {typed}: holds no set more here, and {spent}; give more time, or a number of sets")
    found = _complete(recorded, size, [*budgets, total], [*asked, typed])
    left = (total - budgets[-1]) * costs.of_a_set(field) / at_once
    return ChoosePlan(found, field, left, _of(machine, at_once))


def machine_of(config: Config, settings: ChooseSettings, *, gpu: bool, root: Path = Path()) -> "tuple[Machine, int]":
    """What runs this computer's jobs, and how many side by side: its processor, measured, or its GPU by a table."""
    from calibrant.stages.plan import measured
    from calibrant.study.machines import machine

    if gpu:
        return machine("gpu"), 1
    cores = settings.cores or usable_cores()
    return measured(config, root), max(1, cores // max(1, int(config["compute"]["threads"])))


def usable_cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def input_columns(raw: Config) -> dict[str, int]:
    """Input columns of a model's linear layers, by the keys of its config.json that give them; those that it has."""
    text = {**raw, **(raw.get("text_config") or {})}
    found = {key: text.get(key) for key in ("hidden_size", "intermediate_size", "moe_intermediate_size")}
    if isinstance(text.get("head_dim"), int) and isinstance(text.get("num_attention_heads"), int):
        found["num_attention_heads * head_dim"] = text["num_attention_heads"] * text["head_dim"]
    return {key: value for key, value in found.items() if isinstance(value, int) and value > 0}


def raw_config(model: Mapping[str, Any], *, needed: bool) -> Config | None:
    """config.json of a model, of the hub's where it is there; None where it cannot be had and is not needed.

    Raises:
        InputError: it cannot be had, and is needed.
    """
    if "path" in model:
        from calibrant.models.checkpoint.checkpoint_files import resolve

        file = resolve(model["path"]) / "config.json"  # of a GGUF file: of the checkpoint that it becomes
    else:
        from huggingface_hub import hf_hub_download

        try:
            file = Path(hf_hub_download(model["hub"], "config.json", revision=model.get("revision")))
        except Exception as error:
            if not needed:
                return None
            raise InputError(
                f"--model {model['hub']}: no such folder here, and not reachable on the hub ({first_line(error)}); a "
                "budget in time needs its config.json"
            ) from error
    found = read_json(file)
    if not isinstance(found, dict):
        raise InputError(f"--model: {file}: must be a JSON object")
    inner = found.get("text_config")
    return {**found, **inner} if isinstance(inner, dict) else found


def positions(raw: Config | None) -> int | None:
    """The longest sequence of a model, where its configuration says one."""
    from calibrant.study.shapes import text_part

    found = text_part(raw or {}).get("max_position_embeddings")
    return found if isinstance(found, int) and found > 1 else None


def shape(raw: Config, where: str = "") -> Any:
    """The shape of a model.

    Raises:
        InputError: `where` heads the message.
    """
    from calibrant.study.shapes import shape_of_config

    try:
        return shape_of_config(raw)
    except InputError as error:
        raise InputError(f"{where}{error}") from None


def field_of(config: Config) -> Field:
    """Who may race in a study: a part of what judges counts, though its text may turn out to be too small."""
    origins = Counter(each.origin for each in entries(config).values())
    return Field(origins["real"], origins["synthetic"], origins["given"])


def shown_time(seconds: float) -> str:
    """`40 seconds`, `12 minutes`, `3.4 hours`."""
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def _seconds(budget: Budget, typed: str, *, elsewhere: bool) -> float:
    assert budget.seconds is not None
    if elsewhere:
        raise InputError(
            f"--budget {typed}: with --profile a budget is a number of sets, such as 96: this computer's rates say "
            "nothing of the cluster's"
        )
    return budget.seconds


def _complete(config: Config, size: Size, budgets: list[int], asked: list[str]) -> Config:
    """A study with the size of its sets and its budget."""
    samples, length = size
    calibration = {**config.get("calibration", {}), "samples": samples, "length": length}
    chosen = {**config["choose"], "budget": budgets, "asked": asked}
    return {**config, "calibration": calibration, "choose": chosen}


def _of(machine: "Machine", at_once: int) -> str:
    return f"{machine.label}, {at_once} job{'s' if at_once > 1 else ''} at a time"
