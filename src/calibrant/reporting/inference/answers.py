"""From contrasts to an answer: every one above a bound, some one above it, all of them alike.

Each combination tests the claim and its opposite. `p_holds` and `p_fails` are two-sided p-values (one-sided ones,
twice), so that each is under 0.05 exactly where the 95 % intervals that it is about lie where they must.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from calibrant.reporting.inference import statistics
from calibrant.reporting.inference.contrasts import Contrast, Margin
from calibrant.reporting.results.cells import Cell

HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided"


@dataclass(frozen=True)
class Answer:
    """What the runs say about a claim, before Holm's correction.

    Attributes:
        shown: the contrast that decides: the weakest of those that must all hold, the strongest where one is enough.
        contrasts: all of them.
        p_holds, p_fails: p-values of the claim and of its opposite; None where nothing could be tested.
        rule: which rule gave these.
        reason: why nothing could be tested.
        margin: within which texts are alike, for claims of that kind.
        one_sided: whether the margin is one of non-inferiority.
        margin_df: degrees of freedom of the deviation that it is a multiple of.
    """

    shown: Contrast | None = None
    contrasts: tuple[Contrast, ...] = ()
    p_holds: float | None = None
    p_fails: float | None = None
    rule: str = ""
    reason: str = ""
    margin: float | None = None
    one_sided: bool = False
    margin_df: float = math.inf

    @property
    def side(self) -> str:
        """The verdict that the smaller p-value speaks for."""
        if self.p_holds is None or self.p_fails is None:
            return UNDECIDED
        return HOLDS if self.p_holds <= self.p_fails else FAILS

    @property
    def p(self) -> float | None:
        """The smaller p-value."""
        return None if self.p_holds is None or self.p_fails is None else min(1.0, self.p_holds, self.p_fails)

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The runs behind it."""
        return tuple(dict.fromkeys(cell for c in self.contrasts for cell in c.cells))


def without(reason: str) -> Answer:
    """No answer, and why."""
    return Answer(reason=reason)


def every(
    contrasts: Sequence[Contrast | None], margin: Margin | None = None, *, missing: str = "no such runs in this study"
) -> Answer:
    """Whether each contrast lies above minus the margin (an intersection-union test, which needs no correction).

    It does not where one lies below, after Bonferroni's correction over the contrasts.
    """
    known, answer = _known(contrasts, missing)
    if answer:
        return answer
    width, df = margin or Margin(0.0)
    above = [_p(statistics.p_above(c.estimate, -width, df)) for c in known]
    below = [_p(statistics.p_below(c.estimate, -width, df)) for c in known]
    p_holds, p_fails = max(above), min(1.0, len(known) * min(below))
    shown = known[above.index(p_holds) if p_holds <= p_fails else below.index(min(below))]
    bound = f"not below zero by {width:.2g} {shown.unit} (non-inferiority)" if margin else "above zero"
    rule = f"{_named(known, 'each')} {bound}"
    return Answer(shown, tuple(known), p_holds, p_fails, rule, margin=width or None, margin_df=df, one_sided=True)


def some(contrasts: Sequence[Contrast | None], *, missing: str = "no such runs in this study") -> Answer:
    """Whether at least one contrast lies above zero, after Bonferroni's correction over them.

    It does not where each lies below.
    """
    known, answer = _known(contrasts, missing)
    if answer:
        return answer
    above = [_p(statistics.p_above(c.estimate)) for c in known]
    below = [_p(statistics.p_below(c.estimate)) for c in known]
    p_holds, p_fails = min(1.0, len(known) * min(above)), max(below)
    shown = known[above.index(min(above)) if p_holds <= p_fails else below.index(p_fails)]
    return Answer(shown, tuple(known), p_holds, p_fails, f"{_named(known, 'at least one')} above zero")


def alike(
    contrasts: Sequence[Contrast | None], margin: Margin | None, *, missing: str = "no such runs in this study"
) -> Answer:
    """Whether each contrast is nearer to zero than the margin: two one-sided tests each (TOST), all of which must hold.

    They are not alike where one contrast is farther from zero than the margin, after Bonferroni's correction.
    """
    known, answer = _known(contrasts, missing)
    if answer:
        return answer
    if margin is None:
        return without("too few sets: no spread between sets to be alike within")
    width, df = margin
    within = [_p(statistics.equivalence(c.estimate, width, df)) for c in known]
    outside = [
        min(_p(statistics.p_above(c.estimate, width, df)), _p(statistics.p_below(c.estimate, -width, df)))
        for c in known
    ]
    p_holds, p_fails = max(within), min(1.0, len(known) * min(outside))
    shown = known[within.index(p_holds) if p_holds <= p_fails else outside.index(min(outside))]
    rule = f"{_named(known, 'each')} within ± {width:.2g} {shown.unit}, what two sets of one text differ by (TOST)"
    return Answer(shown, tuple(known), p_holds, p_fails, rule, margin=width, margin_df=df)


def _named(contrasts: Sequence[Contrast], word: str) -> str:
    return "the difference is" if len(contrasts) == 1 else f"{word} of {len(contrasts)} differences is"


def _known(contrasts: Sequence[Contrast | None], missing: str) -> tuple[list[Contrast], Answer | None]:
    known = [c for c in contrasts if c is not None]
    if not known or len(known) < len(contrasts):
        return [], without(missing)
    bare = next((c for c in known if c.estimate.low is None), None)
    if bare is None:
        return known, None
    what = f" ({bare.label})" if bare.label else ""
    few = bare.sets < 2
    reason = f"too few seeds: one set gives no interval{what}" if few else f"no spread at all between sets{what}"
    return [], Answer(reason=reason, shown=bare, contrasts=tuple(known))


def _p(p: float | None) -> float:
    if p is None:
        raise ValueError("a contrast without an interval cannot be tested")
    return min(1.0, p)
