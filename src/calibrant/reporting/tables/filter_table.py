"""Table 4: what the filter rate does, with the real text as a row."""

from calibrant.reporting.inference.best import held_apart, paired_estimate
from calibrant.reporting.inference.cell_differences import cell_estimate, difference
from calibrant.reporting.inference.statistics import Estimate
from calibrant.reporting.results.cells import Cell, run_label
from calibrant.reporting.results.measures import Measure
from calibrant.reporting.results.study_results import StudyResults
from calibrant.reporting.tables import rows
from calibrant.reporting.tables.table import MARK, Column, Row, Section, Table, Value

Key = tuple[str, str, str]  # sparsity, method, source


def filter_table(data: StudyResults) -> list[Table]:
    """A section per source, method and sparsity: real text, then self-generated text at each filter rate.

    Δ is that rate minus real text, paired by seed.
    """
    measures, changed = data.measures, data.headline
    combinations = data.combinations(anywhere=True)
    found = {(*key, s): len(rates_of(data, (*key, s))) for key in combinations for s in data.sources}
    # Methods and sparsities of which the study has one rate only stand in the tables of performance.
    keys = [key for key, count in found.items() if count > 1] or [key for key, count in found.items() if count]
    if not keys:
        return []
    differences: dict[tuple[Measure, Key, float], Estimate | None] = {
        (m, key, rate): difference(data, *key, m, drop=rate)
        for m in changed
        for key in keys
        for rate in rates_of(data, key)
    }
    apart = held_apart(differences, lambda key: key[0])
    sections = []
    for key in keys:
        sparsity, method, source = key
        real = data.at(method, sparsity, source, "real")
        blanks: list[Value] = [None] * (2 * len(changed))
        shown = [rows.cell_row(data, real, "Real text", measures, {}, blanks)] if data.has(real) else []
        for rate, cell in rates_of(data, key).items():
            deltas = rows.delta_cells([differences[m, key, rate] for m in changed])
            first = 1 + len(measures)
            marked = frozenset(first + 2 * i for i, m in enumerate(changed) if (m, key, rate) in apart)
            row = rows.cell_row(data, cell, f"{100 * rate:.4g} % dropped", measures, {}, deltas)
            shown.append(Row(row.label, row.cells, row.role, row.seeds, marked))
        sections.append(Section(f"{data.source_label(source)}, {run_label(method, sparsity)}", shown))
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
                *(_best_rate(data, keys, m) for m in changed),
            ),
            "Calibration data",
            columns,
            sections,
        )
    ]


def rates_of(data: StudyResults, key: Key) -> dict[float, Cell]:
    """The cells of self-generated text by filter rate, lowest first."""
    sparsity, method, source = key
    cells = {rate: data.at(method, sparsity, source, "synthetic", drop=rate) for rate in data.values_of("drop")}
    return {rate: cell for rate, cell in cells.items() if data.has(cell)}


def _best_rate(data: StudyResults, keys: list[Key], measure: Measure) -> str:
    """What the best rate gains over the unfiltered text, with an interval; empty where that is not known."""
    sentences = []
    for key in keys:
        sparsity, method, source = key
        cells = rates_of(data, key)
        means = {rate: e.mean for rate, cell in cells.items() if (e := cell_estimate(data, cell, measure)) is not None}
        if 0 not in means or len(means) < 2:
            continue
        best = (min if measure.lower_is_better else max)(means, key=lambda rate: means[rate])
        where = f"{data.source_label(source)}, {run_label(method, sparsity)}"
        if best == 0:
            sentences.append(f"In {measure.name} ({where}) no rate has a better mean than dropping nothing.")
            continue
        gain = paired_estimate(data.values(cells[0], measure), data.values(cells[best], measure))
        if gain is None or gain.low is None or gain.high is None:
            continue
        sentences.append(
            f"In {measure.name} ({where}) {100 * best:.4g} % has the best mean: "
            f"{rows.signed(gain.mean, measure)} against dropping nothing "
            f"(95 % interval {rows.signed(gain.low, measure)} to {rows.signed(gain.high, measure)}, "
            f"without a correction for having chosen the best of {len(means)} rates)."
        )
    return " ".join(sentences)
