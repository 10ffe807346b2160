"""What is known of every candidate after some sets: its mean, the spread of sets, and how documents pull it.

Sets and documents are crossed: every set is judged on the same documents. A difference between two candidates has two
errors. One is that of the sets, which is drawn anew for each set. The other is that of the documents: most of it is
common to all candidates and cancels. What is left is seen in how each document pulls one candidate more than another.
How documents suit single sets is in both, and is counted once.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from calibrant.race.set_variances import Array, Counts, set_variances

LEAST_DOCUMENTS = 10.0  # of equal weight, fewer of which say nothing of the documents that were not measured


@dataclass(frozen=True)
class Evidence:
    """Candidates after some sets; the order is that of the candidates.

    Attributes:
        means: loss of each, the mean over its sets, on a logarithmic scale: a difference of 0.01 is one per cent [C].
        sets: number of sets of each [C].
        variances: between sets of each candidate, pooled as far as candidates are alike in it (`set_variances`) [C].
        df: degrees of freedom of these; 0 where no candidate has two sets.
        pulls: how far each document pulls each candidate's mean [C, D]. The squares of the differences of two rows add
            up to the variance of these candidates' difference over documents.
        noise: variance of each candidate's set by how the documents suit this set alone, which `variances` and `pulls`
            both hold [C].
        documents: how many documents of equal weight tell as much as these.
    """

    means: Array
    sets: Counts
    variances: Array
    df: float
    pulls: Array
    noise: Array
    documents: float

    @property
    def leader(self) -> int:
        """The candidate with the smallest mean loss; of equal ones the first."""
        return self.leader_among(np.ones(len(self.means), dtype=bool))

    def leader_among(self, contenders: npt.NDArray[np.bool_]) -> int:
        """As `leader`, of some candidates [C]."""
        return int(np.argmin(np.where(contenders, self.means, np.inf)))

    @property
    def reason(self) -> str:
        """Why nothing can be said of the error of a difference; "" where something can."""
        if self.df < 1:
            return "no candidate has two sets, so it is not known how much sets of one text differ"
        if self.documents < LEAST_DOCUMENTS:
            return (
                f"the judging text says as much as {self.documents:.3g} documents of equal length, and "
                f"{LEAST_DOCUMENTS:g} are needed, whatever the sets; give more documents, or --document-tokens, which "
                "makes them more equal"
            )
        return ""

    def document_variances(self) -> Array:
        """Of every difference, the variance due to documents [C, C]."""
        inner = self.pulls @ self.pulls.T
        own = np.diag(inner)
        found: Array = np.maximum(own[:, None] + own[None, :] - 2 * inner, 0.0)
        return found

    def errors(self, sets: Any = None) -> tuple[Array, Array]:
        """Standard errors of every difference, and their degrees of freedom (Satterthwaite) [C, C] each.

        Args:
            sets: numbers of sets in place of the present ones [C], to see ahead.
        """
        share = 1 / np.asarray(self.sets if sets is None else sets, dtype=np.float64)
        own = self.variances * share
        between = own[:, None] + own[None, :]
        documents = self.document_variances()
        # Counted once, but never to less than either error alone: all three are estimates.
        both = self.noise * share
        twice = both[:, None] + both[None, :]
        total = np.maximum(between + documents - twice, np.maximum(between, documents))
        with np.errstate(divide="ignore", invalid="ignore"):
            df = total**2 / (between**2 / max(self.df, 1) + documents**2 / max(self.documents - 1, 1))
        df = np.where(np.isfinite(df), df, 1.0)
        return np.sqrt(total), df


def evidence_of(scores: list[Array], pulls: list[Array], documents: float) -> Evidence:
    """What the sets of candidates say.

    Args:
        scores: of each candidate its sets' losses [sets].
        pulls: of each candidate how far each document pulls each set's loss [sets, D].
        documents: see `Evidence`.
    """
    squares = np.array([float(((each - each.mean()) ** 2).sum()) for each in scores])
    sets = np.array([len(each) for each in scores])
    variances, df = set_variances(squares, sets)
    means = np.array([each.mean() for each in scores])
    noise = noises(np.array([((each - each.mean(axis=0)) ** 2).sum() for each in pulls]), sets)
    return Evidence(means, sets, variances, df, np.array([each.mean(axis=0) for each in pulls]), noise, documents)


def noises(squares: Array, sets: Counts) -> Array:
    """`Evidence.noise` from sums of squares of pulls about their candidate's mean [C]; of one set the common one."""
    common = float(squares.sum()) / max(1, int((sets - 1).sum()))
    return np.where(sets > 1, squares / np.maximum(sets - 1, 1), common)
