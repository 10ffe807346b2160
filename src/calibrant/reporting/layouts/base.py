"""What a layout is: a function from a target's results to tables and figures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from calibrant.reporting.figures import Drawing
from calibrant.reporting.index import Study
from calibrant.reporting.table import Table


@dataclass(frozen=True)
class Inputs:
    """All that a layout may draw from; nothing is read from disk later.

    Attributes:
        frame: the tidy results (`results.COLUMNS`), which may vary samples, prefix length and filter rate.
        study: names, labels and settings.
        scores: rows of `samples.read_scores` (source, origin, seed, sample_id, perplexity, min_k_plus_plus).
        similarity: rows of `calibrant similarity` (`corpus_similarity.SCHEMA`) of one or several references; empty
            where the target compares no corpora.
        contamination: rows of `calibrant contamination` (`scoring.item_contamination.SCHEMA`), empty likewise.
        parameters: what the experiment says under `layout.parameters`.
        published: the paper's cells for this model (`published.published_for`); no rows for other models.
    """

    frame: pl.DataFrame
    study: Study
    scores: pl.DataFrame
    similarity: pl.DataFrame
    contamination: pl.DataFrame
    parameters: Mapping[str, Any]
    published: pl.DataFrame

    @property
    def labels(self) -> dict[str, str]:
        """Labels of the sources, by name, in the order of the report."""
        return dict(self.study.sources)


@dataclass(frozen=True)
class Products:
    """What a layout makes: tables by the name of their files (several may share a file), and figures."""

    tables: Mapping[str, Sequence[Table]] = field(default_factory=dict)
    figures: Sequence[Drawing] = ()


@dataclass(frozen=True)
class Layout:
    """A table or figure of the paper.

    Attributes:
        build: makes it; never reads or writes files.
        parameters: the names that `layout.parameters` may have.
    """

    build: Callable[[Inputs], Products]
    parameters: frozenset[str] = frozenset()
