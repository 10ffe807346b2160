"""Drop the samples of highest perplexity (Section 4 of the paper), and draw a set from the rest."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pyarrow as pa

from calibrant.calibration.draws import generator
from calibrant.calibration.sample_set import SCHEMA
from calibrant.errors import InputError

REASON = "highest perplexity"


@dataclass(frozen=True)
class Filtered:
    """Rows kept and rows dropped, both in the order of sample_id; the dropped ones have a `reason`."""

    kept: pa.Table
    dropped: pa.Table


def drop_count(share: float, n: int) -> int:
    """floor(share·n), with `share` read as the decimal number that the user wrote (0.29·100 is 29, not 28.99...)."""
    return math.floor(Decimal(str(share)) * n)


def filter_samples(table: pa.Table, perplexities: Mapping[int, float] | None, drop: float) -> Filtered:
    """Drop the floor(drop·n) rows of highest perplexity; among equal ones the higher sample_id goes first.

    Args:
        table: samples with a unique `sample_id`; other columns are carried along.
        perplexities: perplexity of every sample_id, or None, which leaves the column as it is (only with `drop` 0).
        drop: share of rows to drop, at least 0 and below 1. The paper uses 0.2.

    Raises:
        InputError: `drop` without scores, or a sample without a score.
    """
    ids = table["sample_id"].to_numpy()
    if len(np.unique(ids)) != len(ids):
        raise InputError("samples: sample_id is not unique")
    if perplexities is None:
        if drop > 0:
            raise InputError(f"--drop {drop}: needs --scores, made by calibrant score from the same samples")
        values = np.zeros(len(ids))
    else:
        missing = [int(i) for i in ids if int(i) not in perplexities]
        if missing:
            raise InputError(f"scores: {len(missing)} samples have no score, the first is sample_id {missing[0]}")
        values = np.array([perplexities[int(i)] for i in ids], dtype=np.float64)
        values = np.where(np.isnan(values), np.inf, values)  # what cannot be scored is not worth keeping
        table = _with_column(table, "perplexity", pa.array(values, pa.float32()))
    count = drop_count(drop, len(ids))
    ascending = np.lexsort((ids, values))
    split = len(ids) - count
    kept, dropped = ascending[:split], ascending[split:]
    kept_table, dropped_table = (table.take(pa.array(rows[np.argsort(ids[rows])])) for rows in (kept, dropped))
    return Filtered(kept_table, _with_column(dropped_table, "reason", pa.array([REASON] * count, pa.string())))


def take_samples(table: pa.Table, n: int, seed: int) -> pa.Table:
    """`n` rows drawn without replacement by `seed`, in the order of the table.

    Raises:
        InputError: fewer rows are there, or rows differ in length (they end early and have to be packed first).
    """
    check_takable(table, n, table.num_rows)
    rows = np.sort(generator(seed).choice(table.num_rows, size=n, replace=False, shuffle=False))
    return table.take(pa.array(rows))


def check_takable(table: pa.Table, n: int, left: int) -> None:
    """Refuse to take `n` rows where only `left` are left of a table, or where its rows differ in length.

    Raises:
        InputError: says how many there are, or which lengths, and what to do.
    """
    if n > left:
        raise InputError(f"--take {n}: only {left} samples are left; generate more or drop fewer")
    lengths = np.unique(table["input_ids"].combine_chunks().value_lengths().to_numpy(zero_copy_only=False))
    if len(lengths) > 1:
        raise InputError(
            f"--take {n}: rows have {lengths.min()} to {lengths.max()} tokens, as --end-of-text stop makes them; "
            "filter without --take, then pack them with calibrant sample --documents"
        )


def complete(table: pa.Table) -> pa.Table:
    """Add the columns of the calibration-set schema that are missing (another program's file), empty."""
    for field in SCHEMA:
        if field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(table.num_rows, field.type))
    return table


def _with_column(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    if name in table.column_names:
        return table.set_column(table.column_names.index(name), name, values)
    return table.append_column(name, values)
