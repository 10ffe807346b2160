"""All that a page draws from, read and checked once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from calibrant.artefacts.atomic import read_json
from calibrant.calibration.shared_rows import shared_share
from calibrant.errors import InputError
from calibrant.reporting.inference.decisions import Decisions
from calibrant.reporting.results.cells import COLUMNS_OF_CELL, Text
from calibrant.reporting.results.index import Index, Run, Study
from calibrant.reporting.results.model_bits import FileBits, bits_of_file
from calibrant.reporting.results.published.published_tables import published_for
from calibrant.reporting.results.readable import default_label
from calibrant.reporting.results.records import Record, brief
from calibrant.reporting.results.result_frame import collect
from calibrant.reporting.results.samples import check_scores, read_contamination, read_scores, read_similarity
from calibrant.reporting.results.study_results import StudyResults


@dataclass(frozen=True)
class Inputs:
    """What an index names; nothing is read from disk later but the samples that a page shows and counts.

    Attributes:
        index: the index.
        frame: the tidy results (`result_frame.COLUMNS`), which may vary samples, prefix length and filter rate.
        scores: rows of `samples.read_scores`.
        similarity: rows of `calibrant similarity` (`corpus_similarity.SCHEMA`) of one or several references; empty
            where the study compares no corpora.
        contamination: rows of `calibrant contamination` (`scoring.item_contamination.SCHEMA`), empty likewise.
        sidecars: what the study read, by kind and name.
        shared: of each text the share of rows that two of its sets have in common.
        decisions: of the page that is made.
    """

    index: Index
    frame: pl.DataFrame
    scores: pl.DataFrame
    similarity: pl.DataFrame
    contamination: pl.DataFrame
    sidecars: Mapping[tuple[str, str], dict[str, Any]]
    shared: Mapping[Text, float] = field(default_factory=dict)
    decisions: Decisions = field(default_factory=Decisions)

    @property
    def study(self) -> Study:
        """Names, labels and settings."""
        return self.index.study

    @cached_property
    def data(self) -> StudyResults:
        """The results by cell and measure, with the self-generated text that the experiment names (`syn_source`)."""
        return StudyResults(self.one_written(self.frame), self.study, self.shared)

    @property
    def evaluations(self) -> int:
        """How many models were evaluated."""
        return self.frame.select("model", *COLUMNS_OF_CELL, "seed").n_unique()

    @property
    def parameters(self) -> Mapping[str, Any]:
        """What the experiment says under `layout.parameters`."""
        return self.index.layout.parameters if self.index.layout else {}

    @cached_property
    def published(self) -> pl.DataFrame:
        """The paper's cells for this model (`published.published_for`); no rows for other models."""
        return published_for(self.study.model_id)

    def labels(self, frame: pl.DataFrame | None = None) -> dict[str, str]:
        """Labels of the study's sources in the order of the report, then of those that only the frame has."""
        named = [] if frame is None else list(dict.fromkeys(frame["source"].drop_nulls()))
        known = dict(self.study.sources)
        return known | {name: default_label(name) for name in named if name not in known}

    @property
    def records(self) -> list[Record]:
        """The sidecars in brief."""
        return [brief(kind, name, content) for (kind, name), content in self.sidecars.items()]

    @property
    def file_bits(self) -> FileBits | None:
        """The bits of the quantized file that the model was made of, where it was."""
        record = next((content for (kind, _), content in self.sidecars.items() if kind == "model"), {})
        return bits_of_file(record, self.study.model_id, self.study.model_note)

    @property
    def documents(self) -> dict[str, dict[str, Any]]:
        """The sidecars of the sources, by name."""
        return {name: content for (kind, name), content in self.sidecars.items() if kind == "source"}

    def one_written(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The rows without self-generated text of other sources than `syn_source`, where the experiment names one.

        Raises:
            InputError: no row is self-generated text of that source, though others are.
        """
        source = self.parameters.get("syn_source")
        written = pl.col("origin").eq_missing(pl.lit("synthetic"))
        if source is None or frame.filter(written).is_empty():
            return frame
        if frame.filter(written & (pl.col("source") == source)).is_empty():
            known = sorted(set(frame.filter(written)["source"]))
            raise InputError(
                f"layout.parameters.syn_source is {source}; self-generated text comes of {', '.join(known)}"
            )
        return frame.filter(~written | (pl.col("source") == source))


def read_inputs(index: Index) -> Inputs:
    """Read what an index names.

    Raises:
        InputError: a file is missing or malformed, or scores are of other samples.
    """
    check_scores(index)
    return Inputs(
        index,
        collect(index.runs),
        read_scores(index.scores),
        read_similarity(index.similarity),
        read_contamination(index.contamination),
        {(p.kind, p.name): read_sidecar(p.path) for p in index.provenance},
        shared_rows(index.runs),
    )


def shared_rows(runs: Sequence[Run]) -> dict[Text, float]:
    """Of each text that has several sets, the share of rows that two of them have in common, on average.

    Raises:
        InputError: a set is missing or malformed.
    """
    sets: dict[Text, dict[str, Path]] = {}
    for run in runs:
        if run.calibration is not None and run.source is not None and run.origin is not None:
            text = Text(run.source, run.origin, run.samples, run.prefix_length, run.drop)
            sets.setdefault(text, {})[run.calibration] = Path(run.calibration)
    return {text: shared_share(list(found.values())) for text, found in sets.items() if len(found) > 1}


def read_sidecar(path: str) -> dict[str, Any]:
    """A provenance sidecar.

    Raises:
        InputError: it is missing, or not an object.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds {type(content).__name__}; a provenance sidecar is an object")
    return content


def gathered(index: Index, parts: Sequence[tuple[str, Index]]) -> Index:
    """The index with the scores, samples, similarities and sidecars of its targets, each once.

    Args:
        index: that of all targets.
        parts: the file and content of each target's index.

    Raises:
        InputError: a target has a run that the index has not.
    """
    known = {run.key for run in index.runs}
    for file, part in parts:
        missing = [run for run in part.runs if run.key not in known]
        if missing:
            raise InputError(f"{file}: has {missing[0].label}, which the index of all targets lacks")
    lists: dict[str, Any] = {
        name: tuple(dict.fromkeys(entry for each in (index, *(p for _, p in parts)) for entry in getattr(each, name)))
        for name in ("scores", "samples", "similarity", "provenance")
    }
    return replace(index, **lists)
