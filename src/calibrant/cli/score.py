"""`calibrant score`: samples and a model in, perplexity and Min-K%++ of every sample out."""

import argparse
import sys
import time

from calibrant.cli.common import add_compute_arguments, apply_compute_arguments
from calibrant.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the stage."""
    parser.add_argument("--samples", required=True, help="generated samples or a calibration set (Parquet)")
    parser.add_argument("--model", required=True, help="hub id or folder")
    parser.add_argument(
        "--span", default="continuation", help="continuation: without the given prefix; whole: all but the first token"
    )
    parser.add_argument("--min-k", type=float, default=50.0, help="percentage of tokens that Min-K%%++ averages")
    parser.add_argument("--batch-tokens", type=int, default=4096, help="at most so many tokens in a forward pass")
    add_compute_arguments(parser)
    parser.add_argument("--output", required=True, help="scores (Parquet)")


def run(options: argparse.Namespace) -> None:
    """Run the stage."""
    import numpy as np

    from calibrant.artefacts.digest import sha256_file
    from calibrant.artefacts.parquet import write_table
    from calibrant.calibration.sample_set import check_vocabulary, read_samples
    from calibrant.models.checkpoint.checkpoint_config import load_config
    from calibrant.models.checkpoint.checkpoint_files import fingerprint, model_id, resolve
    from calibrant.models.checkpoint.loading import load_model
    from calibrant.models.compute.number_formats import dtype_name
    from calibrant.scoring.sample_scores import (
        check_settings,
        first_scored,
        prefix_lengths,
        score_sequences,
        to_table,
        unique_ids,
    )
    from calibrant.version import __version__

    check_settings(options.span, options.min_k)
    if options.batch_tokens < 1:
        raise InputError(f"--batch-tokens {options.batch_tokens}: must be 1 or more")
    if not options.output.endswith(".parquet"):
        raise InputError(f"--output {options.output}: scores are a .parquet file")
    apply_compute_arguments(options)
    samples = read_samples(options.samples)
    sequences = samples.sequences
    ids = samples.table["sample_id"].to_pylist()
    unique_ids(ids, options.samples)
    starts = [first_scored(t, options.span) for t in prefix_lengths(samples.table)]
    for name, row, start in zip(ids, sequences, starts, strict=True):
        if len(row) <= start:
            raise InputError(
                f"{options.samples}: sample_id {name} has {len(row)} tokens and the first {start} do not count, so "
                "nothing is left to score; use longer samples or --span whole"
            )
    path = resolve(options.model)
    vocabulary = load_config(path).get_text_config().vocab_size
    check_vocabulary(
        options.samples, np.concatenate([np.asarray(row, dtype=np.int64) for row in sequences]), vocabulary
    )
    model = load_model(path, dtype=options.dtype, device=options.device)
    parameter = next(model.parameters())
    begin = time.perf_counter()
    scores = score_sequences(model, sequences, starts, options.min_k, options.batch_tokens)
    seconds = time.perf_counter() - begin
    metadata = {
        "stage": "score",
        "library_version": __version__,
        "model": model_id(path),
        "model_sha256": fingerprint(path),
        "settings": {
            "span": options.span,
            "min_k": options.min_k,
            "batch_tokens": options.batch_tokens,
            "dtype": dtype_name(parameter.dtype),
            "device": parameter.device.type,
        },
        "inputs": {"samples": sha256_file(options.samples)},
    }
    write_table(options.output, to_table(ids, scores), metadata)
    print(
        f"score: {len(scores)} samples in {seconds:.1f} s; median perplexity "
        f"{float(np.median([s.perplexity for s in scores])):.2f}",
        file=sys.stderr,
    )
