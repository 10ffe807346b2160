"""Table 4: what the filter rate does, with the real text as a row."""

import polars as pl

from calibrant.reporting.comparison import Cell, Comparison
from calibrant.reporting.index import Study
from calibrant.reporting.layouts import rows
from calibrant.reporting.layouts.slices import headline, in_order, slices
from calibrant.reporting.measures import Measure
from calibrant.reporting.statistics import Estimate
from calibrant.reporting.table import MARK, Column, Row, Section, Table, Value


def filter_table(frame: pl.DataFrame, study: Study) -> list[Table]:
    """A section per source, method and sparsity: real text, then self-generated text at each filter rate.

    Δ is that rate minus real text, paired by seed.
    """
    rates = slices(frame, study, "drop")
    if not rates:
        return []
    data = next(iter(rates.values()))
    measures, changed = data.measures, headline(data)
    methods, sources, sparsities = (
        list(dict.fromkeys(value for at in rates.values() for value in getattr(at, name)))
        for name in ("methods", "sources", "sparsities")
    )
    found = {
        (sparsity, method, source): sum(Cell(method, sparsity, source, "synthetic") in r.cells for r in rates.values())
        for sparsity in in_order(sparsities)
        for method in methods
        for source in sources
    }
    # Methods and sparsities of which the study has one rate only stand in the tables of performance.
    keys = [key for key, count in found.items() if count > 1] or [key for key, count in found.items() if count]
    differences: dict[tuple[Measure, tuple[str, str, str], float], Estimate | None] = {
        (m, key, rate): at.difference(*key, m) for m in changed for key in keys for rate, at in rates.items()
    }
    apart = rows.held_apart(differences, lambda key: key[0])
    sections = []
    for sparsity, method, source in keys:
        real = Cell(method, sparsity, source, "real")
        blanks: list[Value] = [None] * (2 * len(changed))
        shown = [rows.cell_row(data, real, "Real text", measures, {}, blanks)] if real in data.cells else []
        for rate, at in rates.items():
            cell = Cell(method, sparsity, source, "synthetic")
            if cell not in at.cells:
                continue
            key = (sparsity, method, source)
            deltas = rows.delta_cells([differences[m, key, rate] for m in changed])
            first = 1 + len(measures)
            marked = frozenset(first + 2 * i for i, m in enumerate(changed) if (m, key, rate) in apart)
            row = rows.cell_row(at, cell, f"{100 * rate:.4g} % dropped", measures, {}, deltas)
            shown.append(Row(row.label, row.cells, row.role, row.seeds, marked))
        sections.append(Section(f"{data.source_label(source)}, {rows.setting(method, sparsity)}", shown))
    columns = [Column("seeds", "Seeds", decimals=0), *rows.measure_columns(measures), *rows.delta_columns(changed)]
    return [
        Table(
            "Filtering self-generated text by perplexity",
            rows.caption(
                rows.SPREAD,
                "Dropped: the share of the generated samples of highest perplexity that is left out before drawing.",
                f"Δ: minus real text, paired by seed, with its Student t interval; {MARK} p < 0.05 in a paired t test "
                "after Holm's correction over that column.",
                rows.notes(data),
                *(_best_rate(rates, keys, m) for m in changed),
            ),
            "Calibration data",
            columns,
            sections,
        )
    ]


def _best_rate(rates: dict[float, Comparison], keys: list[tuple[str, str, str]], measure: Measure) -> str:
    """What the best rate gains over the unfiltered text, with an interval; empty where that is not known."""
    if 0 not in rates or len(rates) < 2:
        return ""
    sentences = []
    for sparsity, method, source in keys:
        cell = Cell(method, sparsity, source, "synthetic")
        means = {rate: e.mean for rate, at in rates.items() if (e := at.estimate(cell, measure)) is not None}
        if 0 not in means or len(means) < 2:
            continue
        best = (min if measure.lower_is_better else max)(means, key=lambda rate: means[rate])
        where = f"{rates[0].source_label(source)}, {rows.setting(method, sparsity)}"
        if best == 0:
            sentences.append(f"In {measure.name} ({where}) no rate has a better mean than dropping nothing.")
            continue
        gain = rows.difference(rates[0].values(cell, measure), rates[best].values(cell, measure))
        if gain is None or gain.low is None or gain.high is None:
            continue
        sentences.append(
            f"In {measure.name} ({where}) {100 * best:.4g} % has the best mean: "
            f"{rows.signed(gain.mean, measure)} against dropping nothing "
            f"(95 % interval {rows.signed(gain.low, measure)} to {rows.signed(gain.high, measure)}, "
            f"without a correction for having chosen the best of {len(means)} rates)."
        )
    return " ".join(sentences)
