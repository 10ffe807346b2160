"""The choice of text by target in numbers: what it moves, beside the luck of the draw, and whether that was decided."""

from calibrant.reporting.inference.text_effects import TextEffect, TextEffects
from calibrant.reporting.inference.text_findings import caveat, decided_word, rule
from calibrant.reporting.results.cells import ORIGINS, Text, baseline_cell, method_label, target_label
from calibrant.reporting.results.model_bits import FileBits
from calibrant.reporting.results.study_results import StudyResults
from calibrant.reporting.tables import rows
from calibrant.reporting.tables.table import Column, Row, Section, Table, Value


def text_effects_table(data: StudyResults, effects: TextEffects | None, bits: FileBits | None = None) -> list[Table]:
    """A section per target, from the mildest to the most severe, a row per method; empty without effects.

    Args:
        data: the study.
        effects: what was decided.
        bits: of the file that the model was made of (`model_bits`).
    """
    if effects is None:
        return []
    measure = effects.measure
    columns = [
        Column("texts", "Texts", "number", 0),
        Column("sets", "Sets", "of a text", 0),
        Column(
            measure.key,
            measure.kind.capitalize(),
            rows.direction(measure),
            measure.decimals,
            kind="spread",
            by_spread=True,
        ),
        Column("lowest", "Lowest", "text", kind="text"),
        Column("highest", "Highest", "text", kind="text"),
        Column("range", "Range", "of texts, %", 1),
        Column("interval", "95 % interval", "", 1, kind="interval"),
        Column("deviation", "Between sets", "of a text, SD, %", 1),
        Column("p", "p", "", 3, kind="p"),
        Column("p_holm", "p", "Holm", 3, kind="p"),
        Column("differ", "Texts differ", kind="text"),
    ]
    sections = []
    for target in effects.targets:
        plain = effects.plain.get(target)
        name = method_label(baseline_cell(target).method)
        shown = [] if plain is None else [Row(name, [None, None, plain, *[None] * 8], "baseline")]
        shown += [_row(data, method, effect) for method, effect in effects.at(target).items()]
        sections.append(Section(target_label(target), shown))
    words = rows.caption(
        f"{measure.kind.capitalize()}: mean over the texts ± standard deviation over sets of one text. Range: the text "
        "with the largest mean against the one with the least, in per cent (100 ln of the ratio), with an interval "
        "that allows for both having been picked; it grows with the number of texts. Between sets: the standard "
        "deviation between sets of one text, on the same scale.",
        rule(effects),
        caveat(effects, bits),
    )
    return [Table("The choice of text, by target", words, "Method", columns, sections)]


def _row(data: StudyResults, method: str, effect: TextEffect) -> Row:
    moved, decided = effect.moved, effect.decided
    cells: list[Value] = [
        moved.groups,
        decided.contrast.sets,
        effect.mean,
        text_label(data, effect.lowest),
        text_label(data, effect.highest),
        moved.value,
        decided.contrast.estimate,
        moved.deviation,
        decided.contrast.estimate.p,
        decided.p_holm,
        decided_word(effect),
    ]
    return Row(method_label(method), cells)


def text_label(data: StudyResults, text: Text) -> str:
    """`News`, or `News, self-generated`."""
    label = data.source_label(text.source)
    return label if text.origin == "real" else f"{label}, {ORIGINS[text.origin]}"
