"""Parse `calibrant STAGE ...`, run the stage, and turn errors into one line and an exit status."""

import argparse
import importlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from calibrant.errors import InputError
from calibrant.models.compute.freed_memory import keep_freed_memory
from calibrant.version import __version__

# Stage -> what it does, kept here so that `calibrant --help` imports no stage.
STAGES = {
    "download": "fetch documents, models and task rows, with their provenance",
    "sample": "draw a calibration set from documents",
    "generate": "let a model continue prefixes of documents",
    "score": "perplexity and Min-K%++ of samples under a model",
    "filter": "drop the samples of highest perplexity, or draw some of the rest",
    "statistics": "collect statistics of the dense model, for several runs of prune to share",
    "prune": "choose the weights to keep",
    "apply": "write a pruned checkpoint in Hugging Face format",
    "evaluate": "tasks and perplexity of a model, pruned or not",
    "similarity": "Jaccard similarity between corpora",
    "contamination": "find evaluation items in calibration text",
    "overlap": "count the positions that masks have in common, each two of them",
    "inspect": "print what a mask, a calibration set or a checkpoint holds",
    "export": "write a calibration set as JSONL and as a Hugging Face dataset",
    "summarize": "tables, figures and a report from evaluations",
    "plan": "count a study's jobs before anything runs",
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, status 2 (argparse prints the usage too)."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def stage_module(stage: str) -> str:
    """Name of the module that implements a stage."""
    return f"calibrant.cli.{stage}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one stage; the exit status is 0 when its output is complete, 2 for bad usage or input, 1 otherwise."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    parser = _Parser(prog="calibrant", description="On which text should I calibrate?", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"calibrant {__version__}")
    stages = parser.add_subparsers(dest="stage", metavar="STAGE", required=True, parser_class=_Parser)
    asked = next((a for a in arguments if not a.startswith("-")), None)
    module = None
    for name, text in STAGES.items():
        if importlib.util.find_spec(stage_module(name)) is None:
            continue
        # argparse formats help texts with %, but not descriptions.
        sub = stages.add_parser(name, help=text.replace("%", "%%"), description=text, allow_abbrev=False)
        if name == asked:
            module = importlib.import_module(stage_module(name))
            module.add_arguments(sub)
            sub.add_argument("--debug", action="store_true", help="show the traceback of an error")
    try:
        options, unknown = parser.parse_known_args(arguments)
    except SystemExit as stop:  # argparse's own exits: --help, --version, bad usage
        return int(stop.code or 0)
    if unknown:  # said by the stage's name: argparse would name the whole program
        stage = f"calibrant {options.stage}"
        print(f"{stage}: unrecognized arguments: {' '.join(unknown)} (see {stage} --help)", file=sys.stderr)
        return 2
    assert module is not None
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    keep_freed_memory()
    try:
        module.run(options)
        sys.stdout.flush()
    except InputError as error:
        if options.debug:
            raise
        print(f"calibrant {options.stage}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # as in `calibrant plan | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more when it ends
        print(f"calibrant {options.stage}: stopped, nobody reads its output any more", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"calibrant {options.stage}: interrupted; the same command resumes", file=sys.stderr)
        return 1
    return 0
