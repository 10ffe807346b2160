"""`calibrant sample`: documents in, calibration set out."""

import argparse
import dataclasses

from calibrant.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the stage."""
    parser.add_argument("--documents", required=True, help="Parquet with a text column, JSONL or text (also .gz, .zst)")
    parser.add_argument("--model", required=True, help="hub id or folder; its tokenizer is used")
    parser.add_argument("--samples", type=int, default=128, help="number of rows")
    parser.add_argument("--length", type=int, default=2048, help="tokens per row")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--packing", default="stream", help="stream: windows of the joined documents; document: of single documents"
    )
    parser.add_argument(
        "--separator", default=r"\n\n", help=r"text between documents of a stream (\n and \t are understood)"
    )
    parser.add_argument(
        "--retokenise",
        action="store_true",
        help="tokenise the text of generated rows anew; their own tokens by default",
    )
    parser.add_argument("--source", help="name of the text source; default: the rows' own, else the file's name")
    parser.add_argument("--output", required=True, help="calibration set (Parquet)")


def run(options: argparse.Namespace) -> None:
    """Run the stage."""
    from calibrant.calibration.documents import read_documents
    from calibrant.calibration.draws import check_counts
    from calibrant.calibration.sample_set import write_samples
    from calibrant.calibration.windows import sample_documents
    from calibrant.models.checkpoint.checkpoint_files import model_id, resolve, tokenizer_sha256
    from calibrant.models.checkpoint.loading import load_tokenizer

    check_counts(options.samples, options.length, options.seed)
    if not options.output.endswith(".parquet"):
        raise InputError(f"--output {options.output}: a calibration set is a .parquet file")
    separator = options.separator.replace("\\n", "\n").replace("\\t", "\t")
    documents = read_documents(options.documents, options.source)
    if options.retokenise:
        documents = dataclasses.replace(documents, token_ids=None)
    model = resolve(options.model)
    tokenizer_hash = tokenizer_sha256(model)
    settings = {
        "samples": options.samples,
        "length": options.length,
        "packing": options.packing,
        "separator": separator if options.packing == "stream" else None,
        **({"retokenise": True} if options.retokenise else {}),
    }
    table = sample_documents(
        documents,
        load_tokenizer(model),
        tokenizer_hash,
        samples=options.samples,
        length=options.length,
        seed=options.seed,
        packing=options.packing,
        separator=separator,
    )
    metadata = {
        "stage": "sample",
        "model": model_id(model),
        "tokenizer_sha256": tokenizer_hash,
        "source": documents.source,
        "origin": documents.origin,
        **documents.written,
        "seed": options.seed,
        "settings": settings,
        "inputs": {"documents": documents.sha256},
    }
    write_samples(options.output, table, metadata)
