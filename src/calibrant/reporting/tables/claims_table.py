"""The conclusions as a table: the paper's that were tested, and the study's own comparisons."""

from collections.abc import Sequence

import polars as pl

from calibrant.reporting.inference.answers import UNDECIDED
from calibrant.reporting.inference.claims import Claim
from calibrant.reporting.inference.conclusions import Judged, Judgement
from calibrant.reporting.inference.observations import Statement
from calibrant.reporting.inference.statements import where
from calibrant.reporting.results.published import published_tables as published
from calibrant.reporting.tables.table import Column, Row, Section, Table


def claims_table(judged: Judged | None) -> list[Table]:
    """One table, a row for each conclusion that could be tested, decided ones first; empty where none could."""
    if judged is None or not judged.tested:
        return []
    model = judged.scope.data.study.model_id
    average = judged.scope.outcome.kind == "average"
    paper = {j.claim.name: paper_numbers(j.claim, model) for j in judged.claims if average or j.claim.from_scores}
    columns = [
        Column("section", "Section", kind="text"),
        Column("verdict", "Verdict", kind="text"),
        Column("estimate", "Estimate", signed=True),
        Column("interval", "95 % interval", signed=True, kind="interval"),
        Column("unit", "Unit", kind="text"),
        Column("p_holm", "p", "Holm", 3, kind="p"),
        *([Column("paper", "Paper", kind="text")] if any(paper.values()) else []),
        Column("why", "Rule, or why undecided", kind="below"),
        Column("would_decide", "What would decide it", kind="below"),
        Column("evidence", "Read from", kind="below"),
    ]
    tested = [j for j in judged.claims if j.answer.p is not None]
    groups = (
        ("Decided", [j for j in tested if j.verdict != UNDECIDED]),
        ("Tested, undecided", [j for j in tested if j.verdict == UNDECIDED]),
        ("This study's own comparisons", judged.own),
    )
    caption = (
        f"Read from {judged.scope.outcome.name}, where the row names no other. Differences are in percentage points, "
        "or in per cent of the perplexity (100 ln of the ratio: −260 is a factor of 13). They are positive in the "
        "direction of the conclusion, except where it is that texts are alike. Where a conclusion is about several "
        f"differences, the one that decides is shown. A verdict needs p below 0.05 after Holm's correction over these "
        f"{judged.tested} tests. 'Alike' needs intervals within what two sets of one text commonly differ by (2.77 "
        "deviations between sets, the repeatability limit of ISO 5725); a difference that was not found is not enough. "
        "Power is that to find the smallest difference worth finding (0.3 points, 2 % of the perplexity), or to hold a "
        "true zero within the margin. 'Does not hold' means that the opposite was shown. The paper's numbers stand "
        "beside its own models only."
    )
    shown = [
        Section(name, [_row(j, paper if any(paper.values()) else None) for j in group])
        for name, group in groups
        if group
    ]
    return [Table("Conclusions in this study", caption, "Conclusion", columns, shown)]


def untested(judged: Judged | None) -> list[Statement]:
    """The paper's conclusions that a study does not test, each with the reason."""
    found = [j for j in (judged.claims if judged else []) if j.answer.p is None]
    return [Statement(f"{j.claim.statement} (section {j.claim.section}): {j.reason}.") for j in found]


def verdicts(judgements: Sequence[Judgement]) -> str:
    """How many of the paper's conclusions hold, do not hold, are undecided and could not be tested, in a sentence."""
    held, failed = (sum(j.verdict == verdict for j in judgements) for verdict in ("holds", "does not hold"))
    missing = sum(j.answer.p is None for j in judgements)
    left = len(judgements) - held - failed - missing
    return (
        f"Of the paper's {len(judgements)} conclusions {held} {'holds' if held == 1 else 'hold'} in these runs and "
        f"{failed} {'does' if failed == 1 else 'do'} not; {left} {'is' if left == 1 else 'are'} tested and "
        "undecided, and "
        f"{missing} could not be tested."
    )


def _row(judgement: Judgement, paper: dict[str, str] | None) -> Row:
    answer, shown = judgement.answer, judgement.answer.shown
    runs = where(answer.cells) if answer.cells else ""
    return Row(
        judgement.claim.statement,
        [
            judgement.claim.section or None,
            judgement.verdict,
            None if shown is None else shown.estimate.mean,
            None if shown is None else shown.estimate,
            None if shown is None else shown.unit,
            judgement.p_holm,
            *([] if paper is None else [paper.get(judgement.claim.name) or None]),
            _joined(answer.rule, judgement.reason),
            judgement.would_decide or None,
            _joined(shown.label if shown else "", shown.replicates if shown else "", runs[:1].lower() + runs[1:]),
        ],
    )


def _joined(*texts: str) -> str | None:
    return "; ".join(text for text in texts if text) or None


def paper_numbers(claim: Claim, model_id: str) -> str:
    """What the paper found for this very model; empty for a model that it does not prune."""
    model, told = published.canonical(model_id), []
    if not published.has_published(model):
        return ""
    for row in published.numbers().filter(pl.col("model") == model).iter_rows(named=True):
        if row["id"] in claim.numbers:
            ends = [f"{x:.4g}" for x in dict.fromkeys((row["low"], row["high"])) if x is not None]
            less = "< " if row["low"] is None else ""
            told.append(f"{less}{' to '.join(ends)} {row['unit']}: {row['quantity']}")
    changes = published.published_for(model_id).filter(pl.col("task") == "change")["mean"].to_list()
    if claim.name.startswith("generated_beats_") and changes and not told:
        told.append(f"{min(changes):+.2f} to {max(changes):+.2f} points, {len(changes)} pairs")
    return "; ".join(told)
