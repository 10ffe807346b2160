"""A report: an index in; tables, figures, a summary and a page out. One sequence for all kinds of page."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from calibrant.artefacts.atomic import write_json, write_text
from calibrant.artefacts.digest import sha256_file
from calibrant.artefacts.provenance import read_provenance
from calibrant.errors import InputError
from calibrant.reporting.figures import style
from calibrant.reporting.figures.figure_files import Drawing, write_figures
from calibrant.reporting.inference.limits import shared_note
from calibrant.reporting.pages.inputs import Inputs, read_inputs
from calibrant.reporting.pages.render import html, markdown
from calibrant.reporting.pages.sections import Page
from calibrant.reporting.results.index import Index
from calibrant.reporting.results.result_frame import write_results
from calibrant.reporting.tables.table import Table
from calibrant.reporting.tables.table_files import write_tables
from calibrant.version import __version__


@dataclass(frozen=True)
class Report:
    """What is made of a study's inputs: tables and figures by the names of their files, and the page."""

    tables: Mapping[str, Sequence[Table]]
    figures: Sequence[Drawing]
    page: Page


def write_report(index: Index, output: Path, make: Callable[[Inputs], Report]) -> Page:
    """Write everything that a report consists of below `output`, and return its page.

    results.parquet, results.csv; tables/NAME.{md,csv,tex}; figures/NAME.{svg,png,csv,parquet} (a plain panel that says
    so where there is nothing to draw); summary.md, index.html, provenance.json. The same inputs give the same bytes.

    Args:
        index: what was run (`index.read_index`).
        output: the folder; files of the same names are replaced.
        make: the kind of report.

    Raises:
        InputError: a file that the index names is missing or malformed, or the output is a file.
    """
    if output.exists() and not output.is_dir():
        raise InputError(f"output {output} is a file; give the name of a folder")
    inputs = read_inputs(index)
    report = make(inputs)
    for folder in ("tables", "figures"):
        (output / folder).mkdir(parents=True, exist_ok=True)
    write_results(output, inputs.frame, inputs.index)
    for name, tables in report.tables.items():
        write_tables(output / "tables", name, tables)
    plots = write_figures(output / "figures", noted(report.figures, inputs))
    write_text(output / "summary.md", markdown(report.page, plots))
    write_json(output / "provenance.json", provenance(inputs))
    # Last, so that a page is never beside older tables.
    write_text(output / "index.html", html(report.page, plots, style.colours(inputs.data.sources)))
    return report.page


def noted(figures: Sequence[Drawing], inputs: Inputs) -> list[Drawing]:
    """The figures; those that show spreads say by how much overlapping sets understate them."""
    note = shared_note(inputs.data)
    return [
        replace(figure, caption=f"{figure.caption} {note}") if note and "sd" in figure.data.columns else figure
        for figure in figures
    ]


def provenance(inputs: Inputs) -> dict[str, Any]:
    """The hash of every evaluation and calibration set, the evaluations' own records, and what the study read."""
    runs = {}
    for run in inputs.index.runs:
        entry: dict[str, Any] = {"evaluation_sha256": sha256_file(run.evaluation)}
        if run.calibration is not None:
            entry["calibration_sha256"] = sha256_file(run.calibration)
        if record := read_provenance(run.evaluation):
            entry["evaluation"] = record
        runs[run.label] = entry
    read: dict[str, dict[str, Any]] = {}
    for (kind, name), content in inputs.sidecars.items():
        read.setdefault(kind, {})[name] = content
    origin = {"stage": "summarize", "study": inputs.study.name, "library_version": __version__}
    return {**origin, "inputs": read, "runs": runs}
