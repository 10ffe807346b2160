"""The one setting that stands for a study which varies the number of samples, the prefix or the filter rate."""

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from calibrant.reporting.claims.evidence import Cell, Seeds, Setting, main_setting
from calibrant.reporting.index import Study
from calibrant.reporting.layouts.slices import Setting as Name

CELL = ["method", "sparsity", "source", "origin"]
NAMES: tuple[Name, ...] = ("samples", "prefix_length", "drop")


def varied(frame: pl.DataFrame) -> list[Name]:
    """Settings that differ between runs of one method, sparsity, source and origin, in the order of `NAMES`."""
    counts = frame.group_by(CELL).agg(pl.col(name).n_unique() for name in NAMES)
    return [name for name in NAMES if len(counts.filter(pl.col(name) > 1))]


def main_of(frame: pl.DataFrame) -> Setting:
    """What most runs have in common (`claims.evidence.main_setting`)."""
    cells: dict[Cell, Seeds] = {}
    for *key, seed in frame.select(*CELL, *NAMES, "seed").unique(maintain_order=True).iter_rows():
        cells.setdefault(Cell(*key), {})[seed] = 0.0
    return main_setting(cells)


def at_main(frame: pl.DataFrame, free: Sequence[Name] = ()) -> pl.DataFrame:
    """The runs at the main setting, and those without the settings; the `free` ones may have any value.

    A frame in which nothing varies comes back whole.
    """
    if not varied(frame):
        return frame
    main = main_of(frame)._asdict()
    kept = [pl.col(name).is_null() | (pl.col(name) == main[name]) for name in NAMES if name not in free]
    return frame.filter(*kept)


def note(frame: pl.DataFrame, study: Study) -> Study:
    """The study with a note of what it varies and which setting its tables show; the same where nothing varies."""
    names = varied(frame)
    if not names:
        return study
    words = {"samples": "the number of samples", "prefix_length": "the prefix length", "drop": "the filter rate"}
    text = (
        f"This study varies {' and '.join(words[name] for name in names)}. Findings and tables that do not name them "
        f"show its main setting: {in_words(main_of(frame))}. The paper's conclusions are judged by all runs."
    )
    return replace(study, notes=(*study.notes, text))


def in_words(main: Setting) -> str:
    """`128 samples, a prefix of 4 tokens, 20 % dropped`."""
    said = []
    if main.samples is not None:
        said.append(f"{main.samples} samples")
    if main.prefix_length is not None:
        said.append(f"a prefix of {main.prefix_length} tokens")
    if main.drop is not None:
        said.append(f"{100 * main.drop:.4g} % dropped")
    return ", ".join(said)
