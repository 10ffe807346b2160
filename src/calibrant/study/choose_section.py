"""The section `choose` of a study: what judges, how its texts are read, and what a schema cannot check of it."""

from collections.abc import Mapping
from typing import Any

from calibrant.errors import InputError
from calibrant.settings.method_targets import check_target
from calibrant.settings.race_settings import FIRST
from calibrant.settings.target import parse_target
from calibrant.study.grid import WITHOUT_DATA
from calibrant.study.row_counts import block_rows
from calibrant.study.target_text import normal_target
from calibrant.study.validation import suggest

DOCUMENTS = 20  # as many documents at least are read of a half: with fewer, the spread between them is hardly known
LEAST_DOCUMENT_TOKENS = 16
OWN = "own_"  # what names the part of a judging text that is a candidate
GIVEN = "reference"  # what names a calibration set that exists, where files are named by sources


# What a race needs of other sections: sets that share no row, and rows of the model that are full.
NEEDED: tuple[tuple[str, str, Any], ...] = (
    ("calibration", "sets", "blocks"),
    ("generation", "end_of_text", "suppress"),
    ("generation", "length_means", "total"),
    ("generation", "retokenise", False),
)


def is_raceable(config: Mapping[str, Any]) -> bool:
    """Whether a configuration, defaults not filled in, is one that a race can take."""
    return all(config.get(section, {}).get(key, right) == right for section, key, right in NEEDED)


def judging_texts(config: Mapping[str, Any]) -> list[str]:
    """Texts that judge, by name."""
    return [name for name in config["choose"]["for"] if name in config["texts"]]


def judging_tasks(config: Mapping[str, Any]) -> list[str]:
    """Tasks that judge, by name."""
    return [name for name in config["choose"]["for"] if name in config["tasks"]]


def guards(config: Mapping[str, Any], section: str) -> list[str]:
    """Guards in a section, `texts` or `tasks`, by name."""
    return [name for name in config["choose"]["guard"] if name in config[section]]


def document_tokens(config: Mapping[str, Any]) -> int:
    """Tokens of a document that are read at most, so that a half has documents enough."""
    return max(LEAST_DOCUMENT_TOKENS, int(config["choose"]["tokens"]) // DOCUMENTS)


def text_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of a study decides how texts are divided and what is kept out of them: a raised budget does not."""
    chosen = config["choose"]
    return {
        "choose": {key: chosen[key] for key in ("for", "tokens", "own")},
        "calibration": {key: config["calibration"][key] for key in ("samples", "length")},
        "generation": {"prefix_length": config["generation"]["prefix_length"]},
        "evaluation": {"limit": config["evaluation"]["limit"]},
        "tasks": {name: {} for name in judging_tasks(config)},
        "texts": {name: {} for name in judging_texts(config)},
    }


def is_given(config: Mapping[str, Any]) -> bool:
    """Whether the reference is a calibration set that exists."""
    return str(config["choose"].get("reference", "")).endswith(".parquet")


def set_samples(config: Mapping[str, Any]) -> int:
    """Samples of which filtering leaves a set."""
    return block_rows(int(config["calibration"]["samples"]), float(config["filter"]["drop"]))


def pool_and_block(config: Mapping[str, Any], number: int) -> tuple[int, int]:
    """Which generation a set's rows are in, and which block of it: the first has the samples of a study, then one each.

    So the model writes no more than the next round needs.
    """
    together = max(1, int(config["generation"]["samples"]) // set_samples(config))
    return (0, number) if number < together else (number - together + 1, 0)


def generation_of(config: Mapping[str, Any], name: str, number: int) -> tuple[str, int]:
    """As `pool_and_block`, the generation as its file is called, of those that continue one text."""
    pool, block = pool_and_block(config, number)
    return (f"{name}-c{pool}" if pool else name), block


def first_sample(config: Mapping[str, Any], pool: int) -> int:
    """The number of the first sample of a generation."""
    return int(config["generation"]["samples"]) + (pool - 1) * set_samples(config) if pool else 0


def first_samples(config: Mapping[str, Any]) -> int:
    """Samples that the sets of the first round take."""
    return FIRST * set_samples(config)


def check_choose(config: dict[str, Any], name: str) -> None:
    """Refuse a section `choose` that names what the study has not, or asks for what no race can do; normalise it.

    Raises:
        InputError: names the key, the value and what would be right.
    """
    chosen = config["choose"]
    known = [*config["texts"], *config["tasks"]]
    for key, named in (("for", list(chosen["for"])), ("guard", chosen["guard"])):
        for each in named:
            if each not in known:
                raise InputError(
                    f"{name}: choose.{key} has {each}, which is no text or task of this study{suggest(each, known)}; "
                    f"there are {', '.join(known) or 'none'}"
                )
    both = sorted(set(chosen["for"]) & set(chosen["guard"]))
    if both:
        raise InputError(f"{name}: choose.guard has {both[0]}, which judges already (choose.for); leave it out")
    if chosen["method"] in WITHOUT_DATA:
        raise InputError(
            f"{name}: choose.method is {chosen['method']}, which reads no text, so there is nothing to choose; give "
            "one that does, such as wanda"
        )
    chosen["target"] = normal_target(chosen["target"], f"{name}: choose.target")
    try:
        check_target(chosen["method"], parse_target(chosen["target"]))
    except InputError as error:
        raise InputError(f"{name}: choose: {error}") from None
    if chosen["budget"] != sorted(set(chosen["budget"])):
        raise InputError(
            f"{name}: choose.budget is {chosen['budget']}: it must grow; append the larger one to those before it"
        )
    for each in config["sources"]:
        if each == GIVEN or each.startswith(OWN):
            raise InputError(
                f"{name}: sources.{each}: in a study that chooses, this is a name of Calibrant's own; use another"
            )
    for section, key, right in NEEDED:
        if config[section][key] != right:
            raise InputError(
                f"{name}: {section}.{key} is {config[section][key]}: a race takes sets that are blocks of rows of full "
                f"length; use {right}"
            )
