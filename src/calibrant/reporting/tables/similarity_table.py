"""Section 3.4's similarities: corpus-level Jaccard similarity of the sources."""

from collections.abc import Mapping

import polars as pl

from calibrant.reporting.inference.similarity_order import DECIMALS, corpora, corpus_label, order_sentence
from calibrant.reporting.tables.table import Column, Row, Section, Table
from calibrant.scoring.corpus_similarity import SCALE_NOTE


def similarity_table(
    frame: pl.DataFrame, labels: Mapping[str, str], published: Mapping[tuple[str, str], float] | None = None
) -> list[Table]:
    """A section per reference corpus, its most similar corpus first.

    Args:
        frame: rows of `calibrant similarity` (`scoring.corpus_similarity.SCHEMA`), of one or several references.
        labels: labels of the sources, in the order of the report.
        published: the paper's values by (reference, source).
    """
    if frame.is_empty():
        return []
    columns = [
        Column("jaccard", "Jaccard", "MinHash", DECIMALS),
        Column("stderr", "SE", "of the estimate", DECIMALS),
        Column("exact", "Exact", "where computed", DECIMALS),
        *([Column("published", "As published", "", 3)] if published else []),
        Column("shingles", "Shingles", "distinct", 0),
        Column("documents", "Documents", "", 0),
    ]
    sections = []
    for reference in (name for name in corpora(frame, labels) if name in set(frame["reference"])):
        found = frame.filter(pl.col("reference") == reference).sort("jaccard", "source", descending=[True, False])
        rows = [
            Row(
                corpus_label(row["source"], labels),
                [
                    row["jaccard"],
                    row["stderr"],
                    row["exact"],
                    *([published.get((reference, row["source"]))] if published else []),
                    row["shingles"],
                    row["documents"],
                ],
            )
            for row in found.iter_rows(named=True)
        ]
        sections.append(Section(f"Similarity to {corpus_label(reference, labels)}", rows))
    units = ", ".join(
        f"{n}-grams of {unit}s" for unit, n in frame.select("unit", "n").unique().sort("unit", "n").rows()
    )
    amounts = sorted(frame["amount"].unique().to_list())
    amount = f"{amounts[0]:,}" if len(amounts) == 1 else f"{amounts[0]:,} to {amounts[-1]:,}"
    caption = (
        f"Jaccard similarity of the sets of {units} of two corpora, of which {amount} units each are taken (the same "
        "number of both: similarity depends on it). SE: standard error of MinHash with "
        f"{min(frame['permutations']):,} permutations. It says how well the sets were compared, not how much "
        f"another draw of documents would change them. {SCALE_NOTE} {order_sentence(frame, labels)}"
    ).strip()
    return [Table("Similarity of the sources", caption, "Corpus", columns, sections)]
