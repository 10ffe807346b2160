"""The claims as a table."""

from collections.abc import Sequence

from calibrant.reporting.inference.conclusions import Judgement
from calibrant.reporting.inference.verdict import UNDECIDED
from calibrant.reporting.results.measures import Measure
from calibrant.reporting.tables.table import Column, Row, Section, Table


def claims_table(judgements: Sequence[Judgement], outcome: Measure) -> list[Table]:
    """One table, a row for each claim, decided ones first; empty where none could be tested."""
    if not decidable(judgements):
        return []
    beside_paper = any(j.paper for j in judgements)
    columns = [
        Column("section", "Section", kind="text"),
        Column("verdict", "Verdict", kind="text"),
        Column("estimate", "Estimate", signed=True),
        Column("interval", "95 % interval", signed=True, kind="interval"),
        Column("unit", "Unit", kind="text"),
        Column("p_holm", "p", "Holm", 3, kind="p"),
        *([Column("paper", "Paper", kind="text")] if beside_paper else []),
        Column("why", "Rule, or why undecided", kind="below"),
        Column("evidence", "Read from", kind="below"),
    ]
    decided = [j for j in judgements if j.verdict != UNDECIDED]
    tested = [j for j in judgements if j.verdict == UNDECIDED and j.p is not None]
    untested = [j for j in judgements if j.verdict == UNDECIDED and j.p is None]
    groups = (("Decided", decided), ("Tested, undecided", tested), ("Not tested in this study", untested))
    perplexity = outcome.kind == "perplexity"
    scale = (
        "in per cent of the perplexity (100 ln of the ratio: -260 is a factor of 13)"
        if perplexity
        else "in percentage points"
    )
    caption = (
        f"Read from {outcome.name}: differences {scale}, positive in the direction of the claim except where "
        "the claim is that texts are alike. Where a claim is about several differences, the one that decides is shown. "
        "A verdict needs p below 0.05 after Holm's correction over the tested claims of this table; 'alike' needs an "
        "interval within a stated margin, not a difference that was not found. The paper's numbers stand beside its "
        "own models only."
    )
    return [
        Table(
            "The paper's conclusions in this study",
            caption,
            "Conclusion",
            columns,
            [
                Section(heading, [_row(j, beside_paper=beside_paper) for j in group])
                for heading, group in groups
                if group
            ],
        )
    ]


def decidable(judgements: Sequence[Judgement]) -> bool:
    """Whether at least one claim could be tested."""
    return any(j.p is not None for j in judgements)


def _row(judgement: Judgement, *, beside_paper: bool) -> Row:
    found = judgement.estimate
    return Row(
        judgement.claim.statement,
        [
            judgement.claim.section,
            judgement.verdict,
            None if found is None else found.mean,
            found,
            judgement.unit if found is not None else None,
            judgement.p_holm,
            *([judgement.paper or None] if beside_paper else []),
            _joined(judgement.rule, judgement.reason),
            _joined(judgement.label, judgement.test, judgement.runs),
        ],
    )


def _joined(*texts: str) -> str | None:
    return "; ".join(text for text in texts if text) or None
