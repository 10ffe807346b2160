"""`calibrant overlap`: masks in, table of the positions that each two have in common out."""

import argparse

from calibrant.cli.common import existing_file
from calibrant.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the stage."""
    parser.add_argument("masks", nargs="+", metavar="MASKS", help="two or more mask files (.safetensors) of one model")
    parser.add_argument("--output", required=True, help="table (Parquet)")


def run(options: argparse.Namespace) -> None:
    """Count, write, and print each pair's overlap in the whole model."""
    if not options.output.endswith(".parquet"):
        raise InputError(f"--output {options.output}: the table is a .parquet file")
    for path in options.masks:
        existing_file(path, "masks")
    import pyarrow as pa

    from calibrant.artefacts.digest import sha256_file
    from calibrant.artefacts.parquet import write_table
    from calibrant.pruning.inspection.mask_overlap import SCHEMA, mask_name, overlap_rows
    from calibrant.version import __version__

    rows = overlap_rows(options.masks)
    metadata = {
        "stage": "overlap",
        "library_version": __version__,
        "inputs": {mask_name(path): sha256_file(path) for path in options.masks},
    }
    write_table(options.output, pa.Table.from_pylist(rows, SCHEMA), metadata)
    for row in rows:
        if row["layer"] is None:
            shared, chance = row["jaccard_pruned"], row["jaccard_pruned_by_chance"]
            print(f"{row['a']} ~ {row['b']}: {shared:.4f} of the pruned positions shared ({chance:.4f} by chance)")
