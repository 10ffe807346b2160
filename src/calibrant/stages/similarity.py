"""Stage similarity: corpora in, table of Jaccard similarities out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from calibrant.settings.text_settings import SimilaritySettings
from calibrant.stages.stage import Input, Output, Stage, admit

RULE = "the table is a .parquet file"
FILES = (
    Input("reference", "documents to compare with", kind="documents", metavar="DOCS"),
    Input("others", "documents that are compared, one file a corpus", "", many=True, kind="documents", metavar="DOCS"),
    Input("model", "hub id or folder whose tokenizer cuts tokens (--shingle token)", required=False),
    Output(
        "duplicates",
        "also write near-duplicates between corpora (Parquet)",
        command="similarity",
        required=False,
        metavar="FILE",
        suffix=".parquet",
        rule=RULE,
    ),
    Output(
        "contained",
        "also write how much of each document occurs in the reference (Parquet)",
        command="similarity",
        required=False,
        metavar="FILE",
        suffix=".parquet",
        rule=RULE,
    ),
    Output("output", "table (Parquet)", command="similarity", suffix=".parquet", rule=RULE),
)


def similarity(
    reference: str | Path,
    others: Sequence[str | Path],
    output: str | Path,
    settings: SimilaritySettings = SimilaritySettings(),  # noqa: B008 - frozen
    *,
    model: str | Path | None = None,
    duplicates: str | Path | None = None,
    contained: str | Path | None = None,
) -> list[dict[str, Any]]:
    """Compare corpora with a reference; returns the rows of the table.

    Raises:
        InputError: documents that cannot be read, or corpora that are too small.
    """
    admit(
        FILES,
        settings,
        SimilaritySettings,
        reference=reference,
        others=others,
        model=model,
        duplicates=duplicates,
        contained=contained,
        output=output,
    )
    import pyarrow as pa

    from calibrant.artefacts.parquet import write_table
    from calibrant.calibration.documents import read_documents
    from calibrant.scoring import corpus_similarity, near_duplicates
    from calibrant.scoring.shingles import common_unit, read_corpus, splitter
    from calibrant.version import __version__

    tokenizer, tokenizer_hash = None, None
    if settings.shingle == "token" and model is not None:
        from calibrant.models.checkpoint.checkpoint_files import resolve, tokenizer_sha256
        from calibrant.models.checkpoint.loading import load_tokenizer

        folder = resolve(model)
        tokenizer, tokenizer_hash = load_tokenizer(folder), tokenizer_sha256(folder)
    documents = [read_documents(path, **settings.reading) for path in (reference, *others)]
    unit = common_unit(settings.shingle, [each.texts for each in documents])
    split = splitter(unit, tokenizer)
    base, *compared = (read_corpus(each, split) for each in documents)
    metadata = {
        "stage": "similarity",
        "library_version": __version__,
        "seed": settings.seed,
        "tokenizer_sha256": tokenizer_hash,
        "settings": {
            "shingle": unit,
            "n": settings.n,
            "amount": settings.amount,
            "permutations": settings.permutations,
            "threshold": settings.threshold,
        },
        "inputs": {"reference": base.sha256, "others": [corpus.sha256 for corpus in compared]},
    }
    rows = corpus_similarity.similarity_rows(
        base,
        compared,
        unit=unit,
        n=settings.n,
        amount=settings.amount,
        permutations=settings.permutations,
        seed=settings.seed,
    )
    if duplicates is not None:
        pairs = near_duplicates.near_duplicates([base, *compared], settings.n, settings.threshold)
        write_table(duplicates, pa.Table.from_pylist(pairs, near_duplicates.PAIRS_SCHEMA), metadata)
    if contained is not None:
        shares = near_duplicates.contained(base, compared, settings.n)
        write_table(contained, pa.Table.from_pylist(shares, near_duplicates.CONTAINED_SCHEMA), metadata)
    write_table(output, pa.Table.from_pylist(rows, corpus_similarity.SCHEMA), metadata)
    return rows


def _said(rows: list[dict[str, Any]]) -> str:
    lines = []
    for row in rows:
        exact = "" if row["exact"] is None else f", exact {row['exact']:.5f}"
        lines.append(f"{row['reference']} ~ {row['source']}: {row['jaccard']:.5f} ± {row['stderr']:.5f}{exact}")
    return "\n".join(lines)


STAGE = Stage(similarity, FILES, SimilaritySettings, said=_said)
