"""Words that users give, as tables, figures and pages can show them."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

LONGEST_LABEL = 60  # characters: more makes a figure of legends, and takes minutes to draw
_ENDING = 12  # of them from its end, where long names often differ
# Control characters and lone surrogates, which XML and UTF-8 do not allow, and marks that turn the direction of a line.
_UNSHOWABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def readable(text: str) -> str:
    """The text with U+FFFD for every character that cannot be shown."""
    return _UNSHOWABLE.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))


def short_label(text: str) -> str:
    """A label of one line, with an ellipsis in it where it is long: the one way by which names enter figures."""
    line = readable(" ".join(text.split()))
    if len(line) <= LONGEST_LABEL:
        return line
    return f"{line[: LONGEST_LABEL - _ENDING - 1].rstrip()}…{line[-_ENDING:].lstrip()}"


SPELLINGS = {"dclm": "DCLM", "slimpajama": "SlimPajama", "redpajama": "RedPajama", "fineweb": "FineWeb"}


def default_label(name: str) -> str:
    """`parlspeech_uk` -> `Parlspeech uk`, `dclm_pool` -> `DCLM pool`: known corpora as their authors spell them.

    Spaces for underscores, a capital first letter, the rest as it is.
    """
    text = " ".join(SPELLINGS.get(word, word) for word in name.split("_") if word)
    return short_label(text[:1].upper() + text[1:])


def own_label(entry: Mapping[str, Any]) -> str | None:
    """The label that an entry of an index gives; None where it gives none."""
    return short_label(entry["label"]) if entry.get("label") else None


def readable_pairs(entries: Iterable[Mapping[str, Any]]) -> tuple[tuple[str, str], ...]:
    """Names and values of an index in words: `yes` and `no` for true and false."""
    words = {True: "yes", False: "no"}
    said = ((e["name"], words[e["value"]] if isinstance(e["value"], bool) else str(e["value"])) for e in entries)
    return tuple((readable(name), readable(value)) for name, value in said)
