"""What a stage is: a function from files to files, the files that it takes, and its settings."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calibrant.errors import InputError
from calibrant.settings.setting import Settings


@dataclass(frozen=True)
class FileArgument:
    """A file or folder that a stage reads or writes; `name` is the function's argument.

    help: what it is, in words.
    flag: of the command line, without dashes; `name` by default. "" where it is given without a flag.
    required: whether it must be given.
    many: whether there may be several: the flag again for each.
    commas: whether one flag may also name several, separated by commas.
    metavar: what stands for it in a usage line.
    """

    name: str
    help: str
    flag: str | None = None
    required: bool = True
    many: bool = False
    commas: bool = False
    metavar: str | None = None

    @property
    def shown(self) -> str:
        """How messages call it: `--text`, or its name where it has no flag."""
        return self.name if self.flag == "" else f"--{self.flag or self.name}"


@dataclass(frozen=True)
class Input(FileArgument):
    """A file that is read. `kind` says what it is, in messages; "" for what is no plain file (a model, a folder)."""

    kind: str = ""


@dataclass(frozen=True)
class Output(FileArgument):
    """What is written: a file whose name ends in `suffix`, of which `rule` says why, or anything."""

    suffix: str = ""
    rule: str = ""


@dataclass(frozen=True)
class Stage:
    """A stage of the command line.

    run: the function; it takes the files by name, and `settings` where the stage has any.
    files: what it reads and writes.
    settings: the class of its settings.
    said: lines about the result, for the command line.
    aside: whether those go to standard error, as progress does.
    """

    run: Callable[..., Any]
    files: tuple[Input | Output, ...]
    settings: type[Settings] | None = None
    said: Callable[[Any], str | Iterable[str]] = lambda result: ()
    aside: bool = False


def admit(
    files: Sequence[Input | Output], settings: Settings | None = None, of: type[Settings] | None = None, **given: Any
) -> None:
    """The one door for what enters and leaves a stage: refuse files that cannot be read or must not be written so.

    Every stage calls it before it does anything, with what it was given for each of its `files`, and with its settings
    and their class.

    Raises:
        InputError: an input is missing or a folder, an output's name has another ending than its kind of file, one file
            stands where several are taken, or the settings are another stage's.
    """
    if of is not None and not isinstance(settings, of):
        raise InputError(f"settings: are {type(settings).__name__}; this stage takes {of.__name__}")
    for file in files:
        value = given[file.name]
        if file.many and (isinstance(value, str | Path | Mapping) or not isinstance(value, Sequence)):
            raise InputError(f"{file.name} {value}: must be a list of files, such as [{str(value)!r}]")
        for path in [] if value is None else value if file.many else [value]:
            if isinstance(file, Output):
                _check_output(file, path)
            elif file.kind:
                _check_input(file, Path(path))


def _check_input(file: Input, path: Path) -> None:
    if not path.is_file():
        raise InputError(f"{file.kind} {path}: {'is a folder, not a file' if path.is_dir() else 'no such file'}")


def _check_output(file: Output, path: Any) -> None:
    if not str(path).endswith(file.suffix):
        raise InputError(f"{file.shown} {path}: {file.rule}")
