"""Power: the chance that a study like this decides, and the sets of each text that it would take."""

import math

from scipy import special

from calibrant.reporting.inference.statistics import ALPHA, Estimate, deviation_reach, quantile, tail

POWER = 0.8  # what a study should have to look for an effect


def power(
    found: Estimate,
    effect: float,
    *,
    alike: bool = False,
    margin_df: float = math.inf,
    times: float = 1.0,
    tests: int = 1,
    each_of: int = 1,
) -> float | None:
    """The least chance that a study like this decides; None without a t interval.

    Args:
        found: an estimate of this study: its standard error and degrees of freedom count, not its value.
        effect: the true value that is to be told from zero; with `alike` the margin that a true zero is to be held
            within.
        alike: whether the question is one of equivalence.
        margin_df: degrees of freedom of the margin.
        times: how many times as many sets.
        tests: the size of the family: at worst Holm's correction asks for p below 0.05 over this.
        each_of: how many such estimates must all be decided, by Bonferroni's inequality.
    """
    if found.error is None or effect == 0:
        return None
    df, shift = found.df * times, abs(effect) / found.error * math.sqrt(times)
    critical = quantile(df, ALPHA / tests)
    if alike:
        critical = math.hypot(critical, shift * deviation_reach(margin_df * times, ALPHA / tests, upward=False))
        chance = max(0.0, 1 - 2 * tail(shift - critical, df))
    else:
        # Noncentral t. `stats.nct` says the same and takes 80 times as long.
        chance = float(1 - special.nctdtr(df, shift, critical) + special.nctdtr(df, shift, -critical))
        if not math.isfinite(chance):
            chance = tail(critical - shift, df)  # scipy gives up far from zero
    return max(0.0, 1 - each_of * (1 - chance))


def sets_needed(
    found: Estimate,
    sets: int,
    effect: float,
    *,
    alike: bool = False,
    margin_df: float = math.inf,
    tests: int = 1,
    each_of: int = 1,
) -> int | None:
    """The smallest number of sets of each text that has 80 % power; arguments as `power`, with `sets` in this study.

    None where the interval is no t interval, or it would be more than a million.
    """
    if found.error is None or sets < 1 or effect == 0:
        return None

    def enough(number: int) -> bool:
        times = number / sets
        chance = power(found, effect, alike=alike, margin_df=margin_df, times=times, tests=tests, each_of=each_of)
        return chance is not None and chance >= POWER

    high = 2
    while not enough(high):
        high *= 2
        if high > 1_000_000:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return max(high, 2)
