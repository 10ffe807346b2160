"""The pieces of a card: the README.md by which a hub, and people, know what a folder of data or of a model is."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from calibrant.errors import one_line

CARD = "README.md"
NOT_STATED = "not stated"
# Those that the hub knows by a name of its own, which is theirs in small letters.
LICENCES = (
    *("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "mpl-2.0", "unlicense", "pddl", "odc-by", "odbl", "gfdl"),
    *("cc0-1.0", "cc-by-2.0", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-3.0", "cc-by-nc-4.0"),
    *("cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-4.0"),
    *("gpl-2.0", "gpl-3.0", "lgpl-3.0", "agpl-3.0", "openrail", "bigscience-openrail-m"),
    *("llama2", "llama3", "llama3.1", "llama3.2", "llama3.3", "llama4", "gemma"),
)


def front_matter(entries: Mapping[str, Any]) -> str:
    """The YAML at the head of a card, in the order given; what is empty is left out."""
    kept = {key: value for key, value in entries.items() if value not in (None, "", [], {})}
    return f"---\n{yaml.safe_dump(kept, sort_keys=False, allow_unicode=True, width=1000)}---\n"


def licence_entries(stated: Iterable[str], *, several: bool) -> dict[str, Any]:
    """Licences as the front matter has them, from the words in which each part states its own ("" for none).

    Args:
        stated: the words; those that are no licence's plain name become `other`, and are kept beside it.
        several: whether the card takes a list (of data), or one (of a model).
    """
    words = list(dict.fromkeys(one_line(text) for text in stated))
    ids = list(dict.fromkeys(_hub_name(text) for text in words))
    other = [text for text in words if _hub_name(text) == "other"]
    return {
        "license": ids[0] if len(ids) == 1 else ids if several else "other",
        "license_name" if not several else "license_details": "; ".join(other),
    }


def _hub_name(stated: str) -> str:
    if not stated or stated == NOT_STATED:
        return "unknown"
    return stated.lower() if stated.lower() in LICENCES else "other"


def words_of(text: object) -> str:
    """A text of the user's as a line of Markdown: nothing in it is markup, or ends a cell of a table."""
    return re.sub(r"([\\`*\[\]<>|])", r"\\\1", one_line(text))


def sentence(text: str) -> str:
    """The same with a capital letter and a full stop."""
    found = text.strip()
    return f"{found[:1].upper()}{found[1:]}{'' if found.endswith(('.', '!', '?')) else '.'}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown; cells are Markdown already."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def fenced(lines: Iterable[str], language: str = "") -> str:
    """Lines as they stand, in a fence that none of them can end."""
    text = "\n".join(lines)
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def joined(parts: Iterable[str]) -> str:
    """Paragraphs to a page: empty ones are left out, and a newline ends it."""
    return "\n\n".join(part for part in parts if part) + "\n"
