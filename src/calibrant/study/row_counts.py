"""How many rows filtering leaves, and how many it takes for that."""

import math
from decimal import Decimal


def kept(rows: int, drop: float) -> int:
    """How many of `rows` filtering leaves, as `calibrant filter` counts: rows - floor(drop · rows)."""
    return rows - math.floor(Decimal(str(drop)) * rows)


def rows_for(needed: int, drop: float) -> int:
    """The smallest number of rows of which filtering leaves `needed`."""
    rows = math.ceil(Decimal(needed) / (1 - Decimal(str(drop))))
    while rows > 1 and kept(rows - 1, drop) >= needed:
        rows -= 1
    return rows


def block_rows(needed: int, drop: float) -> int:
    """The rows of a block of which filtering leaves exactly `needed`: the most, so that the share is dropped.

    Of the fewest, less is: filtering leaves 8 of 10 rows at 0.2, but of 9 rows too.
    """
    return rows_for(needed + 1, drop) - 1
