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
    """The rows of a block of which filtering leaves exactly `needed`: the most, so that it drops the share that it says.

    Of the fewest it would drop less: 8 of 9 rows are left at 0.2, as of 10.
    """
    return rows_for(needed + 1, drop) - 1
