"""The measurements of a race as it goes: of each candidate's sets, on what chooses and on what values the answer."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from calibrant.choice.entries import Entry
from calibrant.errors import InputError
from calibrant.evaluation.measure_table import SUFFIX, read_measures
from calibrant.race.losses import Losses, Purpose, read_losses
from calibrant.study.choose_section import judging_tasks
from calibrant.study.grid import Run
from calibrant.study.paths import StudyPaths

SELECTION, TEST = "selection", "test"
ALIKE = ("model_sha256", "dense_sha256", "settings", "inputs")  # the dense model itself lacks the second


class MeasuredSets:
    """Files of measures of one study, all of one model beside one file of dense outputs.

    Args:
        config: of the study, resolved.
        root: the folder that its paths are relative to.
    """

    def __init__(self, config: Mapping[str, Any], root: Path) -> None:
        self.config, self.root = config, root
        self.paths = StudyPaths(config["study"])
        chosen = config["choose"]
        self.purposes = [
            Purpose(name, measure_of(name, config), float(entry["weight"])) for name, entry in chosen["for"].items()
        ]
        self._tables: dict[str, pa.Table] = {}
        self._first: dict[str, tuple[str, dict[str, Any]]] = {}

    def table(self, run: Run, half: str) -> pa.Table:
        """Measures of a run on the selection or test half: of texts that half, of tasks its items.

        Raises:
            InputError: a file is missing or damaged, or of another model or dense outputs than the first.
        """
        evaluated = self._read(self.paths.evaluation(run))
        chosen = _half_of_items(evaluated, judging_tasks(self.config), half)
        if half == SELECTION:
            return chosen
        texts = self._read(self.paths.value(run))
        return pa.concat_tables([texts, chosen.filter(pa.compute.equal(chosen["kind"], "task"))])

    def losses(self, sets: Mapping[str, Entry], counts: Mapping[str, int]) -> Losses:
        """The losses of the first sets of each candidate, on the selection half."""
        return self.losses_of(
            {
                name: [entry.run(self.config, number) for number in range(counts[name])]
                for name, entry in sets.items()
                if counts.get(name)
            }
        )

    def losses_of(
        self, runs: Mapping[str, Sequence[Run]], half: str = SELECTION, purposes: Sequence[Purpose] | None = None
    ) -> Losses:
        """The losses of runs, by any name; for the study's purposes, or for others that were measured with them."""
        tables = {name: [self.table(run, half) for run in each] for name, each in runs.items()}
        return read_losses(tables, self.purposes if purposes is None else purposes)

    def record(self, run: Run) -> dict[str, Any]:
        """The metadata of a run's measures."""
        return read_measures(self._measures(self.paths.evaluation(run)))[1]

    def _measures(self, results: str) -> Path:
        return (self.root / results).with_suffix(SUFFIX)

    def _read(self, results: str) -> pa.Table:
        if results in self._tables:
            return self._tables[results]
        path = self._measures(results)
        table, record = read_measures(path)
        kind = "value" if "/values/" in results else "evaluation"
        first, expected = self._first.setdefault(kind, (str(path), record))
        for key in ALIKE:
            if record.get(key) != expected.get(key) and None not in (record.get(key), expected.get(key)):
                raise InputError(
                    f"{path}: was measured with another {key} than {first}; the sets of one race are of one model, on "
                    "the same texts, beside the same dense outputs: remove both, and they are made anew"
                )
        self._tables[results] = table
        return table


def measure_of(name: str, config: Mapping[str, Any]) -> str:
    """What a text or task of the study is judged by: a text by no task's metric, a task not by a text's measure."""
    measure = str(config["choose"]["measure"])
    of_text = measure in ("kl", "perplexity", "agreement")
    if name in config["texts"]:
        return measure if of_text else "kl"
    return "acc" if of_text else measure


def _half_of_items(table: pa.Table, tasks: Sequence[str], half: str) -> pa.Table:
    """All rows of texts, and those of the items of tasks that lie in a half, by a hash of their number."""
    if not tasks:
        return table
    kinds, names, units = (table[name].to_pylist() for name in ("kind", "evaluation", "unit"))
    wanted = 0 if half == SELECTION else 1
    keep = [
        kind != "task" or hashlib.sha256(f"{name}\n{unit}".encode()).digest()[0] % 2 == wanted
        for kind, name, unit in zip(kinds, names, units, strict=True)
    ]
    return table.filter(pa.array(keep))
