"""`calibrant similarity`: corpora in, table of Jaccard similarities out."""

import argparse

from calibrant.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the stage."""
    parser.add_argument("--reference", required=True, metavar="DOCS", help="documents to compare with")
    parser.add_argument("others", nargs="+", metavar="DOCS", help="documents that are compared, one file a corpus")
    parser.add_argument("--shingle", default="word", help="what a shingle is made of: word, token or char")
    parser.add_argument("--n", type=int, default=3, help="words, tokens or characters in a shingle")
    parser.add_argument("--model", help="hub id or folder whose tokenizer cuts tokens (--shingle token)")
    parser.add_argument(
        "--amount", type=int, help="words, tokens or characters of each corpus; default: the smallest's"
    )
    parser.add_argument("--permutations", type=int, default=4096, help="hash permutations of the estimate")
    parser.add_argument("--seed", type=int, default=0, help="of the documents drawn and of the permutations")
    parser.add_argument("--duplicates", metavar="FILE", help="also write near-duplicates between corpora (Parquet)")
    parser.add_argument("--threshold", type=float, default=0.8, help="Jaccard similarity of near-duplicates")
    parser.add_argument(
        "--contained", metavar="FILE", help="also write how much of each document occurs in the reference (Parquet)"
    )
    parser.add_argument("--output", required=True, help="table (Parquet)")


def run(options: argparse.Namespace) -> None:
    """Run the stage."""
    import pyarrow as pa

    from calibrant.artefacts.parquet import write_table
    from calibrant.calibration.documents import read_documents
    from calibrant.scoring import corpus_similarity as similarity
    from calibrant.scoring import near_duplicates
    from calibrant.scoring.shingles import read_corpus, splitter
    from calibrant.version import __version__

    for option in ("output", "duplicates", "contained"):
        path = getattr(options, option)
        if path is not None and not path.endswith(".parquet"):
            raise InputError(f"--{option} {path}: the table is a .parquet file")
    if options.seed < 0:
        raise InputError(f"--seed {options.seed}: must be 0 or more")
    tokenizer, tokenizer_hash = None, None
    if options.shingle == "token" and options.model is not None:
        from calibrant.models.checkpoint.checkpoint_files import resolve, tokenizer_sha256
        from calibrant.models.checkpoint.loading import load_tokenizer

        folder = resolve(options.model)
        tokenizer, tokenizer_hash = load_tokenizer(folder), tokenizer_sha256(folder)
    split = splitter(options.shingle, tokenizer)
    reference, *others = (read_corpus(read_documents(p), split) for p in (options.reference, *options.others))
    metadata = {
        "stage": "similarity",
        "library_version": __version__,
        "seed": options.seed,
        "tokenizer_sha256": tokenizer_hash,
        "settings": {
            "shingle": options.shingle,
            "n": options.n,
            "amount": options.amount,
            "permutations": options.permutations,
            "threshold": options.threshold,
        },
        "inputs": {"reference": reference.sha256, "others": [corpus.sha256 for corpus in others]},
    }
    rows = similarity.similarity_rows(
        reference,
        others,
        unit=options.shingle,
        n=options.n,
        amount=options.amount,
        permutations=options.permutations,
        seed=options.seed,
    )
    if options.duplicates is not None:
        pairs = near_duplicates.near_duplicates([reference, *others], options.n, options.threshold)
        write_table(options.duplicates, pa.Table.from_pylist(pairs, near_duplicates.PAIRS_SCHEMA), metadata)
    if options.contained is not None:
        shares = near_duplicates.contained(reference, others, options.n)
        write_table(options.contained, pa.Table.from_pylist(shares, near_duplicates.CONTAINED_SCHEMA), metadata)
    write_table(options.output, pa.Table.from_pylist(rows, similarity.SCHEMA), metadata)
    for row in rows:
        exact = "" if row["exact"] is None else f", exact {row['exact']:.5f}"
        print(f"{row['reference']} ~ {row['source']}: {row['jaccard']:.5f} ± {row['stderr']:.5f}{exact}")
