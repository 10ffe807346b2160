"""Where `make study` writes besides the study's own files, and whether it may."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from calibrant.errors import InputError

CACHE = "XDG_CACHE_HOME"


def check_writable(root: Path, names: Sequence[str] = (".snakemake", "data", "reports")) -> None:
    """Refuse a checkout, or a study's own folder, in which Snakemake and the study cannot write.

    Raises:
        InputError: names the folder and what the system says.
    """
    for folder in (root / name for name in names):
        if reason := why_not_writable(folder):
            raise InputError(f"{folder}: cannot be written ({reason}); run a copy of the checkout that can")


def cache_variables(root: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """What to set so that caches can be written: nothing where the user's own can be.

    A container may have no home folder, or one that is read-only; Snakemake, which keeps a cache there, ends then.
    """
    given = environment.get(CACHE)
    home = Path(given) if given else Path(os.path.expanduser("~/.cache"))  # noqa: PTH111 - ~ stays where there is none
    if home.is_absolute() and not why_not_writable(home / "snakemake"):
        return {}
    return {CACHE: str(root / ".snakemake" / "cache")}


def why_not_writable(folder: Path) -> str:
    """What keeps a file from being written into a folder, which is made where it is not there; "" if nothing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return error.strerror or str(error)
