"""Section 3.4's similarities: corpus-level Jaccard similarity of the sources, as a table and a heat map."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from calibrant.reporting import style
from calibrant.reporting.index import default_label
from calibrant.reporting.table import Column, Row, Section, Table

DECIMALS = 4
Z = 1.96  # of the normal 95 % interval


def corpora(frame: pl.DataFrame, labels: Mapping[str, str]) -> list[str]:
    """Names of the corpora: those of the report in its order, then the others in order of appearance."""
    named = list(dict.fromkeys([*frame["reference"], *frame["source"]]))
    return [name for name in labels if name in named] + [name for name in named if name not in labels]


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
                _label(row["source"], labels),
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
        sections.append(Section(f"Similarity to {_label(reference, labels)}", rows))
    units = ", ".join(
        f"{n}-grams of {unit}s" for unit, n in frame.select("unit", "n").unique().sort("unit", "n").rows()
    )
    amounts = sorted(frame["amount"].unique().to_list())
    amount = f"{amounts[0]:,}" if len(amounts) == 1 else f"{amounts[0]:,} to {amounts[-1]:,}"
    caption = (
        f"Jaccard similarity of the sets of {units} of two corpora, of which {amount} units each are taken (the same "
        "number of both: similarity depends on it). SE: standard error of MinHash with "
        f"{min(frame['permutations']):,} permutations. It says how well the sets were compared, not how much "
        f"another draw of documents would change them. {order_sentence(frame, labels)}"
    ).strip()
    return [Table("Similarity of the sources", caption, "Corpus", columns, sections)]


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
        sentences.append(f"To {_label(reference, labels)}: {text}.")
    rule = " (≈: not told apart by the standard errors, 95 %)" if any("≈" in s for s in sentences) else ""
    return " ".join(sentences) + rule


def _valued(row: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    return f"{_label(row['source'], labels)} {row['jaccard']:.{DECIMALS}f} ± {Z * row['stderr']:.{DECIMALS}f}"


def _label(name: str, labels: Mapping[str, str]) -> str:
    return labels.get(name, default_label(name))


def similarity_figure(frame: pl.DataFrame, labels: Mapping[str, str]) -> Figure | None:
    """A heat map, a row per reference and a column per corpus; cells carry the value and its standard error.

    A pair that was compared in one direction only fills both cells, since the measure is symmetric. None for an
    empty frame.
    """
    if frame.is_empty():
        return None
    names = corpora(frame, labels)
    values, errors = matrix(frame, names)
    rows = [i for i, name in enumerate(names) if name in set(frame["reference"])]
    columns = [i for i in range(len(names)) if any(np.isfinite(values[r, i]) for r in rows)]
    shown = values[np.ix_(rows, columns)]
    top = float(np.nanmax(shown)) or 1.0
    with style.context():
        figure = Figure(figsize=(1.9 + 1.05 * len(columns), 0.9 + 0.55 * len(rows)))
        axes = figure.subplots()
        # From paper to the palette's blue by lightness alone: the order survives grey print.
        image = axes.imshow(np.ma.masked_invalid(shown), cmap="Blues", vmin=0, vmax=1.15 * top, aspect="auto")
        for y, r in enumerate(rows):
            for x, c in enumerate(columns):
                if not np.isfinite(values[r, c]):
                    axes.text(x, y, "–", ha="center", va="center", color=style.MUTED)
                    continue
                dark = values[r, c] > 0.62 * 1.15 * top
                axes.text(
                    x,
                    y,
                    f"{values[r, c]:.{DECIMALS}f}\n± {errors[r, c]:.{DECIMALS}f}",
                    ha="center",
                    va="center",
                    size=8,
                    color=style.PAPER if dark else style.INK,
                )
        axes.set_xticks(range(len(columns)), [_label(names[c], labels) for c in columns])
        axes.set_yticks(range(len(rows)), [_label(names[r], labels) for r in rows])
        if len(columns) > 3:
            axes.tick_params(axis="x", rotation=20)
        axes.set_ylabel("reference")
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        bar = figure.colorbar(image, ax=axes, fraction=0.05, pad=0.03)
        bar.set_label("Jaccard similarity")
        bar.outline.set_visible(False)
        figure.tight_layout()
    return figure


def matrix(frame: pl.DataFrame, names: Sequence[str]) -> tuple[Any, Any]:
    """Similarities and standard errors [names, names]; NaN where a pair was not compared."""
    values = np.full((len(names), len(names)), np.nan)
    errors = values.copy()
    for row in frame.iter_rows(named=True):
        a, b = names.index(row["reference"]), names.index(row["source"])
        for i, j in ((a, b), (b, a)):
            if (i, j) == (a, b) or not np.isfinite(values[i, j]):
                values[i, j], errors[i, j] = row["jaccard"], row["stderr"]
    return values, errors


def similarity_caption(frame: pl.DataFrame, labels: Mapping[str, str]) -> str:
    """What the heat map shows."""
    return (
        "Jaccard similarity of two corpora with the standard error of its estimate below it; darker is more similar, a "
        f"dash was not compared. {order_sentence(frame, labels)}"
    ).strip()
