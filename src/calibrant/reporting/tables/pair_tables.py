"""Tables 2 and 5: each source real and self-generated, a section per method, with their paired difference Δ."""

import polars as pl

from calibrant.reporting.inference.best import held_apart
from calibrant.reporting.inference.cell_differences import difference
from calibrant.reporting.inference.statistics import Estimate
from calibrant.reporting.results.cells import method_label, sparsity_label
from calibrant.reporting.results.measures import Measure
from calibrant.reporting.results.study_results import StudyResults
from calibrant.reporting.tables import rows
from calibrant.reporting.tables.published_rows import published_change, published_row
from calibrant.reporting.tables.table import MARK, Column, Row, Section, Table, Value


def pairs_tables(data: StudyResults, published: pl.DataFrame | None = None) -> list[Table]:
    """One table per sparsity; a row per source for real text and one, `w/ Syn`, for the text that the model wrote.

    Args:
        data: real and self-generated text at one setting of samples, prefix length and filter rate.
        published: the paper's numbers for this model (`published_rows`).
    """
    return [_table(data, s, published) for s in data.sparsities if any(c == s for c, _ in data.combinations())]


def _table(data: StudyResults, sparsity: str, published: pl.DataFrame | None) -> Table:
    methods = [m for s, m in data.combinations() if s == sparsity]
    changed = data.headline
    differences = {
        (method, source, measure): difference(data, sparsity, method, source, measure)
        for measure in changed
        for method in methods
        for source in data.sources
    }
    apart = held_apart(differences, lambda key: key[2])
    sections = [Section(method_label(m), _rows(data, sparsity, m, differences, apart, published)) for m in methods]
    reference = rows.references(data, sparsity, data.measures, 2 * len(changed))
    columns = [
        Column("seeds", "Seeds", decimals=0),
        *rows.measure_columns(data.measures),
        *rows.delta_columns(changed),
    ]
    return Table(
        f"Real and self-generated calibration text at {sparsity_label(sparsity)} sparsity",
        rows.caption(
            rows.SPREAD,
            "w/ Syn: text that the model wrote from prefixes of the source above. Δ: w/ Syn minus real, paired by "
            f"seed, with its Student t interval; {MARK} behind Δ: p < 0.05 in a paired t test after Holm's correction "
            "over that column.",
            rows.notes(data),
            _count(differences, apart, changed),
        ),
        "Calibration data",
        columns,
        [*([Section("", reference)] if reference else []), *sections],
    )


Key = tuple[str, str, Measure]


def _rows(
    data: StudyResults,
    sparsity: str,
    method: str,
    differences: dict[Key, Estimate | None],
    apart: set[Key],
    published: pl.DataFrame | None,
) -> list[Row]:
    found: list[Row] = []
    changed = data.headline
    blanks = 2 * len(changed)
    for source in data.sources:
        for origin in data.origins:
            cell = data.at(method, sparsity, source, origin)
            if cell not in data.cells:
                continue
            deltas: list[Value] = [None] * blanks
            marked: frozenset[int] = frozenset()
            if origin == "synthetic":
                deltas = rows.delta_cells([differences[method, source, m] for m in changed])
                first = 1 + len(data.measures)
                marked = frozenset(first + 2 * i for i, m in enumerate(changed) if (method, source, m) in apart)
            label = data.source_label(source) if origin == "real" else "w/ Syn"
            if origin == "synthetic" and data.at(method, sparsity, source, "real") not in data.cells:
                label = f"{data.source_label(source)} w/ Syn"
            row = rows.cell_row(data, cell, label, data.measures, {}, deltas)
            found.append(Row(row.label, row.cells, row.role, row.seeds, marked))
            paper = rows.delta_cells([published_change(published, cell, m) for m in changed])
            found += published_row(published, cell, data.measures, paper)
    return found


def _count(differences: dict[Key, Estimate | None], apart: set[Key], measures: list[Measure]) -> str:
    """How many differences are decided, and for which side."""
    sentences = []
    for m in measures:
        known = [key for key, value in differences.items() if key[2] == m and value is not None]
        if not known:
            continue
        better = worse = 0
        for key in known:
            value = differences[key]
            if key in apart and value is not None:
                good = (value.mean < 0) == m.lower_is_better
                better, worse = better + good, worse + (not good)
        sentences.append(
            f"In {m.name}, self-generated text is better in {better} of {len(known)} comparisons, worse in {worse}, "
            f"undecided in {len(known) - better - worse}."
        )
    return " ".join(sentences)
