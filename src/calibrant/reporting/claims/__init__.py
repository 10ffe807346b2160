"""The paper's conclusions, each judged by a study's own runs: estimate, interval, verdict, and why."""

from calibrant.reporting.claims.claims_table import claims_table, decidable
from calibrant.reporting.claims.evidence import Evidence, gather
from calibrant.reporting.claims.registry import CLAIMS, Claim, Judgement, judge

__all__ = ["CLAIMS", "Claim", "Evidence", "Judgement", "claims_table", "decidable", "gather", "judge"]
