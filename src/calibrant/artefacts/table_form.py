"""What an artefact's table must look like: one description for each artefact, for whoever writes or reads it."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from calibrant.artefacts.column_digests import is_list
from calibrant.artefacts.metadata_forms import Form, anything
from calibrant.errors import InputError

ROWS = "sample_id"  # the column that messages name rows by, where there is one


@dataclass(frozen=True)
class Column:
    """A column: what it is stored as, and what may be in it.

    type: also that of a list's items are checked; other widths of the same kind are read too, and converted.
    null: whether a cell may be empty (never an item within a list).
    low, high: bounds of its numbers, or of a list's.
    nan: whether its numbers may be NaN.
    unique: whether no value may come twice.
    required: whether a table without it is refused.
    """

    name: str
    type: pa.DataType
    null: bool = False
    low: float | None = None
    high: float | None = None
    nan: bool = False
    unique: bool = False
    required: bool = True


@dataclass(frozen=True)
class TableForm:
    """An artefact that is a table.

    what: what messages call it.
    made: the commands that make it.
    from_text: the command that makes it of text, where there is one; `{path}` stands for the text.
    columns: other columns may stand beside them.
    metadata: the form of its metadata.
    stages: those that write it, as its metadata say.
    foreign: whether a file of another program is welcome, which has no metadata of ours.
    """

    what: str
    made: str
    columns: tuple[Column, ...]
    metadata: Form = anything
    stages: tuple[str, ...] = ()
    foreign: bool = False
    from_text: str = ""

    @property
    def schema(self) -> pa.Schema:
        """Names and types, as they are stored."""
        return pa.schema([(column.name, column.type) for column in self.columns])

    @property
    def names(self) -> list[str]:
        """Names of the columns."""
        return [column.name for column in self.columns]

    def check_stage(self, path: Path, metadata: dict[str, Any]) -> None:
        """Refuse another artefact of ours.

        Raises:
            InputError: its metadata name a stage that does not write this.
        """
        stage = metadata.get("stage")
        if stage is not None and self.stages and stage not in self.stages:
            raise InputError(f"{path}: was made by calibrant {str(stage)[:40]!r}; {self.way()}")

    def way(self, text: str | Path | None = None) -> str:
        """How to come by it, from a text if one is given, as the end of a message."""
        command = self.made if text is None or not self.from_text else self.from_text.format(path=text)
        return f"{self.what} is made by `{command}`"

    def checked(self, path: Path, table: pa.Table) -> pa.Table:
        """The table with its columns as they are stored; others stay as they are.

        Raises:
            InputError: a column is missing, or of another kind, or a cell holds what it may not; the row is named.
        """
        missing = [c.name for c in self.columns if c.required and c.name not in table.column_names]
        if missing:
            names = ", ".join(table.column_names) or "none"
            raise InputError(f"{path}: has no column {', '.join(missing)}; its columns are {names}; {self.way()}")
        for column in self.columns:
            if column.name in table.column_names:
                place = table.column_names.index(column.name)
                table = table.set_column(place, column.name, _Checked(path, table, column).values())
        return table


class _Checked:
    """One column of a table on its way through its description."""

    def __init__(self, path: Path, table: pa.Table, column: Column) -> None:
        self._path, self._table, self._column = path, table, column

    def values(self) -> pa.ChunkedArray:
        name, wanted = self._column.name, self._column.type
        found = self._table.column(name)
        if pa.types.is_null(found.type) and self._column.null:
            return found.cast(wanted)
        if not _alike(found.type, wanted):
            raise InputError(f"{self._path}: column {name} is {found.type}; it must be {_said(wanted)}")
        if pa.types.is_dictionary(found.type):
            found = found.cast(found.type.value_type)
        array = pa.concat_arrays(found.chunks) if found.num_chunks else pa.array([], found.type)
        if array.null_count and not self._column.null:
            self._refuse(pc.index(array.is_null(), True).as_py(), "is empty")
        if is_list(array.type):
            self._check_list(array)
        else:
            self._check_numbers(array, wanted)
        if self._column.unique:
            counted = pc.value_counts(array)
            twice = pc.index(pc.greater(counted.field("counts"), 1), True).as_py()
            if twice >= 0:
                raise InputError(f"{self._path}: {name} {counted.field('values')[twice]} occurs more than once")
        return pa.chunked_array([array.cast(wanted)])

    def _check_list(self, array: pa.Array) -> None:
        empty = pc.equal(array.value_lengths(), 0)
        if not self._column.null and pc.any(empty).as_py():
            self._refuse(pc.index(empty, True).as_py(), "holds nothing")
        rows, items = pc.list_parent_indices(array), array.flatten()
        if items.null_count:
            self._refuse(rows[pc.index(items.is_null(), True).as_py()].as_py(), "holds an empty item")
        self._check_numbers(items, self._column.type.value_type, rows)

    def _check_numbers(self, array: pa.Array, wanted: pa.DataType, rows: pa.Array | None = None) -> None:
        """Refuse numbers outside the bounds; `rows` says of a list's items which row they are in."""
        if not pa.types.is_integer(wanted) and not pa.types.is_floating(wanted):
            return
        low, high = self._bounds(wanted)
        least, most = (value.as_py() for value in pc.min_max(array).values())  # of what is there, and no NaN
        bad = least if low is not None and least is not None and least < low else None
        bad = most if high is not None and most is not None and most > high else bad
        if (
            bad is None
            and not self._column.nan
            and pa.types.is_floating(array.type)
            and pc.any(pc.is_nan(array)).as_py()
        ):
            bad = math.nan
        if bad is not None:
            there = pc.is_nan(array) if bad != bad else pc.equal(array, pa.scalar(bad, array.type))
            index = pc.index(there, True).as_py()
            self._refuse(index if rows is None else rows[index].as_py(), f"is {bad}; it must be {_range(low, high)}")

    def _bounds(self, kind: pa.DataType) -> tuple[float | None, float | None]:
        low, high = self._column.low, self._column.high
        if pa.types.is_integer(kind):
            most = 2 ** (kind.bit_width - 1) - 1
            return (-most - 1 if low is None else low), (most if high is None else high)
        return low, high

    def _refuse(self, row: int, rule: str) -> None:
        ids = self._table.column(ROWS) if ROWS in self._table.column_names and self._column.name != ROWS else None
        known = ids is not None and pa.types.is_integer(ids.type) and ids[row].as_py() is not None
        where = f"sample_id {ids[row]}" if known and ids is not None else f"row {row}"
        raise InputError(f"{self._path}: {where}: {self._column.name} {rule}")


def _alike(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether a column of one type can be read as another: integers, numbers, strings, or lists of these."""
    if is_list(wanted):
        return is_list(found) and _alike(found.value_type, wanted.value_type)
    if pa.types.is_string(wanted):
        kind = found.value_type if pa.types.is_dictionary(found) else found
        return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
    if pa.types.is_floating(wanted):
        return bool(pa.types.is_floating(found))
    return bool(pa.types.is_integer(found))


def _said(kind: pa.DataType) -> str:
    if is_list(kind):
        return f"lists of {_said(kind.value_type)}"
    return "strings" if pa.types.is_string(kind) else "whole numbers" if pa.types.is_integer(kind) else "numbers"


def _range(low: float | None, high: float | None) -> str:
    if high is None:
        return "a number" if low is None else f"at least {low}"
    return f"at most {high}" if low is None else f"from {low} to {high}"
