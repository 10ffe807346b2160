"""A table as data, and the text of its cells."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from calibrant.reporting.inference.statistics import Estimate
from calibrant.reporting.results.numbers import DASH, number, p_value, two_digits

WORDS = ("text", "below")  # kinds of columns that hold words


MARK = "†"  # behind a value that a test set apart from others; the caption says which test


@dataclass(frozen=True)
class Column:
    """A column of numbers (or of words).

    Attributes:
        key: name in CSV files.
        title: heading.
        note: second line of the heading: unit, direction.
        decimals: decimal places of the numbers.
        signed: whether positive numbers carry a sign.
        kind: `spread` (mean ± sd), `number`, `interval`, `p`, `text` or `below`: a text too long for a column, which
            pages show on a line of its own below the row.
        by_spread: whether a mean has as many decimals as two digits of its deviation; for means of many magnitudes.
    """

    key: str
    title: str
    note: str = ""
    decimals: int = 2
    signed: bool = False
    kind: str = "number"
    by_spread: bool = False

    def places(self, value: Estimate) -> int:
        """The decimal places of a mean and its deviation."""
        return two_digits(value.sd) if self.by_spread and value.sd else self.decimals

    @property
    def heading(self) -> str:
        """Title and note in one line."""
        return f"{self.title} ({self.note})" if self.note else self.title


Value = Estimate | float | int | str | None


@dataclass(frozen=True)
class Row:
    """A labelled row; `role` styles it: dense, baseline, real, synthetic, difference, pooled, published or plain."""

    label: str
    cells: Sequence[Value]
    role: str = "plain"
    seeds: int | None = None  # seeds of the cells; a cell with fewer says so
    marked: frozenset[int] = frozenset()  # cells that carry `MARK`

    def parts(self, columns: "Sequence[Column]") -> list[tuple[str, str]]:
        """The text of every cell and its addition."""
        shown = [
            parts(value, replace(column, signed=True) if self.role == "difference" else column, self.seeds)
            for value, column in zip(self.cells, columns, strict=True)
        ]
        return [(text + MARK * (i in self.marked), addition) for i, (text, addition) in enumerate(shown)]

    def texts(self, columns: "Sequence[Column]") -> list[str]:
        """The text of every cell in one string."""
        return [" ".join(part for part in pair if part) for pair in self.parts(columns)]


@dataclass(frozen=True)
class Section:
    """Rows under a common heading (a method); CSV files carry the heading in a column."""

    heading: str
    rows: Sequence[Row]


@dataclass(frozen=True)
class Table:
    """A titled table.

    Attributes:
        title: what it is, also the first column of the CSV (for several tables of one kind).
        caption: what to see and how to read it.
        stub: heading of the first column.
        columns, sections: the content.
    """

    title: str
    caption: str
    stub: str
    columns: Sequence[Column]
    sections: Sequence[Section] = field(default_factory=tuple)


def parts(value: Value, column: Column, seeds: int | None = None) -> tuple[str, str]:
    """The main text of a cell and its addition (`± 0.21`), either may be empty."""
    if value is None:
        return DASH, ""
    if isinstance(value, str):
        return value or DASH, ""
    if isinstance(value, Estimate):
        if column.kind == "interval":
            if value.low is None or value.high is None:
                return DASH, ""
            low, high = (number(x, column.decimals, column.signed) for x in (value.low, value.high))
            return f"{low} to {high}", ""
        places = column.places(value)
        addition = "" if value.sd is None else f"± {number(value.sd, places)}"
        if seeds is not None and value.n < seeds:
            addition = f"{addition} (n = {value.n})".strip()
        return number(value.mean, places, column.signed), addition
    if column.kind == "p":
        return p_value(float(value)), ""
    if isinstance(value, int):
        return number(value, 0), ""  # a count
    return number(value, column.decimals, column.signed), ""
