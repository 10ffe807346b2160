"""One validated configuration of compat set, preset, experiment and overrides."""

from typing import Any

from calibrant.errors import InputError
from calibrant.study.choose_section import check_choose, first_samples, is_raceable
from calibrant.study.config_layers import layers
from calibrant.study.config_schema import config_schema
from calibrant.study.older_keys import with_present_keys
from calibrant.study.paths import RESERVED
from calibrant.study.plain_data import check_plain
from calibrant.study.pool import ENOUGH, enough
from calibrant.study.task_names import FOLDERS, declared, is_known
from calibrant.study.validation import fill_defaults, suggest, validate
from calibrant.study.yaml_mappings import merge

SPEC_KINDS = {"model": ("archive", "hub", "path"), "sources": ("archive", "files", "hub")}
DEFAULT_SYN_SOURCE = "wikipedia"


def resolve_config(config: dict[str, Any], name: str = "config.yaml") -> dict[str, Any]:
    """Merge compat < preset < experiment < config, validate, fill defaults, and check what a schema cannot.

    Raises:
        InputError: names the key, the value and what is allowed.
    """
    check_plain(config, name)
    validate(config, {**config_schema(), "required": []}, name)  # as it was given, before it is laid over others
    config = with_present_keys(config, name)
    low = layers(config, name)
    merged = merge(low, config)
    if "trained_on" not in config and merged.get("model") != low.get("model"):
        merged["trained_on"] = []  # what the preset says of another model
    if "sources" in config and "tasks" not in config:
        merged["tasks"] = without_replaced_sources(merged["tasks"], merged["sources"])
    if "choose" not in config and (set(config) & {"sources", "texts", "grids"} or not is_raceable(merged)):
        merged.pop("choose", None)  # the preset's is of its own texts
    validate(merged, config_schema(), name)
    filled: dict[str, Any] = fill_defaults(merged, config_schema(), config_schema())
    filled.setdefault("study", filled["preset"])
    filled["tasks"] = with_mmlu(expand_tasks(filled["tasks"], list(filled["sources"])), filled["evaluation"]["mmlu"])
    if "syn_source" not in config:
        filled["syn_source"] = syn_source(filled)
    if "trained_on" not in config:  # a preset's, of which the configuration may have replaced the sources
        filled["trained_on"] = [source for source in filled["trained_on"] if source in filled["sources"]]
    check_specs(filled, name)
    if "choose" in filled:
        if "text_average" not in merged.get("evaluation", {}):
            filled["evaluation"]["text_average"] = "apart"  # documents are what a race counts by
        check_choose(filled, name)
    for source in config.get("calibration", {}).get("packing_of", ()):  # a compat set's are for those that there are
        if source not in filled["sources"]:
            _unknown_source("calibration.packing_of", source, filled, name)
    for index, grid in enumerate(config.get("grids", ())):  # of an experiment, a number asks for so many at most
        if isinstance(asked := grid.get("sources"), int) and asked > len(filled["sources"]):
            there = len(filled["sources"])
            raise InputError(f"{name}: grids.{index}.sources is {asked}; the study has {there}: give at most that")
    if filled["generation"]["samples"] == ENOUGH:
        filled["generation"] |= enough(filled)
        if "choose" in filled:  # no more than the study itself takes, or the first round
            least = first_samples(filled)
            filled["generation"]["samples"] = max(filled["generation"]["samples"], least) // least * least
    return filled


def study_keys() -> set[str]:
    """The top-level keys that a study may have."""
    return set(config_schema()["properties"])


def syn_source(config: dict[str, Any]) -> str:
    """The source of the single row of self-generated text: the preset's choice, else wikipedia, else the first.

    The choice gives way where a configuration has replaced the preset's sources.
    """
    sources = list(config["sources"])
    choices = [name for name in (config.get("syn_source"), DEFAULT_SYN_SOURCE) if name in sources]
    return str([*choices, *sources][0])


def with_mmlu(tasks: dict[str, Any], chosen: str) -> dict[str, Any]:
    """Tasks in which `chosen` stands for mmlu, at its place."""
    return {chosen if name == "mmlu" else name: spec for name, spec in tasks.items()}


def without_replaced_sources(tasks: dict[str, Any], sources: Any) -> dict[str, Any]:
    """The preset's tasks without those built from its own sources, which a configuration has replaced."""
    known = {"all", *sources} if isinstance(sources, dict) else {"all"}
    return {name: spec for name, spec in tasks.items() if not spec.get("kind") or spec["source"] in known}


def expand_tasks(tasks: dict[str, Any], sources: list[str]) -> dict[str, Any]:
    """A task with `source: all` becomes one task NAME_SOURCE for each source."""
    expanded: dict[str, Any] = {}
    for name, spec in tasks.items():
        if spec.get("source") == "all":
            expanded |= {f"{name}_{source}": {**spec, "source": source} for source in sources}
        else:
            expanded[name] = spec
    return expanded


def check_specs(config: dict[str, Any], name: str) -> None:
    """Checks that JSON schema would report badly: one kind of origin each, sources that exist.

    Raises:
        InputError: names the key.
    """
    entries = [("model", config["model"], SPEC_KINDS["model"])]
    for section in ("sources", "texts"):
        entries += [(f"{section}.{key}", spec, SPEC_KINDS["sources"]) for key, spec in config[section].items()]
    for key, spec, kinds in entries:
        given = [kind for kind in kinds if kind in spec]
        if len(given) != 1:
            found = " and ".join(given) or "none of them"
            raise InputError(f"{name}: {key} has {found}; it must have exactly one of {', '.join(kinds)}")
        archive = spec.get("archive")
        if archive and ("package" in archive) == ("file" in archive):
            raise InputError(f"{name}: {key}.archive must have either package or file")
    for key, spec in config["tasks"].items():
        if not spec.get("kind") and not spec.get("files") and not is_known(key):
            raise InputError(
                f"{name}: tasks.{key} is no task of lm-eval{suggest(key, [*FOLDERS, *declared()])}; give a name that "
                "it has, or rows of your own with files"
            )
        if spec.get("kind") == "next_sentence":
            if spec.get("source") not in config["sources"]:
                _unknown_source(f"tasks.{key}.source", spec.get("source"), config, name)
            if not key.startswith("next_sentence_"):
                raise InputError(
                    f"{name}: tasks.{key} is of kind next_sentence; its name must begin with next_sentence_"
                )
    for key, source in (("syn_source", config["syn_source"]), *(("trained_on", s) for s in config["trained_on"])):
        if source not in config["sources"]:
            _unknown_source(key, source, config, name)
    if config["study"] in RESERVED:
        raise InputError(
            f"{name}: study is {config['study']}, a name of Calibrant's own in data/ or reports/; use another"
        )
    for index, grid in enumerate(config["grids"]):
        named = grid.get("sources", ())
        for source in named if isinstance(named, list) else ():
            if source not in config["sources"]:
                _unknown_source(f"grids.{index}.sources", source, config, name)


def _unknown_source(key: str, value: Any, config: dict[str, Any], name: str) -> None:
    raise InputError(
        f"{name}: {key} is {value!r}, which is no source of this study; its sources: {', '.join(config['sources'])}"
    )
