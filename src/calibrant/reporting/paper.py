"""The page of all targets: the paper's conclusions judged by all their runs, then every table and figure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from calibrant.artefacts.atomic import write_json, write_text
from calibrant.errors import InputError
from calibrant.reporting import findings, main_setting, page, result_tables, style
from calibrant.reporting.claims import claims_table, gather, judge, verdicts
from calibrant.reporting.comparison import Comparison
from calibrant.reporting.data_table import data_table, documents_table
from calibrant.reporting.figures import write_figures
from calibrant.reporting.index import Index, Study, read_index
from calibrant.reporting.index import Target as Named
from calibrant.reporting.records import Record, brief
from calibrant.reporting.results import collect, write_results
from calibrant.reporting.samples import check_scores, read_pools, read_scores
from calibrant.reporting.summarize import browser, provenance, read_record
from calibrant.reporting.table import Table, write_tables
from calibrant.reporting.target import chosen_layout, facts, layout_inputs, read_similarity

QUESTION = (
    "The paper asks whether the text that a model is calibrated on decides how good it is after pruning, and whether "
    "text that the model writes itself serves best. This page judges each of its conclusions by the runs of one model "
    "and shows every table and figure of the paper for that model."
)
T = TypeVar("T")


@dataclass(frozen=True)
class Part:
    """One table or figure of the paper on the page."""

    name: str
    title: str
    link: str  # to its own page, relative to this one
    tables: list[Table]
    figures: list[page.Plot]


@dataclass(frozen=True)
class PaperPage:
    """All that the templates show."""

    study: Study
    title: str
    question: str
    verdicts: str
    facts: list[tuple[str, str]]
    claims: list[Table]
    parts: list[Part]
    items: list[Table]
    documents: Table | None
    data: Table
    browser: list[page.Group]
    without_real: bool
    limitations: list[str]
    records: list[Record]
    runs: int


def summarize_paper(index: Index, output: Path, *, real_text: bool = True, rows: int = 3) -> PaperPage:
    """Write the page of all targets below `output`, and return what it shows.

    results.parquet, results.csv (all runs of all targets), tables/NAME.{md,csv,tex} of `claims`, `items`, `documents`,
    `data` and of each target, figures/NAME.{svg,png,csv,parquet}, summary.md, index.html, provenance.json. The same
    inputs give the same bytes.

    Args:
        index: names the targets and has the runs of all of them.
        output: the folder; files of the same names are replaced.
        real_text: whether the page's browser shows rows of real text.
        rows: rows that the browser shows of each text.

    Raises:
        InputError: a file that an index names is missing or malformed; an index of a target has no known layout; a
            target has runs that the index lacks; or the output is a file.
    """
    if output.exists() and not output.is_dir():
        raise InputError(f"output {output} is a file; give the name of a folder")
    parts = {named: read_index(named.index) for named in index.targets}
    index = gathered(index, parts)
    check_scores(index)
    frame, scores = collect(index.runs), read_scores(index.scores)
    study = main_setting.note(frame, index.study)
    contents = {(p.kind, p.name): read_record(p.path) for p in index.provenance}
    documents = {name: content for (kind, name), content in contents.items() if kind == "source"}
    labels = dict(study.sources)

    evidence = gather(frame, study, scores=scores, similarity=read_similarity(index.similarity))
    judgements = [] if evidence is None else judge(evidence, study.model_id)
    claims = [] if evidence is None else claims_table(judgements, evidence.outcome)
    data = Comparison(main_setting.at_main(frame), study)
    items = result_tables.items(data) if data.measures else []
    seeds = findings.seeds_for_next_time(data)
    origins, text = documents_table(labels, documents), data_table(labels, read_pools(index.samples), scores)
    for folder in ("tables", "figures"):
        (output / folder).mkdir(parents=True, exist_ok=True)
    write_results(output, frame, index)
    for name, tables in (("claims", claims), ("items", items), ("documents", [origins]), ("data", [text])):
        write_tables(output / "tables", name, tables)
    shown = PaperPage(
        study=study,
        title=study.title or f"The paper's conclusions on {study.model_id}",
        question=study.question or QUESTION,
        verdicts=verdicts(judgements) if judgements else "No run of these targets tests a conclusion of the paper.",
        facts=facts(index, frame),
        claims=claims,
        parts=[_part(named, part, output) for named, part in parts.items()],
        items=items,
        documents=origins if documents else None,
        data=text,
        browser=browser(index.samples, labels, scores, real_text=real_text, rows=rows),
        without_real=not real_text,
        limitations=[
            *findings.limitations(data),
            *([f"{seeds.text} {seeds.hedge}".strip()] if seeds else []),
            *study.limitations,
        ],
        records=[brief(kind, name, content) for (kind, name), content in contents.items()],
        runs=len(index.runs),
    )
    write_text(output / "summary.md", page.render("paper.md.j2", vars(shown)))
    write_json(output / "provenance.json", provenance(index, contents))
    # Last, so that a page is never beside older tables.
    colours = style.colours(list(labels))
    write_text(output / "index.html", page.render("paper.html.j2", vars(shown), colours=colours))
    return shown


def gathered(index: Index, parts: dict[Named, Index]) -> Index:
    """The index with the scores, samples, similarities and sidecars of its targets, each once.

    Raises:
        InputError: a target has a run that the index has not.
    """
    known = {run.key for run in index.runs}
    for named, part in parts.items():
        missing = [run for run in part.runs if run.key not in known]
        if missing:
            raise InputError(f"{named.index}: has {missing[0].label}, which the index of all targets lacks")

    def every(own: Sequence[T], of: Callable[[Index], Sequence[T]]) -> tuple[T, ...]:
        return tuple(dict.fromkeys([*own, *(entry for part in parts.values() for entry in of(part))]))

    return replace(
        index,
        scores=every(index.scores, lambda part: part.scores),
        samples=every(index.samples, lambda part: part.samples),
        similarity=every(index.similarity, lambda part: part.similarity),
        provenance=every(index.provenance, lambda part: part.provenance),
    )


def _part(named: Named, index: Index, output: Path) -> Part:
    products = chosen_layout(index).build(layout_inputs(index, collect(index.runs)))
    for name, tables in products.tables.items():
        write_tables(output / "tables", name, tables)
    plots = write_figures(output / "figures", products.figures)
    tables = [table for each in products.tables.values() for table in each]
    return Part(named.name, index.study.title or named.name, named.page, tables, list(plots.values()))
