"""When a race hands out sets, and when it looks: a look claims something and uses error rate, a round does not."""

from collections.abc import Sequence

from calibrant.errors import InputError
from calibrant.settings.race_settings import FIRST

GROWTH = 0.25  # of a round, relative to the sets before it: small ones go where they matter


def looks(candidates: int, budgets: Sequence[int]) -> list[int]:
    """Sets that are measured in all at each look: after the first round, then halves of the budget, and the budget.

    A budget that was raised goes on where the one before it ended.

    Args:
        candidates: their number.
        budgets: the budget in sets, followed by what it was raised to.

    Raises:
        InputError: fewer than two candidates, or a budget too small for two sets of each, or one that is not raised.
    """
    if candidates < 2:
        raise InputError(f"a race needs two candidates or more, and has {candidates}; name another source or origin")
    found = [FIRST * candidates]
    if budgets[0] < found[0]:
        raise InputError(
            f"--budget {budgets[0]}: is too small for {candidates} candidates, of which each needs {FIRST} sets; give "
            f"{found[0]} or more"
        )
    for raised, budget in enumerate(budgets):
        begun = found[-1]
        if raised and budget <= begun:
            raise InputError(f"--budget {budget}: {begun} sets are measured already; give more, or leave it out")
        back = [budget] if budget > begun else []
        while back and back[-1] // 2 >= 1.5 * begun:
            back.append(back[-1] // 2)
        found += reversed(back)
    return found


def next_round(measured: int, look: int) -> int:
    """Sets in all after the next round, when so many are measured and the next look is after `look`.

    A rest of less than half a round is added to it.
    """
    step = max(2, round(GROWTH * measured))
    return look if look - measured < 1.5 * step else measured + step


def round_ends(candidates: int, budgets: Sequence[int]) -> list[int]:
    """Sets in all after each round of a race that uses its budget up, where there is text for all of them.

    Raises:
        InputError: as `looks`.
    """
    ends: list[int] = []
    for look in looks(candidates, budgets):
        ends.append(next_round(ends[-1], look) if ends else look)
        while ends[-1] < look:
            ends.append(next_round(ends[-1], look))
    return ends
