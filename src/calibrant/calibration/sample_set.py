"""The calibration set: one row per token sequence, as Parquet that any tool can read."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from calibrant.artefacts.metadata_forms import keys, number, optional, sha256, text, truth, whole
from calibrant.artefacts.parquet import read_table, write_table
from calibrant.artefacts.table_form import Column, TableForm
from calibrant.errors import InputError, shown
from calibrant.version import __version__

IDS = 2**31 - 1  # the largest token id
COLUMNS = (
    Column("sample_id", pa.int64(), unique=True, required=False),
    Column("input_ids", pa.list_(pa.int32()), low=0, high=IDS),
    Column("text", pa.string(), null=True, required=False),
    Column("source", pa.string(), null=True, required=False),
    Column("origin", pa.string(), null=True, required=False),  # real | synthetic
    Column("doc_ids", pa.list_(pa.string()), null=True, required=False),
    Column("prefix_length", pa.int32(), null=True, low=0, required=False),
    Column("perplexity", pa.float32(), null=True, low=0, required=False),  # null until scored
)
OF_GENERATED = (
    Column("sample_seed", pa.int64(), null=True, required=False),
    Column("finish_reason", pa.string(), null=True, required=False),
)
SAMPLES = TableForm(
    "a calibration set",
    "calibrant sample",
    (*COLUMNS, *OF_GENERATED),
    metadata=keys(
        {},
        {
            "stage": text,
            "library_version": text,
            **dict.fromkeys(("model", "source", "origin"), optional(text)),
            **dict.fromkeys(("model_sha256", "tokenizer_sha256"), optional(sha256)),
            "settings": keys({}),
            "inputs": keys({}),
            "seed": optional(whole()),
            "block": keys({"number": whole(), "rows": whole(1), "available": whole(1), "overlaps_earlier": truth}),
            "model_ends": optional(keys({}, {"share": optional(number(0, 1))})),
        },
    ),
    stages=("sample", "generate", "filter"),
    foreign=True,
    from_text="calibrant sample --documents {path} --model MODEL",
)
GENERATED_SCHEMA = SAMPLES.schema
SCHEMA = pa.schema(list(GENERATED_SCHEMA)[: len(COLUMNS)])


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
        InputError: not Parquet, no rows, or not as `SAMPLES` has them; a file of ours that was changed.
    """
    table, metadata = read_table(path, form=SAMPLES)
    if table.num_rows == 0:
        raise InputError(f"{path}: has no rows")
    if "sample_id" not in table.column_names:
        table = table.append_column("sample_id", pa.array(range(table.num_rows), pa.int64()))
    if "prefix_length" in table.column_names:
        _check_prefixes(path, table)
    return SampleSet(table, metadata)


def _check_prefixes(path: str | Path, table: pa.Table) -> None:
    lengths = pc.list_value_length(table["input_ids"])
    longer = pc.fill_null(pc.greater(table["prefix_length"], lengths), False)
    row = pc.index(longer, True).as_py()
    if row >= 0:
        raise InputError(
            f"{path}: sample_id {table['sample_id'][row]}: prefix_length is {table['prefix_length'][row]}, and the row "
            f"has {lengths[row]} tokens"
        )


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


def say_other_tokenizer(path: str | Path, samples: SampleSet, tokenizer_sha256: str | None) -> None:
    """A line on standard error where a set records another tokenizer than the model has; ids may fit all the same.

    Not refused: folders of one tokenizer differ in settings that change no token.
    """
    made = samples.metadata.get("tokenizer_sha256")
    if made and tokenizer_sha256 and made != tokenizer_sha256:
        print(
            f"note: {shown(path)}: made with a tokenizer of other files (sha256 {str(made)[:12]}) than the model's "
            f"({tokenizer_sha256[:12]}); where its tokens differ, the set is another text to this model",
            file=sys.stderr,
        )


def check_vocabulary(path: str | Path, samples: SampleSet, vocab_size: int) -> None:
    """Refuse token ids that the model does not have.

    Raises:
        InputError: an id is at least `vocab_size`: the set was made with another tokenizer.
    """
    column = samples.table.column("input_ids").combine_chunks()
    ids = column.flatten().to_numpy()
    if int(ids.max()) >= vocab_size:
        first = int(np.argmax(ids >= vocab_size))
        row = pc.list_parent_indices(column)[first].as_py()
        raise InputError(
            f"{path}: sample_id {samples.table['sample_id'][row]}: token id {ids[first]} is outside the model's "
            f"vocabulary of {vocab_size}; the set was made with another tokenizer"
        )
