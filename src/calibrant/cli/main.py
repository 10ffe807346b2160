"""Parse `calibrant STAGE ...`, run the stage, and turn errors into one line and an exit status."""

import argparse
import contextlib
import difflib
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NoReturn

from calibrant.cli.flags import add_flags, arguments
from calibrant.cli.workflow_steps import STEPS, step
from calibrant.errors import InputError, MachineError, one_line, printable, reason_of
from calibrant.models.compute.freed_memory import keep_freed_memory
from calibrant.stages.commands import COMMANDS, stage_of
from calibrant.stages.stage import Stage
from calibrant.version import __version__


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, status 2 (argparse prints the usage too)."""
        self.exit(2, f"{one_line(f'{self.prog}: {message}')} (see {self.prog} --help)\n")


def said_by_the_machine(error: BaseException) -> str:
    """What a disk, a folder or memory refused, with its path where the error names one."""
    path = getattr(error, "filename", None)
    return str(error) if isinstance(error, MachineError) else f"{f'{path}: ' if path else ''}{reason_of(error)}"


def hold_streams() -> None:
    """Give closed standard streams a place: a file that is opened later must not become one of them."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest that is free, which is this one
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 - until the process ends
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115


def tell(line: str) -> None:
    """Write a line to standard error; where that cannot be written, the exit status has to do."""
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)


def main(words: Sequence[str] | None = None) -> int:
    """Run one stage; the exit status is 0 when its output is complete, 2 for bad usage or input, 1 otherwise."""
    words = list(sys.argv[1:] if words is None else words)
    hold_streams()
    try:
        Path.cwd()
    except OSError:
        tell("calibrant: the working folder is no longer there; change to one that is")
        return 2
    if words and words[0] in STEPS:  # what the workflow alone runs, in the warm server too
        return _ended(words[0], lambda: step(words), aside=True)
    parser = _Parser(prog="calibrant", description="On which text should I calibrate?", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"calibrant {__version__}")
    stages = parser.add_subparsers(dest="stage", metavar="STAGE", required=True, parser_class=_Parser)
    asked = next((a for a in words if not a.startswith("-")), None)
    stage: Stage | None = None
    subparsers: dict[str, argparse.ArgumentParser] = {}
    for name, text in COMMANDS.items():
        # argparse formats help texts with %, but not descriptions.
        sub = stages.add_parser(name, help=text.replace("%", "%%"), description=text, allow_abbrev=False)
        subparsers[name] = sub
        if name == asked:
            stage = stage_of(name)
            add_flags(sub, stage)
            sub.add_argument("--debug", action="store_true", help="show the traceback of an error")
    try:
        options, unknown = parser.parse_known_args(words)
    except SystemExit as stop:  # argparse's own exits: --help, --version, bad usage
        return int(stop.code or 0)
    if unknown:  # said by the stage's name: argparse would name the whole program
        name = f"calibrant {options.stage}"
        flags = [flag for action in subparsers[options.stage]._actions for flag in action.option_strings]
        near = difflib.get_close_matches(unknown[0].partition("=")[0], flags, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        found = one_line(f"{name}: unrecognized arguments: {' '.join(unknown)}{hint}")
        tell(f"{found} (see {name} --help)")
        return 2
    assert stage is not None
    chosen = stage
    return _ended(
        options.stage,
        lambda: chosen.said(chosen.run(**arguments(chosen, options))),
        aside=chosen.aside,
        debug=options.debug,
    )


def _ended(name: str, run: Callable[[], str | Iterable[str]], *, aside: bool, debug: bool = False) -> int:
    """Run what a command does and print what it says; the exit status, and one line where it failed."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    keep_freed_memory()
    try:
        said = run()
        for text in [said] if isinstance(said, str) else said:
            for line in text.split("\n"):
                print(printable(line), file=sys.stderr if aside else sys.stdout)
        sys.stdout.flush()
    except InputError as error:
        if debug:
            raise
        tell(one_line(f"calibrant {name}: {error}"))
        return 2
    except BrokenPipeError:  # as in `calibrant plan | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more when it ends
        tell(f"calibrant {name}: stopped, nobody reads its output any more")
        return 1
    except (MachineError, MemoryError, OSError) as error:
        if debug:
            raise
        tell(one_line(f"calibrant {name}: {said_by_the_machine(error)}"))
        return 1
    except KeyboardInterrupt:
        tell(f"calibrant {name}: interrupted; the same command resumes")
        return 1
    return 0
