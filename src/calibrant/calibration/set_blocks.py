"""Which rows are whose: the sets of different seeds are blocks of one order of the rows of a text or a generation.

Set k of m rows has the places km to (k + 1)m of that order, which knows neither m nor how many seeds there are: sets of
different seeds share no row, and one that is added later changes no earlier one. Where the rows are used up, they are
put in another order and divided again; such a set shares rows with earlier ones, and says so.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from calibrant.calibration.draws import generator

TURNS = int.from_bytes(b"turn")  # first word of the seeds of the orders after the first: unlike those of other draws


@dataclass(frozen=True)
class Block:
    """The rows of one set, by their places in the order that all sets of a text or generation share.

    number: which block it is, the seed of its set.
    available: the rows that there are; of a text that was not read to its end, those that were read.
    turn: how often the rows were used up by the blocks before it.
    places: of its rows in that order.
    """

    number: int
    available: int
    turn: int
    places: list[int]

    @property
    def overlaps(self) -> bool:
        """Whether a row of it is in a block of the same size and a lower number: then the rows were used up before."""
        return self.turn > 0

    @property
    def record(self) -> dict[str, Any]:
        """What a set's metadata say of it."""
        return {
            "number": self.number,
            "rows": len(self.places),
            "available": self.available,
            "overlaps_earlier": self.overlaps,
        }


def block(number: int, size: int, available: int) -> Block:
    """Block `number` of `size` rows, of `available` rows.

    Raises:
        ValueError: not even one block fits.
    """
    if not 0 < size <= available:
        raise ValueError(f"a block of {size} rows does not fit into {available}")
    turn, at = divmod(number, available // size)
    places = slice(at * size, (at + 1) * size)
    if turn == 0:
        return Block(number, available, 0, list(range(available)[places]))
    return Block(number, available, turn, generator(TURNS, turn).permutation(available)[places].tolist())


def row_block(table: pa.Table, number: int, size: int) -> tuple[pa.Table, Block]:
    """Block `number` of `size` rows of a table in the order of its `sample_id`, as rows were generated.

    Raises:
        ValueError: the table has fewer than `size` rows.
    """
    found = block(number, size, table.num_rows)
    order = np.argsort(table["sample_id"].to_numpy(), kind="stable")
    return table.take(pa.array(order[found.places])), found


def overlap_note(found: Block, what: str, remedy: str) -> str:
    """A line on a block that shares rows with those of earlier seeds, where rows are `what`; "" for any other."""
    if not found.overlaps:
        return ""
    size = len(found.places)
    fit = found.available // size
    return (
        f"note: --seed {found.number}: {found.available:,} {what} give {fit:,} set{'s' * (fit > 1)} of {size:,} "
        f"without common ones, so this set shares some with those of earlier seeds; {remedy}"
    )
