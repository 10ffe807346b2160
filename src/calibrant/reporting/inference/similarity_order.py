"""The corpora by similarity to a reference, as far as the standard errors tell them apart."""

import itertools
from collections.abc import Mapping
from typing import Any

import polars as pl

from calibrant.reporting.results.readable import default_label

DECIMALS = 4


Z = 1.96  # of the normal 95 % interval


def corpora(frame: pl.DataFrame, labels: Mapping[str, str]) -> list[str]:
    """Names of the corpora: those of the report in its order, then the others in order of appearance."""
    named = list(dict.fromkeys([*frame["reference"], *frame["source"]]))
    return [name for name in labels if name in named] + [name for name in named if name not in labels]


def order_sentence(frame: pl.DataFrame, labels: Mapping[str, str]) -> str:
    """The corpora by similarity to each reference; neighbours that the errors do not tell apart say so."""
    sentences = []
    for reference in (name for name in corpora(frame, labels) if name in set(frame["reference"])):
        rows = frame.filter(pl.col("reference") == reference).sort("jaccard", "source", descending=[True, False])
        found = list(rows.iter_rows(named=True))
        if len(found) < 2:
            continue
        text = _valued(found[0], labels)
        for before, after in itertools.pairwise(found):
            gap = before["jaccard"] - after["jaccard"]
            # Both share the reference, so that their errors go together; ignoring it errs on the wide side.
            told = gap > Z * (before["stderr"] ** 2 + after["stderr"] ** 2) ** 0.5
            text += f"{' > ' if told else ' ≈ '}{_valued(after, labels)}"
        sentences.append(f"To {corpus_label(reference, labels)}: {text}.")
    rule = " (≈: not told apart by the standard errors, 95 %)" if any("≈" in s for s in sentences) else ""
    return " ".join(sentences) + rule


def _valued(row: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    return f"{corpus_label(row['source'], labels)} {row['jaccard']:.{DECIMALS}f} ± {Z * row['stderr']:.{DECIMALS}f}"


def corpus_label(name: str, labels: Mapping[str, str]) -> str:
    """What to call a corpus."""
    return labels.get(name, default_label(name))
