"""Table 4: what the filter rate does, with the real text as a row."""

from calibrant.reporting.inference.contrasts import Contrast, contrast
from calibrant.reporting.inference.decisions import Decisions
from calibrant.reporting.results.cells import Text, run_label
from calibrant.reporting.results.measures import Measure
from calibrant.reporting.results.study_results import StudyResults
from calibrant.reporting.tables import rows
from calibrant.reporting.tables.table import Section, Table

Key = tuple[str, str, str]  # target, method, source


def filter_table(data: StudyResults, decisions: Decisions) -> list[Table]:
    """A section per source, method and target: real text, then self-generated text at each filter rate.

    Δ is that rate minus real text.
    """
    measures, changed = data.measures, data.headline
    combinations = data.combinations(anywhere=True)
    found = {(*key, s): len(rates_of(data, (*key, s))) for key in combinations for s in data.sources}
    # Methods and targets of which the study has one rate only stand in the tables of performance.
    keys = [key for key, count in found.items() if count > 1] or [key for key, count in found.items() if count]
    if not keys:
        return []
    decided = decisions.families(
        {
            (m, k, rate): against_real(data, m, k, t)
            for m in changed
            for k in keys
            for rate, t in rates_of(data, k).items()
        }
    )
    sections = []
    for key in keys:
        target, method, source = key
        real = data.at(method, target, source, "real")
        blanks = [None] * len(changed)
        shown = [rows.cell_row(data, real, "Real text", measures, blanks)] if data.has(real) else []
        for rate, text in rates_of(data, key).items():
            deltas = [decided.get((m, key, rate)) for m in changed]
            cell = text.cell(method, target)
            shown.append(rows.cell_row(data, cell, f"{100 * rate:.4g} % dropped", measures, deltas))
        sections.append(Section(f"{data.source_label(source)}, {run_label(method, target)}", shown))
    columns = [rows.SEEDS, *rows.measure_columns(measures), *rows.delta_columns(changed)]
    words = rows.caption(
        rows.SPREAD,
        "Dropped: the share of the generated samples of highest perplexity that is left out.",
        f"Δ: minus real text; {rows.DELTA}.",
        rows.notes(data),
    )
    return [Table("Filtering self-generated text by perplexity", words, "Calibration data", columns, sections)]


def rates_of(data: StudyResults, key: Key) -> dict[float, Text]:
    """The self-generated texts of a source by filter rate, lowest first."""
    target, method, source = key
    texts = {rate: data.text(source, "synthetic", drop=rate) for rate in data.values_of("drop")}
    return {rate: text for rate, text in texts.items() if data.has(text.cell(method, target))}


def against_real(data: StudyResults, measure: Measure, key: Key, text: Text) -> Contrast | None:
    """A text minus the real text of its source, for one method and target; None without real text."""
    target, method, source = key
    texts = {text: 1.0, data.text(source, "real"): -1.0}
    return contrast(data, measure, {(method, target): 1.0}, texts, f"{data.source_label(source)}, generated minus real")
