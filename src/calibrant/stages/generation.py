"""Stage generate: documents and a model in, text that the model wrote out."""

import dataclasses
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from calibrant.errors import InputError
from calibrant.settings.text_settings import GenerateSettings
from calibrant.stages.compute import prepared
from calibrant.stages.stage import Input, Output, Stage, admit

if TYPE_CHECKING:
    from calibrant.calibration.documents import Documents
    from calibrant.generation.engine import Engine
    from calibrant.models.checkpoint.checkpoint import Checkpoint

FILES = (
    Input("documents", "JSONL, Parquet, CSV, tab-separated or plain text (also .gz, .zst)", kind="documents"),
    Input("model", "hub id, folder or .gguf file"),
    Output(
        "output",
        "generated samples (Parquet)",
        command="generate",
        suffix=".parquet",
        rule="generated samples are a .parquet file",
        partial=True,
    ),
)


def generate(
    documents: str | Path,
    model: str | Path,
    output: str | Path,
    settings: GenerateSettings = GenerateSettings(),  # noqa: B008 - frozen
) -> dict[str, Any]:
    """Let a model continue the beginnings of documents; returns what the file records about itself.

    Finished rows lie in `<output>.partial/`; the same call after an interruption goes on there and ends with the same
    bytes. So does one that asks for more rows or fewer, since rows are what they are, however many there will be.

    Raises:
        InputError: a file, a model or an engine that cannot be used, or rows longer than the model has positions.
    """
    admit(FILES, settings, GenerateSettings, documents=documents, model=model, output=output)
    settings = prepared(settings)
    from calibrant.calibration.documents import read_documents
    from calibrant.calibration.first_token import begins
    from calibrant.calibration.sample_set import write_samples
    from calibrant.calibration.tokens import special_ids
    from calibrant.generation.engines.engine_choice import choose_batch_size, open_engine
    from calibrant.generation.generated_rows import Vocabulary
    from calibrant.generation.meter import Meter
    from calibrant.generation.partial_rows import PartialRows
    from calibrant.generation.prompts import make_prompts
    from calibrant.generation.waves import end_statistics, generate_rows, to_table
    from calibrant.models.checkpoint.checkpoint import open_checkpoint
    from calibrant.models.checkpoint.loading import load_tokenizer
    from calibrant.models.compute.devices import choose_device

    checkpoint = open_checkpoint(model)
    checkpoint.check_weights()
    tokenizer = load_tokenizer(checkpoint)
    found = read_documents(documents, settings.source, **settings.reading)
    prompts = make_prompts(
        found,
        tokenizer,
        checkpoint.tokenizer_sha256,
        samples=settings.first + settings.samples,
        prefix_length=settings.prefix_length,
        length=settings.length,
        seed=settings.seed,
        bos=settings.bos,
        vocabulary=checkpoint.vocabulary,
        length_means=settings.length_means,
    )
    prompts = dataclasses.replace(prompts, rows=prompts.rows[settings.first :])
    total = prompts.rows[0].total
    if checkpoint.positions is not None and total > checkpoint.positions:
        raise InputError(
            f"--length {settings.length}: rows of {total} tokens, but {model} has {checkpoint.positions} positions"
        )
    device = choose_device(settings.device)
    checkpoint.check_numbers()
    engine, dtype = open_engine(checkpoint, settings, total)
    batch_size = min(settings.batch_size or choose_batch_size(engine, total, device), settings.samples)
    drawable = [token for token in special_ids(tokenizer) if token < checkpoint.vocabulary]
    vocabulary = Vocabulary(tuple(drawable), len(tokenizer))
    bos = begins(prompts.rows[0].prefix, tokenizer)
    metadata = _metadata(checkpoint, found, settings, bos, engine, dtype, device.type, batch_size)
    decides = {key: value for key, value in metadata["settings"].items() if key not in ("samples", "tokens")}
    store = PartialRows(output, {**metadata, "settings": decides})
    meter = Meter(prompts.rows, show=not settings.quiet)
    if (beginnings := len({row.prefix for row in prompts.rows})) < settings.samples and prompts.passes > 1:
        print(
            f"note: {settings.samples} rows have only {beginnings} different beginning{'s' * (beginnings > 1)}; give "
            "more documents, or divide plain text by --paragraphs",
            file=sys.stderr,
        )
    begin = time.perf_counter()
    print(f"generate: engine {engine.name}, {dtype} on {device}, batch size {batch_size}", file=sys.stderr)
    with store:
        rows = generate_rows(engine, prompts.rows, settings, vocabulary, batch_size, store, meter, settings.tokens)
    seconds = time.perf_counter() - begin
    written = prompts.rows[: len(rows)]
    ends = end_statistics(rows) if engine.knows_ends(settings) else None
    metadata = {**metadata, "document_passes": prompts.passes, "model_ends": ends}
    write_samples(output, to_table(rows, written, tokenizer, found.source), metadata, generated=True)
    store.remove()
    verb = "would have ended without suppression" if settings.end_of_text == "suppress" else "were ended by the model"
    print(
        f"generate: {len(rows)} rows, {meter.drawn} tokens drawn in {seconds:.1f} s "
        f"({meter.drawn / seconds:.0f} a second)" + (f"; {ends['share']:.0%} of rows {verb}" if ends else ""),
        file=sys.stderr,
    )
    return metadata


def _metadata(
    checkpoint: "Checkpoint",
    documents: "Documents",
    settings: GenerateSettings,
    bos: bool,
    engine: "Engine",
    dtype: str,
    device: str,
    batch_size: int,
) -> dict[str, Any]:
    """Everything that decides the rows."""
    return {
        "stage": "generate",
        "model": checkpoint.id,
        "model_sha256": checkpoint.sha256,
        "tokenizer_sha256": checkpoint.tokenizer_sha256,
        "source": documents.source,
        "origin": "synthetic",
        "seed": settings.seed,
        "settings": {
            "top_k": settings.top_k,
            "top_p": settings.top_p,
            "temperature": settings.temperature,
            "repetition_penalty": settings.repetition_penalty,
            "end_of_text": settings.end_of_text,
            "samples": settings.samples,
            **({"first": settings.first} if settings.first else {}),
            **({"tokens": settings.tokens} if settings.tokens else {}),
            **({"tensor_parallel": settings.tensor_parallel} if settings.tensor_parallel > 1 else {}),
            **settings.unusual_reading,
            "length": settings.length,
            "length_means": settings.length_means,
            "prefix_length": settings.prefix_length,
            "bos": bos,
            "engine": engine.name,
            "dtype": dtype,
            "device": device,
            "batch_size": batch_size,
            "random_numbers": "vLLM's own, seeded by sample_seed"
            if engine.name == "vllm"
            else "one float32 a position, PCG64(SeedSequence(sample_seed))",
        },
        "inputs": {"documents": documents.sha256},
    }


STAGE = Stage(generate, FILES, GenerateSettings)
