"""The calibration set: one row per token sequence, as Parquet that any tool can read."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from calibrant.artefacts.parquet import read_table, write_table
from calibrant.errors import InputError
from calibrant.version import __version__

SCHEMA = pa.schema(
    [
        ("sample_id", pa.int64()),
        ("input_ids", pa.list_(pa.int32())),
        ("text", pa.string()),
        ("source", pa.string()),
        ("origin", pa.string()),  # real | synthetic
        ("doc_ids", pa.list_(pa.string())),
        ("prefix_length", pa.int32()),
        ("perplexity", pa.float32()),  # null until scored
    ]
)
GENERATED_SCHEMA = pa.schema([*SCHEMA, ("sample_seed", pa.int64()), ("finish_reason", pa.string())])


@dataclass(frozen=True)
class SampleSet:
    """A table of token sequences and the metadata of the file that holds it."""

    table: pa.Table
    metadata: dict[str, Any]

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def sequences(self) -> list[list[int]]:
        """The token ids of every row, of whatever lengths."""
        return list(self.table.column("input_ids").to_pylist())

    @property
    def input_ids(self) -> npt.NDArray[np.int64]:
        """Token ids as int64 [n, L].

        Raises:
            InputError: the rows differ in length.
        """
        column = self.table.column("input_ids").combine_chunks()
        lengths = np.unique(column.value_lengths().to_numpy(zero_copy_only=False))
        if len(lengths) != 1:
            raise InputError(
                f"input_ids: rows have {lengths.min()} to {lengths.max()} tokens; a calibration set needs one length"
            )
        ids: npt.NDArray[np.int64] = column.flatten().to_numpy().astype(np.int64)
        return ids.reshape(len(self), int(lengths[0]))


def write_samples(path: str | Path, table: pa.Table, metadata: dict[str, Any], *, generated: bool = False) -> None:
    """Write rows under the calibration-set schema (with the two extra columns for generated samples)."""
    schema = GENERATED_SCHEMA if generated else SCHEMA
    write_table(path, table.select(schema.names).cast(schema), {**metadata, "library_version": __version__})


def read_samples(path: str | Path) -> SampleSet:
    """Read samples that may be of different lengths (generated ones that ended early).

    Raises:
        InputError: not Parquet, no rows, or no `input_ids` column of integer lists.
    """
    table, metadata = read_table(path)
    if "input_ids" not in table.column_names:
        raise InputError(f"{path}: has no column input_ids; its columns are {', '.join(table.column_names)}")
    kind = table.schema.field("input_ids").type
    listlike = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not listlike or not pa.types.is_integer(kind.value_type):
        raise InputError(f"{path}: column input_ids is {kind}; it must hold lists of integer token ids")
    if table.num_rows == 0:
        raise InputError(f"{path}: has no rows")
    ids = table.column("input_ids").cast(pa.list_(pa.int32()))
    if ids.null_count:
        raise InputError(f"{path}: column input_ids has {ids.null_count} empty cells")
    table = table.set_column(table.column_names.index("input_ids"), "input_ids", ids)
    if "sample_id" not in table.column_names:
        table = table.append_column("sample_id", pa.array(range(table.num_rows), pa.int64()))
    return SampleSet(table, metadata)


def read_calibration_set(path: str | Path) -> SampleSet:
    """Read a calibration set: every row of the same length. Files that another program wrote are welcome.

    Raises:
        InputError: as `read_samples`, or rows of different lengths.
    """
    samples = read_samples(path)
    try:
        samples.input_ids  # noqa: B018 - checks the lengths
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return samples


def generation_format(metadata: Mapping[str, Any]) -> dict[str, str]:
    """`{"dtype": ...}`, the number format in which a model wrote a set's rows, from its metadata; {} for real text."""
    settings = metadata.get("settings")
    found = metadata.get("dtype", settings.get("dtype") if isinstance(settings, Mapping) else None)
    return {} if found is None else {"dtype": str(found)}


def bos_recorded(metadata: Mapping[str, Any]) -> dict[str, bool]:
    """`{"bos": ...}`, whether a set's rows begin with a beginning-of-text token, from its metadata; {} if unsaid."""
    settings = metadata.get("settings")
    found = metadata.get("bos", settings.get("bos") if isinstance(settings, Mapping) else None)
    return {"bos": found} if isinstance(found, bool) else {}


def check_vocabulary(path: str | Path, ids: npt.NDArray[np.int64], vocab_size: int) -> None:
    """Refuse token ids that the model does not have.

    Raises:
        InputError: an id is negative or at least `vocab_size`: the set was made with another tokenizer.
    """
    low, high = int(ids.min()), int(ids.max())
    if low < 0 or high >= vocab_size:
        raise InputError(
            f"{path}: token id {low if low < 0 else high} is outside the model's vocabulary of {vocab_size}; "
            "the set was made with another tokenizer"
        )
