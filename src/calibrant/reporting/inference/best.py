"""Which differences a test holds apart from zero, and which row of a table may be marked as the best."""

import itertools
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TypeVar

from calibrant.reporting.inference import statistics
from calibrant.reporting.inference.statistics import ALPHA, Estimate

Seeds = Mapping[int | None, float]


Key = TypeVar("Key", bound=Hashable)


def paired(first: Seeds, second: Seeds) -> list[float]:
    """Second minus first for each seed that both have."""
    return [second[seed] - value for seed, value in first.items() if seed in second]


def paired_estimate(first: Seeds, second: Seeds) -> Estimate | None:
    """Second minus first, paired by seed; None without a common seed."""
    values = paired(first, second)
    return statistics.estimate(values) if values else None


def held_apart(differences: Mapping[Key, Estimate | None], family: Callable[[Key], Hashable]) -> set[Key]:
    """The differences that a paired t test holds apart from zero: p < 0.05 after Holm's correction.

    Args:
        differences: paired differences by any key.
        family: the family of a key; each is corrected by itself.
    """
    families: dict[Hashable, list[Key]] = {}
    for key in differences:
        families.setdefault(family(key), []).append(key)
    found: set[Key] = set()
    for keys in families.values():
        values = [differences[key] for key in keys]
        corrected = statistics.holm([None if value is None else value.p for value in values])
        found.update(key for key, p in zip(keys, corrected, strict=True) if p is not None and p < ALPHA)
    return found


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
