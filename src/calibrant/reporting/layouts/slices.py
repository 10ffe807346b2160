"""Studies that vary samples, prefix length or filter rate, cut into one `Comparison` for each value."""

from typing import Literal

import polars as pl

from calibrant.reporting.comparison import Comparison, share
from calibrant.reporting.index import Study
from calibrant.reporting.measures import Measure

Setting = Literal["samples", "prefix_length", "drop"]


def slices(frame: pl.DataFrame, study: Study, by: Setting) -> dict[float, Comparison]:
    """A `Comparison` for each value of a setting, smallest value first.

    Rows without the setting belong to every slice: dense and magnitude, and real text for `prefix_length` and `drop`.
    A study in which nothing has the setting gives no slices.

    Raises:
        InputError: within a value, runs differ in another of the settings.
    """
    values = frame[by].drop_nulls().unique().sort().to_list()
    return {v: Comparison(frame.filter(pl.col(by).is_null() | (pl.col(by) == v)), study) for v in values}


def in_order(sparsities: list[str]) -> list[str]:
    """Ratios first, mildest first, then patterns; of equal shares the freer pattern (4:8) before the stricter (2:4)."""

    def key(sparsity: str) -> tuple[bool, float, int]:
        return (":" in sparsity, share(sparsity), -int(sparsity.partition(":")[2] or 0))

    return sorted(sparsities, key=key)


def headline(data: Comparison) -> list[Measure]:
    """The measures that a Δ is shown of: the first perplexity, and the average over the tasks above chance."""
    return [*data.perplexities[:1], *(m for m in data.outcomes if m.kind != "perplexity")]
