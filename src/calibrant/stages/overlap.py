"""Stage overlap: masks in, table of the positions that each two have in common out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from calibrant.stages.stage import Input, Output, Stage, admit

FILES = (
    Input("masks", "two or more mask files (.safetensors) of one model", flag="", many=True, kind="masks"),
    Output(
        "output",
        "table (Parquet)",
        command="overlap",
        suffix=".parquet",
        rule="the table is a .parquet file",
    ),
)


def overlap(masks: Sequence[str | Path], output: str | Path) -> list[dict[str, Any]]:
    """Count the positions that masks share, each two of them; returns the rows of the table.

    Raises:
        InputError: fewer than two mask files, or masks of different linear layers.
    """
    admit(FILES, masks=masks, output=output)
    import pyarrow as pa

    from calibrant.artefacts.digest import sha256_file
    from calibrant.artefacts.parquet import write_table
    from calibrant.pruning.inspection.mask_overlap import SCHEMA, mask_name, overlap_rows
    from calibrant.version import __version__

    rows = overlap_rows(masks)
    metadata = {
        "stage": "overlap",
        "library_version": __version__,
        "inputs": {mask_name(path): sha256_file(path) for path in masks},
    }
    write_table(output, pa.Table.from_pylist(rows, SCHEMA), metadata)
    return rows


def _said(rows: list[dict[str, Any]]) -> str:
    return "\n".join(
        f"{row['a']} ~ {row['b']}: {row['jaccard_pruned']:.4f} of the pruned positions shared "
        f"({row['jaccard_pruned_by_chance']:.4f} by chance)"
        for row in rows
        if row["layer"] is None
    )


STAGE = Stage(overlap, FILES, said=_said)
