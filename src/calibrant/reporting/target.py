"""The report of one table or figure of the paper: what its layout makes, as files and as a page."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from calibrant.artefacts.atomic import write_json, write_text
from calibrant.artefacts.parquet import read_table
from calibrant.errors import InputError
from calibrant.reporting import page, style
from calibrant.reporting.figures import write_figures
from calibrant.reporting.index import Index, Study
from calibrant.reporting.layouts import LAYOUTS, Inputs, Layout, named_layout
from calibrant.reporting.published import published_for
from calibrant.reporting.records import Record, brief
from calibrant.reporting.results import collect, write_results
from calibrant.reporting.samples import check_scores, read_contamination, read_scores
from calibrant.reporting.summarize import provenance, read_record
from calibrant.reporting.table import Table, write_tables
from calibrant.scoring.corpus_similarity import SIMILARITY


@dataclass(frozen=True)
class TargetPage:
    """All that the templates show."""

    study: Study
    title: str
    facts: list[tuple[str, str]]
    tables: list[Table]
    figures: dict[str, page.Plot]
    records: list[Record]
    runs: int


def summarize_target(index: Index, output: Path) -> TargetPage:
    """Write everything that the index's layout makes below `output`, and return what the page shows.

    results.parquet, results.csv, tables/NAME.{md,csv,tex}, figures/NAME.{svg,png,csv,parquet}, summary.md, index.html,
    provenance.json. The same inputs give the same bytes.

    Raises:
        InputError: the layout is unknown or does not take a parameter; a file that the index names is missing or
            malformed; or the output is a file.
    """
    layout = chosen_layout(index)
    if output.exists() and not output.is_dir():
        raise InputError(f"output {output} is a file; give the name of a folder")
    frame = collect(index.runs)
    check_scores(index)
    contents = {(p.kind, p.name): read_record(p.path) for p in index.provenance}
    products = layout.build(layout_inputs(index, frame))
    for folder in ("tables", "figures"):
        (output / folder).mkdir(parents=True, exist_ok=True)
    write_results(output, frame, index)
    for name, tables in products.tables.items():
        write_tables(output / "tables", name, tables)
    plots = write_figures(output / "figures", products.figures)
    shown = TargetPage(
        study=index.study,
        title=index.study.title or str(index.layout and index.layout.name),
        facts=facts(index, frame),
        tables=[table for tables in products.tables.values() for table in tables],
        figures=plots,
        records=[brief(kind, name, content) for (kind, name), content in contents.items()],
        runs=len(index.runs),
    )
    write_text(output / "summary.md", page.render("target.md.j2", vars(shown)))
    write_json(output / "provenance.json", provenance(index, contents))
    colours = style.colours([name for name, _ in index.study.sources])
    # Last, so that a page is never beside older tables.
    write_text(output / "index.html", page.render("target.html.j2", vars(shown), colours=colours))
    return shown


def layout_inputs(index: Index, frame: pl.DataFrame) -> Inputs:
    """All that the index's layout draws from.

    Raises:
        InputError: a file that the index names is missing or malformed.
    """
    return Inputs(
        frame=frame,
        study=index.study,
        scores=read_scores(index.scores),
        similarity=read_similarity(index.similarity),
        contamination=read_contamination(index.contamination),
        parameters=index.layout.parameters if index.layout else {},
        published=published_for(index.study.model_id),
    )


def chosen_layout(index: Index) -> Layout:
    """The layout that an index names.

    Raises:
        InputError: there is none of that name, or it does not take one of the parameters.
    """
    choice = index.layout
    if choice is None:
        raise InputError(f"layout: the index has none; there are {', '.join(LAYOUTS)}")
    return named_layout(choice.name, choice.parameters)


def read_similarity(files: tuple[str, ...]) -> pl.DataFrame:
    """All tables of `calibrant similarity` in one frame, in the order of the files.

    Raises:
        InputError: a file is missing, truncated, or has not the columns of `calibrant similarity`.
    """
    empty = pl.DataFrame(SIMILARITY.schema.empty_table())
    assert isinstance(empty, pl.DataFrame)
    frames = [pl.DataFrame(read_table(file, form=SIMILARITY)[0]).select(SIMILARITY.names) for file in files]
    return pl.concat([empty, *frames])


def facts(index: Index, frame: pl.DataFrame) -> list[tuple[str, str]]:
    """The strip below the headline."""
    study = index.study
    seeds = frame["seed"].drop_nulls().n_unique()
    found = [
        ("Model", study.model_id),
        ("Sources", ", ".join(label for _, label in study.sources)),
        ("Seeds", str(seeds) if seeds else ""),
        ("Variant", dict(study.settings).get("Variant", "")),
        ("Evaluations", str(len(index.runs)) if index.runs else ""),
    ]
    return [(name, value) for name, value in found if value]
