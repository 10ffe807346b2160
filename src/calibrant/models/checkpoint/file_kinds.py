"""Whether a path is a plain file that can be read: opening a pipe would wait for ever."""

import errno
import os
import stat
from pathlib import Path

from calibrant.errors import InputError

SPECIAL = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


def require_file(path: Path) -> None:
    """Refuse what is no plain file, or a link that does not lead to one.

    Raises:
        InputError: saying what it is instead.
    """
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
    except OSError as error:
        if path.is_symlink():
            why = "itself" if error.errno == errno.ELOOP else f"{path.readlink()}, which is not there"
            raise InputError(f"{path}: is a link to {why}") from None
        what = "no such file" if error.errno == errno.ENOENT else f"cannot be read ({error.strerror})"
        raise InputError(f"{path}: {what}") from None
    if kind != stat.S_IFREG:
        what = "a folder" if kind == stat.S_IFDIR else SPECIAL.get(kind, "something else")
        raise InputError(f"{path}: is {what}, not a file")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path}: cannot be read (its permissions do not allow it)")


def refuse_special_files(folder: Path) -> None:
    """Refuse a model folder that holds pipes, sockets or devices: whoever opens one by its name may wait for ever.

    Raises:
        InputError: naming the first one, or the folder cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda item: item.name):
                try:
                    kind = stat.S_IFMT(entry.stat().st_mode)
                except OSError:  # a link that leads nowhere: no program can read it by mistake
                    continue
                if kind in SPECIAL:
                    raise InputError(f"{folder / entry.name}: is {SPECIAL[kind]}, not a file")
    except OSError as error:
        raise InputError(f"model {folder}: cannot be read ({error.strerror})") from error
