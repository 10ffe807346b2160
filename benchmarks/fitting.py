"""Rates of a machine from measured seconds: least squares of relative errors, no rate below nothing."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.optimize import nnls


def fit(rows: Sequence[Mapping[str, float]], seconds: Sequence[float]) -> dict[str, float]:
    """Seconds that each unit of each quantity costs: seconds = sum of quantity x cost, over all measurements.

    Each measurement is divided by its time, so that short and long runs weigh alike.

    Args:
        rows: for each measurement, quantities by name; one that a measurement lacks is 0 there.
        seconds: measured.

    Returns:
        Seconds a unit, at least 0.
    """
    names = sorted({name for row in rows for name in row})
    measured = np.asarray(seconds, float)
    matrix = np.array([[row.get(name, 0.0) for name in names] for row in rows]) / measured[:, None]
    scale = np.abs(matrix).max(0)  # FLOP and jobs differ by eleven orders of magnitude
    costs, _ = nnls(matrix / scale, np.ones(len(measured)))
    return dict(zip(names, (costs / scale).tolist(), strict=True))


def predicted(rows: Sequence[Mapping[str, float]], costs: Mapping[str, float]) -> list[float]:
    """What the fitted costs give for each measurement."""
    return [sum(amount * costs[name] for name, amount in row.items()) for row in rows]


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Exponent of a power law through measurements: 1 is linear, 2 quadratic."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])
