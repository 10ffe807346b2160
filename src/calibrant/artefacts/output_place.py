"""Whether a call may write where it was told to: nothing of the user's, and nothing that it reads, is ever replaced."""

import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from calibrant.artefacts.atomic import SIDECAR, check_replaceable, foreign_files
from calibrant.artefacts.file_kinds import FOLDER, kind_of
from calibrant.artefacts.unfinished import check_partial, partial_folder
from calibrant.artefacts.written_by import written_by
from calibrant.errors import InputError, shown

LONGEST_NAME = 255  # bytes, on nearly every file system
SYSTEMS = (Path("/proc"), Path("/sys"))  # where the system lets root write, by its word, and nothing can be made


@dataclass(frozen=True)
class Place:
    """A path that a call will write.

    command: which writes it, as its metadata or sidecar say.
    form: a `file`; a `folder`, which is replaced whole; or a `report`, whose `parts` are replaced in a folder that may
        hold more.
    partial: whether unfinished work lies beside it.
    flag: how messages call it.
    sidecar: where its sidecar lies, if not beside it under its own name.
    """

    path: Path
    command: str
    form: Literal["file", "folder", "report"] = "file"
    partial: bool = False
    flag: str = "output"
    parts: tuple[str, ...] = ()
    sidecar: Path | None = None


def check_places(places: Sequence[Place], inputs: Iterable[Path]) -> None:
    """Refuse, before any work, to write where something lies that is not the same command's, or where this call reads.

    Raises:
        InputError: names the path, what lies there, and what to do.
    """
    read = [Path(path) for path in inputs]
    files = {key: path for path in read for key in _identities(path)}
    taken: dict[tuple[str, str], Place] = {}
    for place in places:
        _check_name(place)
        _check_parents(place)
        _check_inputs(place, read, files)
        _check_what_lies_there(place)
        spot = (os.path.realpath(place.path.parent), place.path.name)
        if spot in taken:
            other = taken[spot]
            again = "is named twice" if other.flag == place.flag else f"--{other.flag} writes that file too"
            raise InputError(f"--{place.flag} {shown(place.path)}: {again}; give two names")
        taken[spot] = place


def _check_name(place: Place) -> None:
    written = partial_folder(place.path) if place.partial and place.path.name else place.path
    try:
        longest = max((part.encode() for part in written.parts), key=len, default=b"")
    except UnicodeEncodeError:
        raise InputError(f"--{place.flag} {shown(place.path)}: the name is no UTF-8; give another") from None
    if "\0" in str(place.path) or not longest or not place.path.name:
        raise InputError(f"--{place.flag} {str(place.path)!r}: is no name of a file")
    if len(longest) > LONGEST_NAME:
        raise InputError(
            f"--{place.flag} {shown(place.path)}: the name {shown(longest.decode(), 40)}, which is written, has "
            f"{len(longest)} bytes; at most {LONGEST_NAME}"
        )


def _check_parents(place: Place) -> None:
    for parent in place.path.parents:
        try:
            mode = parent.stat().st_mode
        except FileNotFoundError:
            if parent.is_symlink():
                raise InputError(f"--{place.flag} {shown(place.path)}: {parent} is a link to nothing") from None
            continue
        except OSError as error:
            if isinstance(error, NotADirectoryError):
                continue  # the file above is named in its turn
            raise InputError(f"--{place.flag} {shown(place.path)}: {shown(parent)}: {error.strerror}") from None
        if not stat.S_ISDIR(mode):
            raise InputError(
                f"output {shown(place.path)}: cannot create its folder because {shown(parent)} is not a folder; "
                "choose an output path below a folder"
            )
        if not os.access(parent, os.W_OK | os.X_OK) or parent.resolve() in SYSTEMS:
            raise InputError(
                f"output {shown(place.path)}: the folder {shown(parent)} cannot be written; choose another place"
            )
        return


def _check_inputs(place: Place, read: Sequence[Path], files: dict[tuple[int, int], Path]) -> None:
    for key in _identity(place.path):
        if key in files:
            raise InputError(
                f"--{place.flag} {shown(place.path)}: is {shown(files[key])}, which this command reads; "
                "give another name"
            )
    own = Path(os.path.realpath(place.path))
    for path in read:
        real = Path(os.path.realpath(path))
        if place.form == "folder" and own in (real, *real.parents):
            raise InputError(
                f"--{place.flag} {shown(place.path)}: holds {shown(path)}, which this command reads; "
                "give another folder"
            )
        if kind_of(path) == FOLDER and real in own.parents:
            raise InputError(
                f"--{place.flag} {shown(place.path)}: lies in {shown(path)}, which this command reads; "
                "give a place outside it"
            )


def _check_what_lies_there(place: Place) -> None:
    path = place.path
    if place.partial:
        check_partial(path)
    if not os.path.lexists(path):
        return
    kind = kind_of(path)
    if place.form == "file":
        if kind is not None:
            raise InputError(f"output {shown(path)} is {kind}; give the name of a file")
        if path.is_symlink() and not path.exists():
            raise InputError(f"output {shown(path)}: is a link to nothing; remove it or give another name")
    elif path.is_symlink() and place.form == "folder":
        raise InputError(f"output {shown(path)}: is a link, which would be replaced; give the folder that it leads to")
    elif kind != FOLDER:
        raise InputError(f"output {shown(path)} is {kind or 'a file'}; give the name of a folder")
    if place.form == "folder":
        if not any(path.iterdir()):
            return
        check_replaceable(path)
    if place.form == "report":
        _check_report(place)
        return
    if not os.access(path, os.R_OK):
        raise InputError(f"output {shown(path)}: lies there already and cannot be read; remove it or give another name")
    if (found := written_by(path, place.sidecar)) != place.command:
        who = f"calibrant {found} wrote it" if found else "it is no file of calibrant"
        raise InputError(
            f"output {shown(path)}: lies there already, and {who}, so calibrant {place.command} does not replace it; "
            "remove it or give another name"
        )


def _check_report(place: Place) -> None:
    foreign = [name for name in foreign_files(place.path) if name.split("/")[0] in place.parts]
    if written_by(place.path) != place.command and (place.path / SIDECAR).exists():
        foreign = [*foreign, SIDECAR]
    if foreign:
        raise InputError(
            f"output {shown(place.path)}: holds {shown(foreign[0])}, which no report wrote and this one would "
            "replace; give a new or an empty folder"
        )


def _identity(path: Path) -> list[tuple[int, int]]:
    try:
        found = path.stat()
    except (OSError, ValueError):
        return []
    return [(found.st_dev, found.st_ino)]


def _identities(path: Path) -> list[tuple[int, int]]:
    """A file's identity on its device; those of the files in a folder, which links may lead to."""
    inside = sorted(path.iterdir()) if kind_of(path) == FOLDER and os.access(path, os.R_OK | os.X_OK) else []
    return [key for each in (path, *inside) for key in _identity(each)]
