"""`calibrant export`: a calibration set as JSONL and as a Hugging Face dataset."""

import argparse

from calibrant.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the stage."""
    parser.add_argument("--calibration", required=True, help="calibration set or generated samples (Parquet)")
    parser.add_argument("--jsonl", help="write this JSONL file")
    parser.add_argument("--dataset", help="write this folder, readable by datasets.load_from_disk")
    parser.add_argument("--output", help="write both: OUTPUT.jsonl and the folder OUTPUT")


def run(options: argparse.Namespace) -> None:
    """Run the stage."""
    from calibrant.artefacts.digest import sha256_file
    from calibrant.calibration.sample_set import read_samples
    from calibrant.calibration.set_export import write_dataset, write_jsonl

    jsonl, dataset = options.jsonl, options.dataset
    if options.output is not None:
        base = options.output.removesuffix(".jsonl")
        jsonl, dataset = jsonl or f"{base}.jsonl", dataset or base
    if jsonl is None and dataset is None:
        raise InputError("export: nothing to write; give --output, --jsonl or --dataset")
    samples = read_samples(options.calibration)
    table = samples.table
    if jsonl is not None:
        write_jsonl(jsonl, table)
    if dataset is not None:
        write_dataset(dataset, table, {"calibration": samples.metadata, "sha256": sha256_file(options.calibration)})
