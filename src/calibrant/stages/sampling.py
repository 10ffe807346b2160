"""Stage sample: documents in, calibration set out."""

import dataclasses
import sys
from pathlib import Path
from typing import Any

from calibrant.settings.text_settings import SampleSettings
from calibrant.stages.stage import Input, Output, Stage, admit

FILES = (
    Input("documents", "JSONL, Parquet, CSV, tab-separated or plain text (also .gz, .zst)", kind="documents"),
    Input("model", "hub id, folder or .gguf file; its tokenizer is used"),
    Output(
        "output",
        "calibration set (Parquet)",
        command="sample",
        suffix=".parquet",
        rule="a calibration set is a .parquet file",
    ),
)


def sample(
    documents: str | Path,
    model: str | Path,
    output: str | Path,
    settings: SampleSettings = SampleSettings(),  # noqa: B008 - frozen
) -> dict[str, Any]:
    """Draw a calibration set of windows of text; returns what the file records about itself.

    A set that shares windows with those of earlier seeds, since the text has too few, is noted on standard error.

    Raises:
        InputError: a file or a tokenizer that cannot be used, or too little text.
    """
    admit(FILES, settings, SampleSettings, documents=documents, model=model, output=output)
    from calibrant.calibration.documents import read_documents
    from calibrant.calibration.first_token import first_token
    from calibrant.calibration.following_text import joins_by_token
    from calibrant.calibration.sample_set import write_samples
    from calibrant.calibration.set_blocks import overlap_note
    from calibrant.calibration.window_blocks import sample_block
    from calibrant.calibration.windows import sample_documents
    from calibrant.models.checkpoint.checkpoint import open_checkpoint
    from calibrant.models.checkpoint.loading import load_tokenizer

    checkpoint = open_checkpoint(model)
    checkpoint.check_length(f"--length {settings.length}", settings.length)
    tokenizer = load_tokenizer(checkpoint)
    tokenizer_hash = checkpoint.tokenizer_sha256
    separator = settings.separator.replace("\\n", "\n").replace("\\t", "\t")
    found = read_documents(documents, settings.source, **settings.reading)
    if settings.retokenise:
        found = dataclasses.replace(found, token_ids=None)
    first = first_token(tokenizer, settings.bos, checkpoint.vocabulary)
    how: dict[str, Any] = {
        "samples": settings.samples,
        "length": settings.length,
        "packing": settings.packing,
        "separator": separator,
        "joining": settings.joining,
        "first": first,
    }
    block = None
    if settings.sets == "blocks":
        table, block = sample_block(found, tokenizer, tokenizer_hash, number=settings.seed, **how)
        if note := overlap_note(block, f"windows of {found.source}", "give more documents, or lower --samples"):
            print(note, file=sys.stderr)
    else:
        table = sample_documents(found, tokenizer, tokenizer_hash, seed=settings.seed, **how)
    # Recorded where it makes a difference: byte-level tokens are the same either way.
    joined = settings.packing == "stream" and settings.joining == "text" and not joins_by_token(tokenizer)
    metadata = {
        "stage": "sample",
        "model": checkpoint.id,
        "tokenizer_sha256": tokenizer_hash,
        "source": found.source,
        "origin": found.origin,
        **found.generation_format,
        "seed": settings.seed,
        "settings": {
            "samples": settings.samples,
            "length": settings.length,
            "packing": settings.packing,
            "separator": separator if settings.packing == "stream" else None,
            "bos": first is not None,
            **({"sets": "blocks"} if block else {}),
            **({"joining": "text"} if joined else {}),
            **({"retokenise": True} if settings.retokenise else {}),
            **settings.unusual_reading,
        },
        **({"block": block.record} if block else {}),
        "inputs": {"documents": found.sha256},
    }
    write_samples(output, table, metadata)
    return {**metadata, "output": str(output), "written": table.num_rows}


def _said(found: dict[str, Any]) -> str:
    rows, length = found["written"], found["settings"]["length"]
    return f"sample: {rows} windows of {length} tokens of {found['source']} in {found['output']}"


STAGE = Stage(sample, FILES, SampleSettings, said=_said, aside=True)
