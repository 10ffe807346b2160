"""What lies at a path: a plain file that can be read, or something that a reader would wait for or a writer destroy."""

import errno
import os
import stat
from pathlib import Path

from calibrant.errors import InputError, shown

FOLDER = "a folder"
SPECIAL = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
KINDS = {stat.S_IFDIR: FOLDER, **SPECIAL}


def kind_of(path: Path) -> str | None:
    """What a path that exists is, where it is no plain file, links followed: `a folder`, `a pipe`, `a device`."""
    try:
        return KINDS.get(stat.S_IFMT(path.stat().st_mode))
    except (OSError, ValueError):
        return None


def why_unreadable(path: Path) -> str | None:
    """Why a path is no plain file that can be read, links followed; None where it is one."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        leads = Path(os.readlink(path)) if os.path.islink(path) else None  # noqa: PTH114, PTH115 - any name
        if leads is not None and error.errno == errno.ELOOP:
            return "is a link to itself"
        if leads is not None:
            return f"is a link to {shown(leads)}, which is not there"
        return "no such file" if error.errno == errno.ENOENT else f"no such file ({error.strerror})"
    except ValueError:  # a NUL in the name
        return "no such file, since no name holds NUL"
    if kind := KINDS.get(stat.S_IFMT(mode)):
        return f"is {kind}, not a file"
    return None if os.access(path, os.R_OK) else "cannot be read (its permissions do not allow it)"


def plain_file(path: str | Path, what: str = "") -> Path:
    """The path of a file that can be read from its beginning to its end; `what` is what it is, for messages.

    Raises:
        InputError: no such file, a folder, a pipe or a device, which could be read for ever, or no possible name.
    """
    if reason := why_unreadable(Path(path)):
        raise InputError(f"{f'{what} ' if what else ''}{shown(path)}: {reason}")
    return Path(path)


def refuse_special_files(folder: Path) -> None:
    """Refuse a model folder that holds pipes, sockets or devices: whoever opens one by its name may wait for ever.

    Raises:
        InputError: naming the first one, or the folder cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            inside = sorted(folder / entry.name for entry in entries)
    except OSError as error:
        raise InputError(f"model {folder}: cannot be read ({error.strerror})") from error
    for path in inside:
        if (kind := kind_of(path)) not in (None, FOLDER):
            raise InputError(f"{path}: is {kind}, not a file")
