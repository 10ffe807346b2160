"""The paper's conclusions, each judged by a study's own runs: estimate, interval, verdict, and why."""

import polars as pl

from calibrant.reporting.claims.claims_table import claims_table, decidable
from calibrant.reporting.claims.evidence import Evidence, gather
from calibrant.reporting.claims.registry import CLAIMS, Claim, Judgement, judge
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


__all__ = ["CLAIMS", "Claim", "Evidence", "Judgement", "claims_table", "decidable", "gather", "judge", "study_claims"]
