"""The section `choose` of a study: what judges, how its texts are read, and what a schema cannot check of it."""

from collections.abc import Mapping
from typing import Any

from calibrant.errors import InputError
from calibrant.study.grid import WITHOUT_DATA, normal_sparsity
from calibrant.study.validation import suggest

DOCUMENTS = 20  # as many documents at least are read of a half: with fewer, the spread between them is hardly known
LEAST_DOCUMENT_TOKENS = 16
OWN = "own_"  # what names the part of a judging text that is a candidate
GIVEN = "reference"  # what names a calibration set that exists, where files are named by sources


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


def is_given(config: Mapping[str, Any]) -> bool:
    """Whether the reference is a calibration set that exists."""
    return str(config["choose"].get("reference", "")).endswith(".parquet")


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
    chosen["sparsity"] = normal_sparsity(chosen["sparsity"], f"{name}: choose.sparsity")
    if chosen["budget"] != sorted(set(chosen["budget"])):
        raise InputError(
            f"{name}: choose.budget is {chosen['budget']}: it must grow; append the larger one to those before it"
        )
    for each in config["sources"]:
        if each == GIVEN or each.startswith(OWN):
            raise InputError(
                f"{name}: sources.{each}: in a study that chooses, this is a name of Calibrant's own; use another"
            )
    if config["calibration"]["sets"] != "blocks":
        raise InputError(f"{name}: calibration.sets is pool: a race takes blocks, sets that share no row; leave it out")
    if "synthetic" in chosen["origins"] and config["generation"]["end_of_text"] == "stop":
        raise InputError(f"{name}: generation.end_of_text is stop: a race takes rows of full length; use suppress")
