"""The study that `calibrant choose` lays out: what was asked for as a configuration, and what is wrong with it."""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from calibrant.choice.entries import entries, reference_name
from calibrant.errors import InputError, shown
from calibrant.settings.choose_settings import ChooseSettings, weight_of
from calibrant.settings.method_options import option_schemas
from calibrant.settings.method_targets import WITHOUT_DATA, baseline, check_target
from calibrant.settings.text_settings import MOST_ROWS
from calibrant.stages.choose_inputs import ChooseInputs
from calibrant.study.choose_section import is_given
from calibrant.study.config import resolve_config
from calibrant.study.race_plan import LADDER
from calibrant.study.validation import suggest

STUDY = "answer"
LAPTOP_BATCH, GPU_BATCH = 20, 32  # rows that the model writes at a time, as in the presets
BY_DENSE = ("kl", "perplexity", "agreement")  # what texts are measured by; all else is a metric of tasks


def laid_out(inputs: ChooseInputs, settings: ChooseSettings, *, gpu: bool) -> dict[str, Any]:
    """The configuration of a study, complete but for `calibration` and for `choose.budget`.

    Args:
        inputs: what races and what judges.
        settings: what it chooses by.
        gpu: whether jobs compute on a GPU, or on machines that are not known here.

    Raises:
        InputError: names the flag, its value and what would be right.
    """
    single, several = options(settings)
    section: dict[str, Any] = {
        "for": {name: {"weight": weight} for name, weight in weights(inputs, settings).items()},
        "guard": [each.name for each in inputs.guards],
        "origins": list(settings.origins),
        "method": settings.method,
        "target": str(settings.target),
        "options": several,
        "measure": settings.measure,
        "margin": settings.margin,
        "tokens": settings.tokens,
        "apply": settings.apply,
        "answer": ".",
    }
    check_measure(inputs, settings)
    if reference := reference_of(settings):
        section["reference"] = reference
    texts = [each for each in (*inputs.purposes, *inputs.guards) if not each.is_task]
    tasks = [each for each in (*inputs.purposes, *inputs.guards) if each.is_task]
    compute: dict[str, Any] = {"device": settings.device, "dtype": settings.dtype}
    return {
        "study": STUDY,
        "preset": "choose",
        "experiment": "sources",
        "model": inputs.model,
        "sources": {each.name: each.spec for each in inputs.sources},
        "texts": {each.name: each.spec for each in texts},
        "tasks": {each.name: each.spec for each in tasks},
        "generation": {"samples": "enough", "batch_size": GPU_BATCH if gpu else LAPTOP_BATCH},
        **({"pruning": {"options": single}} if single else {}),
        "compute": compute if gpu else {**compute, "threads": 1},
        "seeds": 1,
        "grids": [],
        "choose": section,
    }


def weights(inputs: ChooseInputs, settings: ChooseSettings) -> dict[str, float]:
    """What judges, by name, each with its weight.

    Raises:
        InputError: a weight of something that does not judge.
    """
    names = [each.name for each in inputs.purposes]
    for name, text in settings.weight.items():
        if name not in names:
            raise InputError(
                f"--weight {shown(name)}={shown(text)}: nothing of this name judges{suggest(name, names)}; --for has "
                f"{', '.join(names)}"
            )
    return {name: weight_of(name, settings.weight.get(name, "1")) for name in names}


def check_measure(inputs: ChooseInputs, settings: ChooseSettings) -> None:
    """Refuse a metric of tasks where only texts judge.

    Raises:
        InputError: names one of them.
    """
    if settings.measure not in BY_DENSE and not any(each.is_task for each in inputs.purposes):
        known = f"{', '.join(BY_DENSE)}{suggest(settings.measure, BY_DENSE)}"
        raise InputError(
            f"--measure {shown(settings.measure)}: is none of {known}; metrics such as acc are of tasks, and --for "
            f"{shown(inputs.purposes[0].typed)} is a text"
        )


def reference_of(settings: ChooseSettings) -> str | None:
    """What is used today: a candidate's name as it was typed, or the path of a calibration set.

    Raises:
        InputError: no such file, or a file that is no calibration set.
    """
    named = settings.reference
    if named is None:
        return None
    if named.endswith(".parquet"):
        from calibrant.calibration.sample_set import read_samples

        try:
            read_samples(named)
        except InputError as error:
            raise InputError(f"--reference {shown(named)}: {error}") from None
        return str(Path(named).absolute())
    return named


def with_defaults(config: Mapping[str, Any]) -> dict[str, Any]:
    """A study with all defaults, checked; of a size and a budget that stand for those that are not decided yet."""
    calibration = {"samples": LADDER[0][0], "length": LADDER[0][1], **config.get("calibration", {})}
    chosen = {"budget": [MOST_ROWS], **config["choose"]}
    return resolve_config({**config, "calibration": calibration, "choose": chosen}, "calibrant choose")


def check_candidates(config: Mapping[str, Any]) -> None:
    """Refuse a reference that does not race.

    Args:
        config: a study with all defaults.

    Raises:
        InputError: names it, and what races.
    """
    chosen = config["choose"]
    named = entries({**config, "choose": {key: value for key, value in chosen.items() if key != "reference"}})
    if is_given(config) or "reference" not in chosen or reference_name(config, named) is not None:
        return
    reference = chosen["reference"]
    raise InputError(
        f"--reference {shown(reference)}: is no candidate{suggest(reference, named)}; there are {', '.join(named)}, or "
        "give a calibration set, SET.parquet"
    )


def options(settings: ChooseSettings) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """The options of the method that have one value, as a study has them, and the values of the others.

    Raises:
        InputError: a method that reads no text or does not compress to the target, an option that it has not, or a
            value that the option does not allow.
    """
    target = settings.target
    if settings.method in WITHOUT_DATA:
        raise InputError(
            f"--method {settings.method}: reads no text, so there is nothing to choose; give one that does, such as "
            f"{'wanda' if target.width is None else 'gptq'} ({baseline(target)} is shown beside every answer)"
        )
    try:
        check_target(settings.method, target)
    except InputError as error:
        raise InputError(f"--{error}") from None
    if not settings.option:
        return {}, {}
    from calibrant.pruning.methods.composition import compose

    schemas = option_schemas()
    values = {
        key: [text] if schemas.get(key, {}).get("format") == "regex" else text.split(",")
        for key, text in settings.option.items()
    }
    for each in itertools.product(*values.values()):
        try:
            compose(settings.method, target, dict(zip(values, each, strict=True)))
        except InputError as error:
            raise InputError(f"--{error}" if str(error).startswith("option ") else f"--option: {error}") from None
    for key, texts in values.items():
        if len({_typed(schemas[key], text) for text in texts}) < len(texts):
            raise InputError(f"--option {key}={','.join(texts)}: has a value twice; the two could not differ")
    single = {key: _typed(schemas[key], texts[0]) for key, texts in values.items() if len(texts) == 1}
    return single, {key: texts for key, texts in values.items() if len(texts) > 1}


def _typed(schema: Mapping[str, Any], text: str) -> Any:
    """A value as a study's `pruning.options` has it."""
    kind = schema.get("type")
    if kind == "integer":
        return int(text)
    if kind == "number":
        return float(text)
    return text
