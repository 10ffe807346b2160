"""Which side of a contrast may be named: each question of a page is decided once, whoever asks."""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from calibrant.reporting.inference import statistics
from calibrant.reporting.inference.conclusions import Judged
from calibrant.reporting.inference.contrasts import Contrast, Question
from calibrant.reporting.inference.statistics import ALPHA

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Decided:
    """A contrast and its p-value after correction for its family.

    Attributes:
        contrast: what was measured.
        p_holm: after Holm's correction; None where there was no test.
    """

    contrast: Contrast
    p_holm: float | None

    @property
    def side(self) -> int:
        """1: what stands first is better; -1: worse; 0: undecided, or at chance, where no side may be named."""
        if not self.contrast.readable or self.p_holm is None or self.p_holm >= ALPHA:
            return 0
        return 1 if self.contrast.estimate.mean > 0 else -1


class Decisions:
    """The decisions of one page.

    The conclusions are one family; each table's or caption's contrasts on one measure another. A question that was
    decided before, by the conclusions or another family, keeps that decision.
    """

    def __init__(self, judged: Judged | None = None) -> None:
        self.p_values: dict[Question, float | None] = {}
        for judgement in (*judged.claims, *judged.own) if judged else ():
            contrasts = judgement.answer.contrasts
            if len(contrasts) == 1 and judgement.answer.margin is None:
                self.p_values.setdefault(contrasts[0].question, judgement.p_holm)

    def family(self, contrasts: Mapping[Key, Contrast | None]) -> dict[Key, Decided]:
        """Decide contrasts together; those without runs are left out."""
        known = {key: c for key, c in contrasts.items() if c is not None}
        corrected = statistics.holm([c.estimate.p for c in known.values()])
        found = {}
        for (key, c), p in zip(known.items(), corrected, strict=True):
            found[key] = Decided(c, self.p_values.setdefault(c.question, p))
        return found

    def families(self, contrasts: Mapping[Key, Contrast | None]) -> dict[Key, Decided]:
        """Decide contrasts, those of each measure as a family of its own."""
        found: dict[Key, Decided] = {}
        for measure in dict.fromkeys(c.question.measure for c in contrasts.values() if c is not None):
            found |= self.family({k: c for k, c in contrasts.items() if c and c.question.measure == measure})
        return found

    def single(self, contrast: Contrast) -> Decided:
        """Decide one contrast, a family of its own unless it was decided before."""
        return self.family({0: contrast})[0]


def counted(decided: Iterable[Decided]) -> tuple[int, int, int]:
    """How many favour what stands first, how many the second, and how many are undecided."""
    sides = [d.side for d in decided]
    return sides.count(1), sides.count(-1), sides.count(0)
