"""Make the files of a kept study anew from its results.csv: `python reports/kept/again.py five-seeds`.

What is read from the calibration text (its scores, documents, masks) is not kept, so files of these are left as they
are, and the summary names only what results hold.
"""

import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from calibrant.artefacts.atomic import write_text
from calibrant.reporting.figures.figure_files import write_figures
from calibrant.reporting.pages.inputs import Inputs
from calibrant.reporting.pages.render import markdown
from calibrant.reporting.pages.report import Report
from calibrant.reporting.pages.study_page import study_report
from calibrant.reporting.results.index import Index, Study, Task
from calibrant.reporting.results.result_frame import COLUMNS
from calibrant.reporting.results.samples import SCORES
from calibrant.reporting.tables.table_files import write_tables
from calibrant.scoring.corpus_similarity import SIMILARITY
from calibrant.scoring.item_contamination import CONTAMINATION

KEPT = Path(__file__).parent
KINDS = (".md", ".csv", ".svg")
FROM_TEXT = ("perplexity", "min_k", "layers", "overlap", "documents", "data", "contamination", "similarity")


def kept_inputs(folder: Path) -> Inputs:
    """The inputs of a kept study's page: its results, without what is not kept."""
    frame = pl.read_csv(folder / "results.csv", schema=COLUMNS, missing_columns="insert")
    config: dict[str, Any] = {}
    if (folder / "config.yaml").exists():
        config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    built = [name for name in frame["task"].unique(maintain_order=True) if name.startswith("next_sentence")]
    study = Study(
        config.get("study", folder.name),
        str(frame["model"][0]),
        title=config.get("title", ""),
        tasks=tuple(Task(name, None, "acc_norm") for name in built),
        trained_on=tuple(config.get("trained_on", ())),
    )
    empty = [pl.DataFrame(form.schema.empty_table()) for form in (SIMILARITY, CONTAMINATION)]
    return Inputs(Index(study, ()), frame, pl.DataFrame(schema=SCORES), *empty, {})  # type: ignore[arg-type]


def kept_report(folder: Path) -> Report:
    """The report of a kept study, as far as its results go."""
    report = study_report(kept_inputs(folder), real_text=False, rows=0)
    tables = {name: tables for name, tables in report.tables.items() if name not in FROM_TEXT}
    figures = [figure for figure in report.figures if figure.name not in FROM_TEXT and figure.figure]
    sections = [s for s in report.page.sections if s.anchor not in ("data", "settings", "provenance", "browser")]
    return Report(tables, figures, replace(report.page, sections=sections))


def main(names: list[str]) -> None:
    """Write the files of each study: of tables and figures the kinds that are kept."""
    for name in names:
        folder = KEPT / name
        report = kept_report(folder)
        with tempfile.TemporaryDirectory() as made:
            for table, tables in report.tables.items():
                if tables:
                    write_tables(Path(made) / "tables", table, tables)
            (Path(made) / "figures").mkdir()
            plots = write_figures(Path(made) / "figures", report.figures)
            for kind in ("tables", "figures"):
                for file in (Path(made) / kind).glob("*") if (folder / kind).exists() else ():
                    if file.suffix in KINDS:
                        shutil.copyfile(file, folder / kind / file.name)
        write_text(folder / "summary.md", markdown(report.page, plots))


if __name__ == "__main__":
    main(sys.argv[1:])
