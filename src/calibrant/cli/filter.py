"""`calibrant filter`: samples and their scores in, calibration set and dropped rows out."""

import argparse
import sys

from calibrant.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the stage."""
    parser.add_argument("--samples", required=True, help="generated samples or a calibration set (Parquet)")
    parser.add_argument("--scores", help="scores of these samples (Parquet); not needed with --drop 0")
    parser.add_argument("--drop", type=float, default=0.2, help="share of rows of highest perplexity to drop")
    parser.add_argument("--take", type=int, help="draw so many of the rest without replacement; default: keep all")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--output", required=True, help="calibration set (Parquet); dropped rows: *.dropped.parquet")


def run(options: argparse.Namespace) -> None:
    """Run the stage."""
    from pathlib import Path

    from calibrant.artefacts.digest import sha256_file
    from calibrant.artefacts.parquet import read_table, write_table
    from calibrant.calibration.perplexity_filter import complete, filter_samples, take_samples
    from calibrant.calibration.sample_set import read_samples, write_samples, written_in
    from calibrant.version import __version__

    if not options.output.endswith(".parquet"):
        raise InputError(f"--output {options.output}: a calibration set is a .parquet file")
    samples = read_samples(options.samples)
    samples_hash = sha256_file(options.samples)
    perplexities = None
    inputs = {"samples": samples_hash}
    scoring = None
    if options.scores is not None:
        scores, recorded = read_table(options.scores, ["sample_id", "perplexity"])
        expected = recorded.get("inputs", {}).get("samples")
        if expected != samples_hash:
            raise InputError(
                f"{options.scores}: made from samples with sha256 {expected}, but {options.samples} "
                f"has {samples_hash}; score these samples again"
            )
        perplexities = dict(zip(scores["sample_id"].to_pylist(), scores["perplexity"].to_pylist(), strict=True))
        inputs["scores"] = sha256_file(options.scores)
        scoring = {"model_sha256": recorded.get("model_sha256"), **recorded.get("settings", {})}
    filtered = filter_samples(complete(samples.table), perplexities, options.drop)
    kept = filtered.kept
    if options.take is not None:
        kept = take_samples(kept, options.take, options.seed)
    earlier = {
        key: samples.metadata.get(key) for key in ("model", "model_sha256", "tokenizer_sha256", "source", "origin")
    }
    metadata = {
        **{key: value for key, value in earlier.items() if value is not None},
        **written_in(samples.metadata),
        "stage": "filter",
        "seed": options.seed if options.take is not None else None,
        "settings": {"drop": options.drop, "take": options.take},
        "scoring": scoring,
        "samples": {key: samples.metadata.get(key) for key in ("stage", "seed", "settings", "inputs")},
        "dropped": filtered.dropped.num_rows,
        "inputs": inputs,
    }
    output = Path(options.output)
    write_table(output.with_suffix(".dropped.parquet"), filtered.dropped, {**metadata, "library_version": __version__})
    write_samples(output, kept, metadata)
    print(f"filter: {len(samples)} rows, {filtered.dropped.num_rows} dropped, {kept.num_rows} written", file=sys.stderr)
