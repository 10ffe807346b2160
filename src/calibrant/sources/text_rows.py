"""What of a row is text: one rule for files, archive members and the hub, for `download` and all who read documents."""

from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any, NamedTuple

from calibrant.errors import InputError
from calibrant.sources.table_rows import JSON_LINES, NumberedRow, Row, file_kind, mended, read_rows


class TextRow(NamedTuple):
    """The text of a row ("" where it is null), the row's number from 1, the row itself.

    `replaced` counts lone surrogates of the row that became U+FFFD.
    """

    text: str
    number: int
    row: Row
    replaced: int = 0


def file_texts(
    stream: IO[bytes], name: str, text_key: str, *, paragraphs: bool = False, beside: Sequence[str] = ()
) -> Iterator[TextRow]:
    """The texts of a file, whose arguments are those of `table_rows.read_rows`.

    Raises:
        InputError: as `read_rows`; a row without the column `text_key`, or with something else in it than text.
    """
    word = "line" if file_kind(name) in JSON_LINES else "row"
    rows = read_rows(stream, name, text_key, paragraphs=paragraphs, beside=beside)
    return _texts(rows, text_key, f"{name}: {word}")


def row_texts(rows: Iterable[Row], text_key: str, name: str) -> Iterator[TextRow]:
    """The texts of rows that another library read; `name` is what they are, for messages.

    Raises:
        InputError: as `file_texts`.
    """
    return _texts(
        (NumberedRow(number, *mended(row)) for number, row in enumerate(rows, start=1)), text_key, f"{name}: row"
    )


def replaced_note(characters: int, rows: int) -> str:
    """The line that says of mended text what was done to it; "" where nothing was."""
    if not characters:
        return ""
    what = "1 lone surrogate" if characters == 1 else f"{characters:,} lone surrogates"
    return f"{what} (halves of characters) in {rows:,} {'row' if rows == 1 else 'rows'} became U+FFFD"


def _texts(rows: Iterable[NumberedRow], text_key: str, where: str) -> Iterator[TextRow]:
    for number, row, replaced in rows:
        if text_key not in row:
            there = ", ".join(map(str, row)) or "none"
            raise InputError(f"{where} {number} has no column {text_key!r} (text_key); there are {there}")
        yield TextRow(_text(row[text_key], text_key, f"{where} {number}"), number, row, replaced)


def _text(value: Any, text_key: str, where: str) -> str:
    if value is not None and not isinstance(value, str):
        raise InputError(f"{where} has {type(value).__name__} in column {text_key!r}; it must be a text")
    return value or ""
