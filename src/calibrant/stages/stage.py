"""What a stage is: a function from files to files, the files that it takes, and its settings."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from calibrant.artefacts.file_kinds import why_unreadable
from calibrant.artefacts.output_place import Place, check_places
from calibrant.errors import InputError, shown
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
    """What is written: a file whose name ends in `suffix`, of which `rule` says why, or anything.

    command: the command that writes it; what another wrote, or the user, is never replaced.
    form: a file, a folder that is replaced whole, a report, whose `parts` are replaced in a folder that may hold more,
        or a tree, of which the stage checks the places itself once it knows them.
    beside: what else is written beside a file, as `with_suffix` makes its name.
    partial: whether unfinished work lies beside it.
    """

    command: str = ""
    form: Literal["file", "folder", "report", "tree"] = "file"
    suffix: str = ""
    rule: str = ""
    beside: tuple[str, ...] = ()
    partial: bool = False
    parts: tuple[str, ...] = ()

    def places(self, path: str | Path) -> list[Place]:
        """Every path that is written where this output goes to `path`."""
        if self.form == "tree":
            return []
        flag = self.flag or self.name
        whole = Place(Path(path), self.command, self.form, self.partial, flag, self.parts)
        if not Path(path).name:
            return [whole]
        return [whole, *(Place(Path(path).with_suffix(each), self.command, flag=flag) for each in self.beside)]


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
    files: Sequence[Input | Output],
    settings: Settings | None = None,
    of: type[Settings] | None = None,
    **given: Any,
) -> None:
    """The one door for what enters and leaves a stage: refuse files that cannot be read or must not be written so.

    Every stage calls it before it does anything, with what it was given for each of its `files`, and with its settings
    and their class. A stage that writes or reads more calls `check_places` with that besides.

    Raises:
        InputError: an input is missing or no ordinary file, an output's name has another ending than its kind of file,
            something lies there that this program did not write as such an output, it is an input, one file
            stands where several are taken, or the settings are another stage's.
    """
    if of is not None and not isinstance(settings, of):
        raise InputError(f"settings: are {type(settings).__name__}; this stage takes {of.__name__}")
    written: list[Place] = []
    read: list[Path] = []
    for file in files:
        value = given[file.name]
        if file.required and (value is None or (file.many and not value)):
            raise InputError(f"{file.shown}: is missing; give {file.help}")
        if file.many and (isinstance(value, str | Path | Mapping) or not isinstance(value, Sequence)):
            raise InputError(f"{file.name} {value}: must be a list of files, such as [{str(value)!r}]")
        for path in [] if value is None else value if file.many else [value]:
            if not isinstance(path, str | Path):
                raise InputError(f"{file.shown} {shown(repr(path))}: must be the name of a file, as a text or Path")
            if isinstance(file, Output):
                _check_ending(file, path)
                written += file.places(path)
            else:
                _check_input(file, path)
                read.append(Path(path))
    check_places(written, read)


def _check_input(file: Input, path: str | Path) -> None:
    if not str(path):
        raise InputError(f"{file.shown}: is empty; give the name of a file")
    if file.kind and (reason := why_unreadable(Path(path))):
        raise InputError(f"{file.kind} {shown(path)}: {reason}")


def _check_ending(file: Output, path: str | Path) -> None:
    if not str(path):
        raise InputError(f"{file.shown}: is empty; give the name of a file")
    if not str(path).endswith(file.suffix):
        raise InputError(f"{file.shown} {shown(path)}: {file.rule}")
    for own in file.beside:
        if str(path).endswith(own):
            raise InputError(f"{file.shown} {shown(path)}: names that end in {own} are those of files beside an output")
