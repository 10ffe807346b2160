"""The paper's conclusions, each judged by a study's own runs: estimate, interval, verdict, and why."""

from collections.abc import Sequence

import polars as pl

from calibrant.reporting.claims.claims_table import claims_table, decidable
from calibrant.reporting.claims.evidence import Evidence, gather
from calibrant.reporting.claims.registry import CLAIMS, Claim, Judgement, judge
from calibrant.reporting.claims.verdict import FAILS, HOLDS
from calibrant.reporting.index import Study
from calibrant.reporting.table import Table


def study_claims(
    frame: pl.DataFrame,
    study: Study,
    scores: pl.DataFrame | None = None,
    similarity: pl.DataFrame | None = None,
    outcome: str | None = None,
) -> list[Table]:
    """The table of claims of one study; empty where none could be tested. Arguments as in `gather`."""
    evidence = gather(frame, study, outcome=outcome, scores=scores, similarity=similarity)
    return [] if evidence is None else claims_table(judge(evidence, study.model_id), evidence.outcome)


def verdicts(judgements: Sequence[Judgement]) -> str:
    """How many conclusions hold, do not hold, are undecided and could not be tested, in a sentence."""
    held, failed = (sum(j.verdict == verdict for j in judgements) for verdict in (HOLDS, FAILS))
    untested = sum(j.p is None for j in judgements)
    left = len(judgements) - held - failed - untested
    hold, fail = ("holds" if held == 1 else "hold"), ("does" if failed == 1 else "do")
    are = "is" if left == 1 else "are"
    return (
        f"Of the paper's {len(judgements)} conclusions {held} {hold} in these runs and {failed} {fail} not; "
        f"{left} {are} tested and undecided, and {untested} could not be tested."
    )


__all__ = [
    "CLAIMS",
    "Claim",
    "Evidence",
    "Judgement",
    "claims_table",
    "decidable",
    "gather",
    "judge",
    "study_claims",
    "verdicts",
]
