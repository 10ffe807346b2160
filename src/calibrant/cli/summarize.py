"""calibrant summarize: tables, figures and a report from a study's evaluations."""

import argparse
import contextlib
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from calibrant.cli.common import existing_file
from calibrant.errors import InputError

if TYPE_CHECKING:
    from calibrant.reporting.index import TableFile


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the stage."""
    parser.add_argument(
        "--results",
        required=True,
        metavar="INDEX.json",
        help="the study's index: its runs and where their evaluations lie (docs/reporting.md)",
    )
    parser.add_argument(
        "--scores",
        action="append",
        default=[],
        metavar="SOURCE:ORIGIN=SCORES.parquet",
        help="scores of a source's real or synthetic text, besides those of the index; may be repeated",
    )
    parser.add_argument("--output", required=True, metavar="DIR", help="folder of the report")
    parser.add_argument("--root", default=".", metavar="DIR", help="where the paths in the index begin (here)")
    parser.add_argument("--no-real-text", action="store_true", help="show no rows of real text, only generated ones")
    parser.add_argument("--rows", type=int, default=3, help="rows of each text that the page shows (default 3)")


def run(options: argparse.Namespace) -> None:
    """Read the index and write the report."""
    scores = [score_argument(value) for value in options.scores]
    from calibrant.reporting.index import read_index
    from calibrant.reporting.summarize import summarize

    index = read_index(existing_file(options.results, "results"))
    index = dataclasses.replace(index, scores=(*index.scores, *scores))
    output = Path(options.output).absolute()
    if not Path(options.root).is_dir():
        raise InputError(f"--root {options.root}: no such folder")
    with contextlib.chdir(options.root):
        if index.targets:
            from calibrant.reporting.paper import summarize_paper

            print(summarize_paper(index, output, real_text=not options.no_real_text, rows=options.rows).verdicts)
        elif index.layout is not None:
            from calibrant.reporting.target import summarize_target

            summarize_target(index, output)
        else:
            shown = summarize(index, output, real_text=not options.no_real_text, rows=options.rows)
            for finding in shown.findings[:1]:
                print(f"{finding.text} {finding.hedge}".strip())
    print(f"report: {Path(options.output) / 'index.html'}")


def score_argument(value: str) -> "TableFile":
    """Read `web:synthetic=scores.parquet`.

    Raises:
        InputError: it has not that form.
    """
    from calibrant.reporting.index import TableFile

    key, equals, path = value.partition("=")
    source, colon, origin = key.partition(":")
    if not (equals and colon and source and path) or origin not in ("real", "synthetic"):
        raise InputError(f"--scores {value}: must be SOURCE:ORIGIN=FILE with ORIGIN real or synthetic")
    return TableFile(source, origin, path)
