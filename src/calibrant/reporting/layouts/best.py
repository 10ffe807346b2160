"""Which row of a table may be marked as the best: one that a test holds apart from every other."""

import itertools
from collections.abc import Mapping, Sequence

from calibrant.reporting import statistics
from calibrant.reporting.result_tables import ALPHA

Seeds = Mapping[int | None, float]


def paired(first: Seeds, second: Seeds) -> list[float]:
    """Second minus first for each seed that both have."""
    return [second[seed] - value for seed, value in first.items() if seed in second]


def best_rows(sections: Sequence[Sequence[Seeds]], *, lower_is_better: bool) -> list[int | None]:
    """The best row of each section, None where a test does not hold it apart from every other.

    A row is best when it has the best mean and differs from each other row of its section in a paired t test over
    the seeds that both have, p < 0.05 after Holm's correction over all pairs of rows of all sections.

    Args:
        sections: for each section its rows, each the values by seed; a row without values is left out.
        lower_is_better: whether a smaller value is a better model.
    """
    p_values: dict[tuple[int, int, int], float | None] = {}
    for number, rows in enumerate(sections):
        known = [i for i, row in enumerate(rows) if row]
        for a, b in itertools.combinations(known, 2):
            differences = paired(rows[a], rows[b])
            p_values[number, a, b] = statistics.estimate(differences).p if differences else None
    corrected = dict(zip(p_values, statistics.holm(list(p_values.values())), strict=True))
    return [_best(number, rows, corrected, lower_is_better) for number, rows in enumerate(sections)]


def _best(
    number: int, rows: Sequence[Seeds], p_values: Mapping[tuple[int, int, int], float | None], lower_is_better: bool
) -> int | None:
    means = {i: sum(row.values()) / len(row) for i, row in enumerate(rows) if row}
    if len(means) < 2:
        return None
    best = (min if lower_is_better else max)(means, key=lambda i: means[i])
    against = [p for (section, a, b), p in p_values.items() if section == number and best in (a, b)]
    return best if all(p is not None and p < ALPHA for p in against) else None
