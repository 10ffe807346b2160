"""Stage summarize: tables, figures and a report from a study's evaluations."""

import contextlib
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from calibrant.errors import InputError
from calibrant.settings.stage_settings import SummarizeSettings
from calibrant.stages.stage import Input, Output, Stage, admit

if TYPE_CHECKING:
    from calibrant.reporting.results.index import TableFile

PARTS = ("provenance.json", "tables", "figures", "results.parquet", "results.csv", "summary.md", "index.html")
FILES = (
    Input(
        "results",
        "the study's index: its runs and where their evaluations lie (docs/reporting.md)",
        kind="results",
        metavar="INDEX.json",
    ),
    Output(
        "output",
        "folder of the report",
        metavar="DIR",
        command="summarize",
        form="report",
        parts=PARTS,
    ),
    Input("root", "where the paths in the index begin (here)", required=False, metavar="DIR"),
)


def summarize(
    results: str | Path,
    output: str | Path,
    settings: SummarizeSettings = SummarizeSettings(),  # noqa: B008 - frozen
    *,
    root: str | Path | None = None,
) -> str:
    """Write tables, figures and a page from a study's index; returns what it says in a few lines.

    Raises:
        InputError: an index or a file that it names cannot be read.
    """
    scores = [score_argument(value) for value in settings.scores]
    admit(FILES, settings, SummarizeSettings, results=results, root=root, output=output)
    from calibrant.artefacts.report_folder import report_folder
    from calibrant.reporting.pages.summarize import summarize as write_report
    from calibrant.reporting.results.index import read_index

    index = read_index(Path(results))
    index = dataclasses.replace(index, scores=(*index.scores, *scores))
    folder = Path(output).absolute()
    place = Path("." if root is None else root)
    if not place.is_dir():
        raise InputError(f"--root {place}: no such folder")
    with contextlib.chdir(place), report_folder(folder, PARTS) as written:
        page = write_report(index, written, real_text=not settings.no_real_text, rows=settings.rows)
    lines = [f"{said.text} {said.hedge}".strip() for said in page.found]
    return "\n".join([*lines, f"report: {Path(output) / 'index.html'}"])


def score_argument(value: str) -> "TableFile":
    """Read `web:synthetic=scores.parquet`.

    Raises:
        InputError: it has not that form.
    """
    from calibrant.reporting.results.index import TableFile

    key, equals, path = value.partition("=")
    source, colon, origin = key.partition(":")
    if not (equals and colon and source and path) or origin not in ("real", "synthetic"):
        raise InputError(f"--scores {value}: must be SOURCE:ORIGIN=FILE with ORIGIN real or synthetic")
    return TableFile(source, origin, path)


STAGE = Stage(summarize, FILES, SummarizeSettings, said=lambda text: str(text))
