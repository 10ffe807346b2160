"""The texts and tasks of `calibrant choose`: what was typed, as names and entries of a study."""

import glob
import itertools
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calibrant.artefacts.digest import sha256_file
from calibrant.artefacts.file_kinds import plain_file, why_unreadable
from calibrant.calibration.documents import GENERIC_NAMES, file_name
from calibrant.calibration.judging_parts import LEAST_DOCUMENTS
from calibrant.errors import InputError, shown
from calibrant.settings.choose_settings import ChooseSettings
from calibrant.sources.table_rows import PLAIN, file_kind
from calibrant.sources.text_rows import file_texts
from calibrant.study.choose_section import GIVEN, OWN
from calibrant.study.task_names import FOLDERS, declared, is_known
from calibrant.study.validation import suggest

NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
TASK = re.compile(r"[a-z][a-z0-9_]{0,127}")
RESERVED = ("all", GIVEN)
ROWS = re.compile(r"(.+)\.jsonl(\.gz)?")
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


@dataclass(frozen=True)
class Given:
    """A text or task as it was given.

    Attributes:
        flag: that gave it.
        typed: its value.
        name: what the study calls it.
        spec: its entry in the study.
        files: of a text, where they lie; empty for a task.
    """

    flag: str
    typed: str
    name: str
    spec: dict[str, Any]
    files: tuple[Path, ...] = ()

    @property
    def is_task(self) -> bool:
        """Whether it is a task."""
        return not self.files


@dataclass(frozen=True)
class ChooseInputs:
    """All that a race is between and judged by, checked as far as it can be before anything is computed."""

    model: dict[str, Any]
    sources: list[Given]
    purposes: list[Given]
    guards: list[Given]


def read_inputs(
    model: str | Path,
    sources: Sequence[str | Path],
    purposes: Sequence[str | Path],
    guards: Sequence[str | Path],
    data: str | Path | None,
    settings: ChooseSettings,
) -> ChooseInputs:
    """What was typed, looked up.

    Raises:
        InputError: names the flag, its value and what would be right.
    """
    if data is not None and not Path(data).is_dir():
        raise InputError(f"--data {shown(data)}: is no folder; give the one with the rows of tasks")
    found = ChooseInputs(
        model_spec(str(model)),
        [_text("--source", str(item), settings) for item in sources],
        [_judging("--for", str(item), data, settings) for item in purposes],
        [_judging("--guard", str(item), data, settings) for item in guards],
    )
    _check_names(found.sources)
    _check_names([*found.purposes, *found.guards])
    _check_twice(found)
    for each in found.sources:
        _first_texts(each, 1)
    for each in (each for each in found.purposes if each.files):
        if (documents := _first_texts(each, 2 * LEAST_DOCUMENTS)) < 2 * LEAST_DOCUMENTS:
            raise InputError(
                f"{each.flag} {shown(each.typed)}: is too small to judge by: it has {documents} documents, and two "
                f"halves of {LEAST_DOCUMENTS} are needed (a row is a document; in plain text, a paragraph)"
            )
    for each in (each for each in found.guards if each.files):
        _first_texts(each, 1)
    return found


def model_spec(model: str) -> dict[str, Any]:
    """The model as a study names it: a folder, a GGUF file, or a hub id.

    Raises:
        InputError: neither.
    """
    path = Path(model)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise InputError(f"--model {shown(model)}: the folder has no config.json, so it is no Hugging Face model")
        return {"path": _absolute(model)}
    if path.is_file() and path.suffix.lower() == ".gguf":
        return {"path": _absolute(model)}
    if os.path.lexists(path):
        raise InputError(
            f"--model {shown(model)}: is a file; give a model's folder, a .gguf file, or a hub id such as owner/name"
        )
    if not HUB_ID.fullmatch(model):
        raise InputError(f"--model {shown(model)}: no such folder, and no hub id of the form owner/name")
    return {"hub": model}


def _judging(flag: str, item: str, data: str | Path | None, settings: ChooseSettings) -> Given:
    """A text where there is such a file, else a task."""
    name, path = _named(item)
    if _files(path):
        return _text(flag, item, settings)
    rows = {} if data is None or name is not None else _rows(item, Path(data))
    if rows:
        return Given(flag, item, item, {"files": rows})
    if TASK.fullmatch(item) and is_known(item):
        if data is not None:
            raise InputError(
                f"{flag} {item}: --data {shown(data)} has no rows of it; they would lie in {item}_SPLIT.jsonl[.gz]"
            )
        return Given(flag, item, item, {"hub": True})
    if name is not None and TASK.fullmatch(path) and is_known(path):
        raise InputError(f"{flag} {shown(item)}: a task keeps its own name; give {flag} {path}")
    meant = suggest(path, [*FOLDERS, *declared()]) if TASK.fullmatch(path) else ""
    raise InputError(f"{flag} {shown(item)}: no such file, and no task of lm-eval{meant}")


def _rows(task: str, data: Path) -> dict[str, str]:
    """The files of a task's rows by split, as `evaluate --data` finds them."""
    found = {}
    for path in sorted(data.glob(f"{glob.escape(task)}_*.jsonl*")):
        if match := ROWS.fullmatch(path.name):
            found[match[1].removeprefix(f"{task}_")] = _absolute(path)
    return found


def _text(flag: str, item: str, settings: ChooseSettings) -> Given:
    name, path = _named(item)
    files = _files(path)
    if not files:
        raise InputError(f"{flag} {shown(item)}: {why_unreadable(Path(path)) or 'no such file'}")
    if name is None:
        name = _derived(files[0] if len(files) == 1 else Path(path).absolute().parent)
    elif not NAME.fullmatch(name) or name in RESERVED or name.startswith(OWN):
        own = name in RESERVED or name.startswith(OWN)
        why = (
            "is a name of Calibrant's own" if own else "must be small letters, digits and _, at most 64, a letter first"
        )
        raise InputError(f"{flag} {shown(item)}: the name {shown(name)} {why}; give another")
    try:
        kinds = {file_kind(str(file)) for file in files}
    except InputError as error:
        raise InputError(f"{flag} {error}") from None
    spec: dict[str, Any] = {"files": [_absolute(path)]}
    if settings.text_key != "text":
        spec["text_key"] = settings.text_key
    if kinds & set(PLAIN):
        spec["paragraphs"] = True  # a race counts by documents, and a file as one of them would tell it nothing
    return Given(flag, item, name, spec, files)


def _named(item: str) -> tuple[str | None, str]:
    """`NAME=FILE`, or a file whose own name may have a `=` in it."""
    name, equals, path = item.partition("=")
    return (name, path) if equals and not os.path.lexists(item) and "/" not in name else (None, item)


def _files(path: str) -> tuple[Path, ...]:
    """The plain files that a name or pattern stands for; none where there is none."""
    if not why_unreadable(Path(path)):
        return (Path(path),)
    if not any(sign in path for sign in "*?[") or "\0" in path:
        return ()
    return tuple(Path(each) for each in sorted(glob.glob(path)) if not why_unreadable(Path(each)))  # noqa: PTH207


def _absolute(path: str | Path) -> str:
    """Where a file lies; links stay, patterns too."""
    return os.path.abspath(path)  # noqa: PTH100 - `Path.absolute` keeps `..`


def _derived(path: Path) -> str:
    """A name made of a file's own: `My-Web.2024.jsonl.gz` is `my_web`."""
    name = re.sub(r"[^a-z0-9]+", "_", file_name(path, GENERIC_NAMES).lower()).strip("_")[:50]
    usable = NAME.fullmatch(name) and name not in RESERVED and not name.startswith(OWN)
    return name if usable else f"text_{name}".rstrip("_")


def _check_names(given: Sequence[Given]) -> None:
    for first, second in itertools.combinations(given, 2):
        if first.name != second.name:
            continue
        if second.is_task and first.is_task:
            raise InputError(f"{second.flag} {second.typed}: is given twice; leave one out")
        free = second if not second.is_task else first
        raise InputError(
            f"{second.flag} {shown(second.typed)}: and {first.flag} {shown(first.typed)} are both called {first.name}; "
            f"name one, as in {free.flag} other={shown(_named(free.typed)[1])}"
        )


def _check_twice(found: ChooseInputs) -> None:
    """One text under two names could not differ from itself; what judges must not be calibrated on."""
    for first, second in itertools.combinations([*found.sources, *found.purposes, *found.guards], 2):
        if not any(_same(one, other) for one in first.files for other in second.files):
            continue
        if first.flag == second.flag:
            why = "the two could not differ; leave one out"
        elif (first.flag, second.flag) == ("--source", "--for"):
            why = "a part of what judges is a candidate anyway; leave out --source"
        elif first.flag == "--source":
            why = "a guard must be text that nothing is calibrated on; give another"
        else:
            why = "it judges already; leave out --guard"
        raise InputError(
            f"{second.flag} {shown(second.typed)}: is the same text as {first.flag} {shown(first.typed)}: {why}"
        )


def _same(one: Path, other: Path) -> bool:
    if one.samefile(other):
        return True
    return one.stat().st_size == other.stat().st_size and sha256_file(one) == sha256_file(other)


def _first_texts(given: Given, wanted: int) -> int:
    """How many documents there are, as far as `wanted`; reading them tells a wrong column or kind of file."""
    key, paragraphs = given.spec.get("text_key", "text"), given.spec.get("paragraphs", False)

    def texts() -> Iterator[str]:
        for file in given.files:
            with plain_file(file).open("rb") as stream:
                yield from (row.text for row in file_texts(stream, str(file), key, paragraphs=paragraphs))

    try:
        found = sum(1 for _ in itertools.islice((text for text in texts() if text.strip()), wanted))
    except InputError as error:
        raise InputError(f"{given.flag} {str(error).replace('(text_key)', '(--text-key)')}") from None
    except OSError as error:
        raise InputError(f"{given.flag} {shown(given.typed)}: cannot be read ({error.strerror})") from None
    if not found:
        raise InputError(f"{given.flag} {shown(given.typed)}: holds no text")
    return found
