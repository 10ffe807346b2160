"""`calibrant generate`: documents and a model in, text that the model wrote out."""

import argparse
import sys
import time

from calibrant.cli.common import add_compute_arguments, apply_compute_arguments
from calibrant.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the stage."""
    parser.add_argument("--documents", required=True, help="Parquet with a text column, JSONL or text (also .gz, .zst)")
    parser.add_argument("--model", required=True, help="hub id or folder")
    parser.add_argument("--prefix-length", type=int, default=4, help="tokens of a document that start a row; 0: BOS")
    parser.add_argument("--samples", type=int, default=5000, help="number of rows")
    parser.add_argument("--tokens", type=int, default=0, help="begin no more rows once they hold so many; 0: all rows")
    parser.add_argument("--length", type=int, default=2048, help="tokens per row")
    parser.add_argument(
        "--length-means", default="total", help="total: the prefix is included in --length; new: it comes on top"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--top-k", type=int, default=50)
    parser.add_argument("--top-p", type=float, default=0.95)
    parser.add_argument("--temperature", type=float, default=0.6)
    parser.add_argument("--repetition-penalty", type=float, default=1.2)
    parser.add_argument(
        "--end-of-text",
        default="suppress",
        help="suppress: special tokens are never drawn, every row is full; stop: a row ends where the model ends it",
    )
    parser.add_argument("--bos", action="store_true", help="put a BOS first; it counts as one token of the prefix")
    parser.add_argument("--batch-size", type=int, default=0, help="rows written at a time; 0: what memory allows")
    parser.add_argument("--engine", default="auto", help="auto, native (Llama), transformers, vllm (GPUs)")
    parser.add_argument("--tensor-parallel", type=int, default=1, help="GPUs over which vllm spreads the model")
    parser.add_argument("--source", help="name of the text source; default: the rows' own, else the file's name")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    add_compute_arguments(parser)
    parser.add_argument("--output", required=True, help="generated samples (Parquet)")


def run(options: argparse.Namespace) -> None:
    """Run the stage."""
    from calibrant.calibration.documents import read_documents
    from calibrant.calibration.draws import check_counts
    from calibrant.calibration.sample_set import write_samples
    from calibrant.calibration.tokens import special_ids
    from calibrant.generation.engines.engine import Engine, engine_name, make_engine
    from calibrant.generation.engines.vllm_engine import VllmEngine
    from calibrant.generation.generated_rows import LENGTH_MEANS, Settings, Vocabulary
    from calibrant.generation.meter import Meter
    from calibrant.generation.partial_rows import PartialRows
    from calibrant.generation.prompts import make_prompts
    from calibrant.generation.waves import choose_batch_size, end_statistics, generate_rows, to_table
    from calibrant.models.checkpoint.checkpoint_config import checkpoint_dtype, load_config
    from calibrant.models.checkpoint.checkpoint_files import fingerprint, model_id, resolve, tokenizer_sha256
    from calibrant.models.checkpoint.loading import load_model, load_tokenizer
    from calibrant.models.compute.devices import choose_device
    from calibrant.models.compute.number_formats import choose_number_format, dtype_name

    check_counts(options.samples, options.length, options.seed)
    settings = Settings(
        options.top_k, options.top_p, options.temperature, options.repetition_penalty, options.end_of_text
    )
    if options.length_means not in LENGTH_MEANS:
        raise InputError(f"--length-means {options.length_means}: unknown; use {' or '.join(LENGTH_MEANS)}")
    if options.batch_size < 0:
        raise InputError(f"--batch-size {options.batch_size}: must be 1 or more, or 0 for what memory allows")
    if options.tokens < 0:
        raise InputError(f"--tokens {options.tokens}: must be 1 or more, or 0 to write every row")
    if options.tensor_parallel < 1 or (options.tensor_parallel > 1 and options.engine != "vllm"):
        raise InputError(f"--tensor-parallel {options.tensor_parallel}: must be 1, or more with --engine vllm")
    if not options.output.endswith(".parquet"):
        raise InputError(f"--output {options.output}: generated samples are a .parquet file")
    apply_compute_arguments(options)
    documents = read_documents(options.documents, options.source)
    path = resolve(options.model)
    config = load_config(path)
    tokenizer = load_tokenizer(path)
    tokenizer_hash = tokenizer_sha256(path)
    prompts = make_prompts(
        documents,
        tokenizer,
        tokenizer_hash,
        samples=options.samples,
        prefix_length=options.prefix_length,
        length=options.length,
        seed=options.seed,
        bos=options.bos,
        length_means=options.length_means,
    )
    total = prompts.rows[0].total
    positions = getattr(config.get_text_config(), "max_position_embeddings", None)
    if positions is not None and total > positions:
        raise InputError(
            f"--length {options.length}: rows of {total} tokens, but {options.model} has {positions} positions"
        )
    device = choose_device(options.device)
    engine: Engine
    if engine_name(options.engine, config, options.model) == "vllm":
        chosen = choose_number_format(options.dtype, checkpoint_dtype(config), device)
        chosen.say()
        dtype = dtype_name(chosen.dtype)
        engine = VllmEngine(path, config, dtype, total, options.tensor_parallel, options.seed)
    else:
        model = load_model(path, dtype=options.dtype, device=options.device)
        dtype = dtype_name(next(model.parameters()).dtype)
        engine = make_engine(options.engine, model, config, options.model)
        del model
    batch_size = min(options.batch_size or choose_batch_size(engine, total, device), options.samples)
    vocabulary = Vocabulary(tuple(special_ids(tokenizer)), len(tokenizer))
    metadata = {
        "stage": "generate",
        "model": model_id(path),
        "model_sha256": fingerprint(path),
        "tokenizer_sha256": tokenizer_hash,
        "source": documents.source,
        "origin": "synthetic",
        "seed": options.seed,
        "settings": {
            **settings.as_dict(),
            "samples": options.samples,
            **({"tokens": options.tokens} if options.tokens else {}),
            **({"tensor_parallel": options.tensor_parallel} if options.tensor_parallel > 1 else {}),
            "length": options.length,
            "length_means": options.length_means,
            "prefix_length": options.prefix_length,
            "bos": options.bos,
            "engine": engine.name,
            "dtype": dtype,
            "device": device.type,
            "batch_size": batch_size,
            "random_numbers": "vLLM's own, seeded by sample_seed"
            if engine.name == "vllm"
            else "one float32 a position, PCG64(SeedSequence(sample_seed))",
        },
        "inputs": {"documents": documents.sha256},
    }
    store = PartialRows(options.output, metadata)
    meter = Meter(prompts.rows, show=not options.quiet)
    begin = time.perf_counter()
    print(f"generate: engine {engine.name}, {dtype} on {device}, batch size {batch_size}", file=sys.stderr)
    rows = generate_rows(engine, prompts.rows, settings, vocabulary, batch_size, store, meter, options.tokens)
    seconds = time.perf_counter() - begin
    written = prompts.rows[: len(rows)]
    ends = end_statistics(rows) if engine.knows_ends(settings) else None
    metadata = {**metadata, "document_passes": prompts.passes, "model_ends": ends}
    write_samples(options.output, to_table(rows, written, tokenizer, documents.source), metadata, generated=True)
    store.remove()
    verb = "would have ended without suppression" if settings.end_of_text == "suppress" else "were ended by the model"
    print(
        f"generate: {len(rows)} rows, {meter.drawn} tokens drawn in {seconds:.1f} s "
        f"({meter.drawn / seconds:.0f} a second)" + (f"; {ends['share']:.0%} of rows {verb}" if ends else ""),
        file=sys.stderr,
    )
