"""Write a calibration set for other programs: JSONL, plain text, plain Parquet, and a Hugging Face dataset."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from calibrant.artefacts.atomic import atomic_directory, atomic_path
from calibrant.artefacts.card_text import CARD
from calibrant.artefacts.provenance import write_provenance
from calibrant.errors import InputError

BLANK_LINE = "\n\n"  # between two sequences of plain text


def write_jsonl(path: str | Path, table: pa.Table) -> None:
    """One JSON object a row, all columns, UTF-8.

    Raises:
        InputError: a column of another program's holds what JSON has not, or a number is not finite.
    """
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for batch in table.to_batches(max_chunksize=256):
            for row in batch.to_pylist():
                try:
                    line = json.dumps(row, ensure_ascii=False, sort_keys=True, allow_nan=False)
                except (TypeError, ValueError) as error:
                    raise InputError(
                        f"sample_id {row.get('sample_id')}: cannot be written as JSON ({error})"
                    ) from error
                file.write(line + "\n")


def write_plain_text(path: str | Path, table: pa.Table) -> None:
    """The text of each row, UTF-8, a blank line between two; newlines within a text stay.

    Raises:
        InputError: a row has no text.
    """
    if "text" not in table.column_names:
        raise InputError("has no column text, so there is no text to write; --format jsonl writes its input_ids")
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        for place, (name, text) in enumerate(
            zip(table["sample_id"].to_pylist(), table["text"].to_pylist(), strict=True)
        ):
            if text is None:
                raise InputError(f"sample_id {name}: has no text; --format jsonl writes its input_ids")
            file.write(f"{BLANK_LINE if place else ''}{text}")
        file.write("\n")


def write_parquet(path: str | Path, table: pa.Table) -> None:
    """The columns as they are, without metadata of ours, so that every reader of Parquet sees them alone."""
    with atomic_path(path) as temporary:
        pq.write_table(table.replace_schema_metadata(None).combine_chunks(), temporary)


def all_text(table: pa.Table) -> bool:
    """Whether every row has a text."""
    return "text" in table.column_names and not pc.any(table["text"].is_null()).as_py()


def write_dataset(path: str | Path, table: pa.Table, provenance: dict[str, Any], card: str | None = None) -> None:
    """A folder that `datasets.load_from_disk` reads; `provenance` goes into its sidecar, `card` into README.md."""
    from datasets import Dataset, disable_progress_bars

    disable_progress_bars()
    with atomic_directory(path) as temporary:
        # A fixed fingerprint: the library's own is random, and it is written to state.json.
        dataset = Dataset(table.replace_schema_metadata(None), fingerprint="calibrant")
        dataset.save_to_disk(str(temporary))
        if card is not None:
            (temporary / CARD).write_text(card, encoding="utf-8")
        write_provenance(temporary, provenance)
