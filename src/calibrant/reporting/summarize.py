"""The summarize stage: an index in, tables, figures, a summary and a page out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from calibrant.artefacts.atomic import read_json, write_json, write_text
from calibrant.artefacts.digest import sha256_file
from calibrant.artefacts.provenance import read_provenance
from calibrant.errors import InputError
from calibrant.reporting import findings, main_setting, page, result_tables, style
from calibrant.reporting.claims import study_claims
from calibrant.reporting.comparison import Comparison, method_label, sparsity_label
from calibrant.reporting.data_table import data_table, documents_table
from calibrant.reporting.difference_figure import difference_data, difference_figure
from calibrant.reporting.distribution_figure import distribution_figure
from calibrant.reporting.figures import Drawing, write_figures
from calibrant.reporting.formats import mixture
from calibrant.reporting.index import Index, Inspections, Study, TableFile
from calibrant.reporting.inspections import read_layers, read_overlaps
from calibrant.reporting.layer_figure import layer_drawing
from calibrant.reporting.layouts import amount, prefix
from calibrant.reporting.layouts.filter_rates import filter_table
from calibrant.reporting.layouts.found_items import contamination_table
from calibrant.reporting.layouts.slices import slices
from calibrant.reporting.overlap_figure import overlap_drawing
from calibrant.reporting.performance_figure import performance_data, performance_figure
from calibrant.reporting.records import brief
from calibrant.reporting.results import collect, write_results
from calibrant.reporting.samples import check_scores, excerpts, read_contamination, read_pools, read_scores
from calibrant.reporting.table import Table, write_tables
from calibrant.version import __version__

FIGURES = ("performance", "differences", "perplexity", "min_k", "amount", "prefix", "layers", "overlap")
TABLES = (
    "claims",
    "performance",
    "filtering",
    "differences",
    "differences_by_task",
    "documents",
    "data",
    "contamination",
    "items",
)


def summarize(index: Index, output: Path, *, real_text: bool = True, rows: int = 3) -> page.Page:
    """Write everything that the report consists of below `output`, and return what the page shows.

    results.parquet, results.csv; tables/NAME.{md,csv,tex} for each of `TABLES`; figures/NAME.{svg,png,csv,parquet}
    for each of `FIGURES` (a plain panel that says so where there is nothing to draw); summary.md, index.html,
    provenance.json. The same inputs give the same bytes.

    Args:
        index: what was run (`index.read_index`).
        output: the folder; files of the same names are replaced.
        real_text: whether the page's browser shows rows of real text.
        rows: rows that the browser shows of each text.

    Raises:
        InputError: a file that the index names is missing or malformed, or the output is below a file.
    """
    if rows < 0:
        raise InputError(f"rows of text to show: {rows}; must be 0 or more")
    if output.exists() and not output.is_dir():
        raise InputError(f"output {output} is a file; give the name of a folder")
    frame = collect(index.runs)
    study = main_setting.note(frame, index.study)
    data = Comparison(main_setting.at_main(frame), study)
    check_scores(index)
    scores = read_scores(index.scores)
    labels = {source: data.source_label(source) for source in data.sources}
    contents = {(p.kind, p.name): read_record(p.path) for p in index.provenance}
    documents = {name: content for (kind, name), content in contents.items() if kind == "source"}
    primary = list(data.outcomes)
    others = [m for m in data.measures if m not in primary]
    claims = study_claims(frame, index.study, scores)
    performance = result_tables.performance(data)
    differences = result_tables.differences(data, primary)
    by_task = result_tables.differences(data, others)
    items = result_tables.items(data)
    origins = documents_table(labels, documents)
    text = data_table(labels, read_pools(index.samples), scores)

    write_results(output, frame, index)
    rates = filter_rates(frame, study)
    found = contamination_table(read_contamination(index.contamination), labels)
    listed = (claims, performance, rates, differences, by_task, [origins], [text], found, items)
    for name, tables in zip(TABLES, listed, strict=True):
        write_tables(output / "tables", name, tables)
    drawn = [*drawings(data, scores, labels), *settings_drawings(frame, study), *inside(index.inspections, labels)]
    plots = write_figures(output / "figures", drawn)
    shown = page.Page(
        study=study,
        title=index.study.title or f"On which text should {index.study.model_id} be calibrated?",
        question=index.study.question or page.QUESTION,
        facts=page.facts(data, index.study, len(index.runs)),
        findings=findings.findings(data, scores),
        limitations=[*mixture(index.runs), *findings.limitations(data), *index.study.limitations],
        figures=plots,
        claims=claims,
        performance=performance,
        rates=rates,
        differences=differences,
        differences_by_task=by_task,
        items=items[0],
        documents=origins if documents else None,
        data=text,
        contamination=found,
        browser=browser(index.samples, labels, scores, real_text=real_text, rows=rows),
        without_real=not real_text,
        records=[brief(kind, name, content) for (kind, name), content in contents.items()],
        machine=index.study.machine,
        runs=len(index.runs),
    )
    write_text(output / "summary.md", page.markdown(shown))
    write_json(output / "provenance.json", provenance(index, contents))
    # Last, so that a page is never beside older tables.
    write_text(output / "index.html", page.html(shown, style.colours(data.sources)))
    return shown


def read_record(path: str) -> dict[str, Any]:
    """A provenance sidecar.

    Raises:
        InputError: it is missing, or not an object.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds {type(content).__name__}; a provenance sidecar is an object")
    return content


def drawings(data: Comparison, scores: pl.DataFrame, labels: Mapping[str, str]) -> list[Drawing]:
    """The figures of a study, with captions that say what to see."""
    outcomes = " and ".join(m.name for m in data.outcomes)
    scored = scores.filter(pl.col("source").is_in(list(labels)))
    calibrated = bool(data.sources) and bool(data.outcomes)
    difference = difference_figure(data)
    return [
        Drawing(
            "performance",
            (lambda: performance_figure(data)) if calibrated else None,
            performance_data(data),
            "Performance by source and origin of the calibration text",
            "Hollow circles: calibrated on real text. Filled diamonds: on text that the model wrote itself. Bars are "
            "one standard deviation over seeds, small ticks the single seeds. Dense model and magnitude pruning, which "
            "use no calibration text, are lines, or arrows where they lie outside the panel.",
            f"Dot plot of {outcomes} for each source, real and self-generated, one column of panels per sparsity. "
            "The table of performance holds the same numbers.",
        ),
        Drawing(
            "differences",
            None if difference is None else (lambda: difference),
            difference_data(data),
            "Self-generated minus real, paired by seed",
            "Diamonds are means, lines 95 % t intervals, small circles single seeds; an arrowhead marks an interval "
            "that leaves the panel. An interval that crosses zero does not settle which text is better.",
            f"Differences in {outcomes} between self-generated and real text for each source. "
            "The tables of differences hold the same numbers.",
        ),
        _distribution(
            "perplexity",
            "perplexity",
            scored,
            labels,
            "How predictable the text is to the unpruned model",
            "Farther left is more predictable.",
        ),
        _distribution(
            "min_k",
            "min_k_plus_plus",
            scored,
            labels,
            "Min-K%++: how near the text is to what the model expects, by its least likely tokens",
            "Farther right is nearer; the method takes high values as a sign of training data.",
        ),
    ]


def settings_drawings(frame: pl.DataFrame, study: Study) -> list[Drawing]:
    """The figures of the number of samples and of the prefix length, for a study that varies them."""
    names = main_setting.varied(frame)
    amounts = slices(main_setting.at_main(frame, ["samples"]), study, "samples") if "samples" in names else {}
    lengths = slices(main_setting.at_main(frame, ["prefix_length"]), study, "prefix_length")
    return [
        amount.amount_drawing("amount", amounts),
        prefix.prefix_drawing("prefix", lengths if "prefix_length" in names else {}),
    ]


def filter_rates(frame: pl.DataFrame, study: Study) -> list[Table]:
    """The table of filter rates, for a study that varies them."""
    varied = "drop" in main_setting.varied(frame)
    return filter_table(main_setting.at_main(frame, ["drop"]), study) if varied else []


def inside(inspections: Inspections | None, labels: Mapping[str, str]) -> list[Drawing]:
    """The figures of what pruning did inside the model, for the masks that the study looked into."""
    what = f"{method_label(inspections.method)} at {sparsity_label(inspections.sparsity)}" if inspections else ""
    return [
        layer_drawing(read_layers(inspections), labels, what),
        overlap_drawing(read_overlaps(inspections), labels, what),
    ]


def _distribution(
    name: str, column: str, scores: pl.DataFrame, labels: Mapping[str, str], title: str, see: str
) -> Drawing:
    """The drawing of one score's distribution."""
    return Drawing(
        name,
        (lambda: distribution_figure(scores, column, labels)) if len(scores) else None,
        scores.select("source", "origin", "seed", "sample_id", column),
        title,
        "A panel per source: real text (dashed) and text that the model wrote (solid, filled); ticks are single "
        f"samples, dotted lines medians. {see}",
        f"Densities of {column} of real and self-generated samples for each source. The table of the calibration text "
        "holds the medians.",
    )


def browser(
    samples: Sequence[TableFile], labels: Mapping[str, str], scores: pl.DataFrame, *, real_text: bool, rows: int
) -> list[page.Group]:
    """A few rows of each text, generated ones first; sources without any are left out."""
    groups = []
    for source, label in labels.items():
        sides = []
        for origin, title in (("synthetic", "Written by the model"), ("real", "Real")):
            if origin == "real" and not real_text:
                continue
            found = excerpts(samples, scores, source, origin, rows)
            if found:
                sides.append(page.Side(title, found))
        if sides:
            count = sum(len(side.rows) for side in sides)
            groups.append(page.Group(label, f"{count} rows", sides))
    return groups


def provenance(index: Index, contents: Mapping[tuple[str, str], Any]) -> dict[str, Any]:
    """The hash of every evaluation and calibration set, the evaluations' own records, and what the study read."""
    runs = {}
    for run in index.runs:
        entry: dict[str, Any] = {"evaluation_sha256": sha256_file(run.evaluation)}
        if run.calibration is not None:
            entry["calibration_sha256"] = sha256_file(run.calibration)
        if record := read_provenance(run.evaluation):
            entry["evaluation"] = record
        runs[run.label] = entry
    inputs: dict[str, dict[str, Any]] = {}
    for (kind, name), content in contents.items():
        inputs.setdefault(kind, {})[name] = content
    origin = {"stage": "summarize", "study": index.study.name, "library_version": __version__}
    return {**origin, "inputs": inputs, "runs": runs}
