"""Stage score: samples and a model in, perplexity and Min-K%++ of every sample out."""

import sys
import time
from pathlib import Path
from typing import Any

from calibrant.errors import InputError
from calibrant.settings.stage_settings import ScoreSettings
from calibrant.stages.compute import prepared
from calibrant.stages.stage import Input, Output, Stage, admit

FILES = (
    Input("samples", "generated samples or a calibration set (Parquet)", kind="samples"),
    Input("model", "hub id, folder or .gguf file"),
    Output("output", "scores (Parquet)", command="score", suffix=".parquet", rule="scores are a .parquet file"),
)


def score(
    samples: str | Path,
    model: str | Path,
    output: str | Path,
    settings: ScoreSettings = ScoreSettings(),  # noqa: B008 - frozen
) -> dict[str, Any]:
    """Score every sample under a model; returns what the file records about itself.

    Raises:
        InputError: a file or a model that cannot be used, or a sample in which nothing is left to score.
    """
    admit(FILES, settings, ScoreSettings, samples=samples, model=model, output=output)
    settings = prepared(settings)
    import numpy as np

    from calibrant.artefacts.digest import sha256_file
    from calibrant.calibration.first_token import begins, first_token
    from calibrant.calibration.sample_set import check_vocabulary, read_samples, say_other_tokenizer
    from calibrant.models.checkpoint.checkpoint import open_checkpoint
    from calibrant.models.checkpoint.checkpoint_files import has_tokenizer
    from calibrant.models.checkpoint.loading import load_model, load_tokenizer
    from calibrant.models.compute.number_formats import dtype_name
    from calibrant.scoring.sample_scores import first_scored, prefix_lengths, score_sequences
    from calibrant.scoring.score_table import write_scores
    from calibrant.version import __version__

    checkpoint = open_checkpoint(model)
    checkpoint.check_weights()
    read = read_samples(samples)
    sequences = read.sequences
    ids = read.table["sample_id"].to_pylist()
    check_vocabulary(samples, read, checkpoint.vocabulary)
    say_other_tokenizer(samples, read, checkpoint.tokenizer_sha256 if has_tokenizer(checkpoint.path) else None)
    # A folder without a tokenizer has none that puts a token before its texts.
    tokenizer = load_tokenizer(checkpoint) if settings.bos == "always" or has_tokenizer(checkpoint.path) else None
    first = None if tokenizer is None else first_token(tokenizer, settings.bos, checkpoint.vocabulary)
    begun = [tokenizer is not None and begins(row, tokenizer) for row in sequences]
    if first is not None:
        sequences = [row if has else [first, *row] for row, has in zip(sequences, begun, strict=True)]
        begun = [True] * len(sequences)
        longest = max(map(len, sequences))
        if checkpoint.positions is not None and longest > checkpoint.positions:
            raise InputError(
                f"{samples}: a sample has {longest} tokens, the beginning-of-text token before it counted, but {model} "
                f"has {checkpoint.positions} positions; use shorter samples or --bos never"
            )
    starts = [
        first_scored(prefix, settings.span, bos=has)
        for prefix, has in zip(prefix_lengths(read.table), begun, strict=True)
    ]
    for name, row, start in zip(ids, sequences, starts, strict=True):
        if len(row) <= start:
            raise InputError(
                f"{samples}: sample_id {name} has {len(row)} tokens and the first {start} do not count, so "
                "nothing is left to score; use longer samples or --span whole"
            )
    checkpoint.check_length(str(samples), max(map(len, sequences)))
    model_hash = checkpoint.sha256
    network = load_model(checkpoint, dtype=settings.dtype, device=settings.device)
    parameter = next(network.parameters())
    begin = time.perf_counter()
    scores = score_sequences(network, sequences, starts, settings.min_k, settings.batch_tokens)
    seconds = time.perf_counter() - begin
    metadata = {
        "stage": "score",
        "library_version": __version__,
        "model": checkpoint.id,
        "model_sha256": model_hash,
        "settings": {
            "span": settings.span,
            "min_k": settings.min_k,
            "batch_tokens": settings.batch_tokens,
            "bos": first is not None,
            "dtype": dtype_name(parameter.dtype),
            "device": parameter.device.type,
        },
        "inputs": {"samples": sha256_file(samples)},
    }
    write_scores(output, ids, scores, metadata)
    print(
        f"score: {len(scores)} samples in {seconds:.1f} s; median perplexity "
        f"{float(np.median([s.perplexity for s in scores])):.2f}",
        file=sys.stderr,
    )
    return metadata


STAGE = Stage(score, FILES, ScoreSettings)
