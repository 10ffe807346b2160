"""YAML as study files may have it: one document, every key a text and given once, nothing that grows."""

import re
import stat
from pathlib import Path
from typing import Any

import yaml

from calibrant.errors import InputError

LARGEST = 1_000_000  # bytes of a file; the longest preset has 4,000
DEEPEST = 40  # levels; the schema has seven
MERGED = 1000  # keys of a mapping, those that `<<` brings included
PLAIN_NUMBER = re.compile(r"[-+]?(0|[1-9][0-9_]*)(\.[0-9_]*)?([eE][-+]?[0-9]+)?|[-+]?\.([0-9]+|inf|nan)", re.IGNORECASE)


def read_text(path: str | Path, name: str = "") -> str:
    """The text of a YAML file; `name` is what messages call it, its path by default.

    Raises:
        InputError: missing, no ordinary file, too large, or not UTF-8.
    """
    name = name or str(path)
    try:
        found = Path(path).stat()
        if not stat.S_ISREG(found.st_mode):
            kind = "a folder" if stat.S_ISDIR(found.st_mode) else "no ordinary file"
            raise InputError(f"{name}: cannot be read as YAML (it is {kind})")
        if found.st_size > LARGEST:
            raise InputError(f"{name}: cannot be read as YAML ({found.st_size:,} bytes; at most {LARGEST:,})")
        return Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{name}: no such file") from None
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or a name with a NUL
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise InputError(f"{name}: cannot be read as YAML ({reason})") from None


def parse(text: str, name: str) -> Any:
    """The value of a YAML text; `name` says in messages where it is from.

    Raises:
        InputError: names the line and what is wrong there.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        line = f"line {mark.line + 1}: " if mark is not None and "\n" in text.strip() else ""
        said = getattr(error, "problem", None) or str(error)
        raise InputError(f"{name}: cannot be read as YAML ({line}{' '.join(said.split())})") from None


class _Loader(yaml.SafeLoader):
    """A safe loader that also refuses what is read in two ways, and what is larger than its text."""

    _depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """One level deeper."""
        self._depth += 1
        if self._depth > DEEPEST:
            raise _refused(f"nested more than {DEEPEST} levels deep", self.peek_event())  # type: ignore[no-untyped-call]
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def compose_mapping_node(self, anchor: Any) -> Any:
        """A mapping as it is written: before `<<` is resolved, which may bring a key again."""
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _refused("a key must be a text", key)
            kind = key.tag.rpartition(":")[2]
            if kind not in ("str", "merge"):
                raise _refused(f"the key {_short(key.value)} is read as {kind}; write it in quotes", key)
            if key.value in seen:
                raise _refused(f"the key {_short(key.value)} is given twice", key)
            seen.add(key.value)
        return node

    def flatten_mapping(self, node: Any) -> None:
        """Resolve `<<`, each time checked: merges of merges grow without bounds."""
        super().flatten_mapping(node)
        if len(node.value) > MERGED:
            raise _refused(f"a mapping of more than {MERGED} keys", node)

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        """A value, where its text is one of its kind and looks like it."""
        kind = node.tag.rpartition(":")[2]
        if kind in ("int", "float") and not PLAIN_NUMBER.fullmatch(str(node.value)):
            value = _short(node.value)
            raise _refused(f"{value} is read as a number in another notation; write it in quotes, or plainly", node)
        if kind == "timestamp":
            raise _refused(f"{_short(node.value)} is read as a date; write it in quotes", node)
        try:
            return super().construct_object(node, deep)
        except yaml.YAMLError:
            raise
        except (ValueError, TypeError, LookupError, AttributeError) as error:  # of Python, where a tag does not fit
            raise _refused(f"{_short(node.value)} is no {kind}", node) from error


def _refused(problem: str, at: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=at.start_mark)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else "the value"
    return text if len(text) <= 40 else f"{text[:30]}… ({len(text):,} characters)"
