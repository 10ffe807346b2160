"""What jobs of one model share when they are forked from one process: the model, opened, hashed and loaded once.

`cli.keepers` asks here what a job would share (`what_to_keep`), and in a process of its own has it kept
(`keep_model`), from which it then forks the jobs.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calibrant.models.checkpoint.checkpoint_files import Identities, file_identities

STREAMED = ("prune", "statistics")  # stages that read a model layer by layer
LOADED = ("evaluate", "score")  # stages that have it in memory


@dataclass(frozen=True)
class Wanted:
    """What is kept for a job: two jobs share it where these are alike.

    Attributes:
        whole: the whole model, or what is read of it before its layers.
        place: the working folder.
        model: its folder, as the job has it.
        dtype, device: what the job says of them.
        resolved: the file with the study's number format, as the job has it, and what identifies it.
        files: what identifies the model's files.
    """

    whole: bool
    place: str
    model: str
    dtype: str
    device: str
    resolved: tuple[str, Any] | None
    files: Identities


class _OtherWordsError(Exception):
    """The words are not those of a job; it will say so itself."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        """Nothing is said here."""
        raise _OtherWordsError


def what_to_keep(words: Sequence[str], place: Path) -> Wanted | None:
    """What a job with these words shares with others in that working folder; None where nothing is to be kept.

    Imports nothing heavy, and says nothing: a job whose words are wrong finds that out itself.
    """
    if not words or words[0] not in (*STREAMED, *LOADED):
        return None
    parser = _Parser(add_help=False, allow_abbrev=False)
    for flag, value in (("--model", None), ("--dtype", "auto"), ("--device", "auto"), ("--resolved", None)):
        parser.add_argument(flag, default=value)
    try:
        found, _ = parser.parse_known_args(words[1:])
    except _OtherWordsError:
        return None
    if found.model is None or found.device not in ("auto", "cpu"):
        return None
    files = file_identities(place / found.model)
    resolved = None
    if found.resolved is not None:
        try:
            about = (place / found.resolved).stat()
        except OSError:
            return None
        resolved = (found.resolved, (about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns))
    if files is None:
        return None
    return Wanted(words[0] in LOADED, str(place), found.model, found.dtype, found.device, resolved, files)


def keep_model(wanted: Wanted) -> bool:
    """Open what is wanted, in its working folder, for the children of this process; whether that was done."""
    from calibrant.models.checkpoint.keeping import open_and_keep

    resolved = None if wanted.resolved is None else wanted.resolved[0]
    return open_and_keep(wanted.model, wanted.files, wanted.dtype, wanted.device, resolved, whole=wanted.whole)
