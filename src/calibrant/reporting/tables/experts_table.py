"""Tables of how well each calibration text reaches a model's experts: in the whole model, and by decoder layer."""

from collections.abc import Mapping, Sequence

from calibrant.reporting.inference.statistics import estimate
from calibrant.reporting.results.cells import ORIGINS, Text, run_label
from calibrant.reporting.results.expert_counts import Figures, SetExperts
from calibrant.reporting.results.study_results import StudyResults
from calibrant.reporting.tables import rows
from calibrant.reporting.tables.table import Column, Row, Section, Table

FEW = (
    "Too few: fewer tokens than the expert's widest linear layer has input columns, so that its inputs cannot span "
    "what the layer may be given."
)
SPREAD = "Mean ± standard deviation over calibration sets."
FIGURES = [
    Column("least", "Least", "tokens", 1, kind="spread"),
    Column("median", "Median", "tokens", 1, kind="spread"),
    Column("unreached", "Not reached", "% of experts", 1, kind="spread"),
    Column("too_few", "Too few", "% of experts", 1, kind="spread"),
]
COLUMNS = [rows.SEEDS, *FIGURES]


def expert_table(sets: Sequence[SetExperts], data: StudyResults) -> list[Table]:
    """A row for each text: the tokens of an expert, and the shares of experts with none and with too few.

    Args:
        sets: what `read_expert_counts` read; without any there is no table.
        data: the study, for labels.
    """
    if not sets:
        return []
    shown = [_row(_label(text, data), text, [s.whole for s in found]) for text, found in _by_text(sets).items()]
    runs = "; ".join(dict.fromkeys(run_label(found.method, found.target) for found in sets))
    words = rows.caption(
        f"{sets[0].experts:,} experts in {len(sets[0].layers)} decoder layers, counted for {runs}.", FEW, SPREAD
    )
    return [Table("Tokens that reach an expert", words, "Calibration data", COLUMNS, [Section("", shown)])]


def layer_experts_table(sets: Sequence[SetExperts], data: StudyResults) -> list[Table]:
    """The same for each decoder layer, a section for each text."""
    sections = []
    for text, found in _by_text(sets).items():
        shown = [_row(name, text, [s.layers[name] for s in found if name in s.layers]) for name in found[0].layers]
        sections.append(Section(_label(text, data), shown))
    title = "Tokens that reach an expert, by decoder layer"
    return [Table(title, rows.caption(FEW, SPREAD), "Decoder layer", COLUMNS, sections)] if sections else []


def _by_text(sets: Sequence[SetExperts]) -> Mapping[Text, list[SetExperts]]:
    found: dict[Text, list[SetExperts]] = {}
    for each in sets:
        found.setdefault(each.text, []).append(each)
    return found


def _row(label: str, text: Text, of_sets: Sequence[Figures]) -> Row:
    cells = [estimate([figures[column.key] for figures in of_sets]) for column in FIGURES]
    return Row(label, [len(of_sets), *cells], text.origin, len(of_sets))


def _label(text: Text, data: StudyResults) -> str:
    """`Web, real`, and what the study varies: `Web, self-generated, 16 samples`."""
    words = {"samples": "{} samples", "prefix_length": "prefix of {}", "drop": "{:.0%} dropped"}
    settings = [(name, getattr(text, name)) for name in data.varied]
    varied = [words[name].format(value) for name, value in settings if value is not None]
    return ", ".join([data.source_label(text.source), ORIGINS[text.origin], *varied])
