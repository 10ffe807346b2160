"""How much of the error rate each look at a race may use, so that stopping at any of them is valid.

The looks' shares add up to no more than the whole, whatever the race found before (Bonferroni over looks). They follow
the share of the budget that is used, which is known beforehand, and leave a rest for a budget that is raised later.
"""

from collections.abc import Sequence

ALPHA = 0.05
KEPT = 0.05  # of what is left, for looks beyond a budget
POWER = 2.0  # above 1: the last look, which most races end with, gets more than its share


def level(used: int, earlier: int, budgets: Sequence[int], alpha: float = ALPHA) -> float:
    """The error rate of the look after `used` sets, when the look before it was after `earlier` ones (0: the first).

    Args:
        used: sets that are measured.
        earlier: sets that were measured at the look before.
        budgets: the budget in sets; a budget that was raised follows those before it.
        alpha: the error rate of all looks together.

    Raises:
        ValueError: budgets do not grow, or sets go backwards or beyond them.
    """
    if not 0 <= earlier < used <= budgets[-1] or sorted({*budgets}) != list(budgets) or budgets[0] < 1:
        raise ValueError(f"looks after {earlier} and {used} sets do not fit into budgets {list(budgets)}")
    return _spent(used, budgets, alpha) - _spent(earlier, budgets, alpha)


def _spent(used: int, budgets: Sequence[int], alpha: float) -> float:
    left, begun, spent = alpha, 0, 0.0
    for budget in budgets:
        share = min(1.0, max(0.0, (used - begun) / (budget - begun)))
        spent += (1 - KEPT) * left * share**POWER
        left *= KEPT
        begun = budget
    return spent
