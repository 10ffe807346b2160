"""What a study's conclusions are read from: one outcome, the methods and targets that stand for it, its texts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import polars as pl

from calibrant.reporting.inference.contrasts import Contrast, Models, Texts, contrast, over_methods
from calibrant.reporting.results.cells import Text, is_ratio, sparsity_of
from calibrant.reporting.results.measures import EFFECT, Measure
from calibrant.reporting.results.samples import SCORES
from calibrant.reporting.results.study_results import StudyResults

HIGH_QUALITY = ("wikipedia",)  # sources that are taken for text of high quality, as in section 3.4


@dataclass(frozen=True)
class Scope:
    """A study of one model, read on one outcome.

    Attributes:
        data: its results; samples, prefix length and filter rate may vary.
        outcome: what scores measure.
        scores: Min-K%++ and perplexity of the texts (`samples.read_scores`).
        similarity: each source's similarity to the model's training data (`to_training`).
    """

    data: StudyResults
    outcome: Measure
    scores: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=SCORES))
    similarity: Mapping[str, float] = field(default_factory=dict)
    _texts: dict[Any, dict[str, Text]] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def training(self) -> Sequence[str]:
        """Sources that are the model's training data."""
        return self.data.study.trained_on

    @cached_property
    def sets(self) -> dict[tuple[str, str], int]:
        """The largest number of sets of a text, for each method and target that use data."""
        found: dict[tuple[str, str], int] = {}
        for cell in self.data.cells:
            if cell.source is not None and (n := len(self.data.items(cell, self.outcome))):
                key = (cell.method, cell.target)
                found[key] = max(n, found.get(key, 0))
        return found

    @cached_property
    def methods(self) -> list[str]:
        """Methods that use data; where some were run with two seeds or more, only these.

        A method that was tried once on some sources would weigh as much as the study's own in every mean.
        """
        run = [m for m in self.data.methods if any(method == m for method, _ in self.sets)]
        return [m for m in run if any(n > 1 for (method, _), n in self.sets.items() if method == m)] or run

    @cached_property
    def targets(self) -> list[str]:
        """Targets at which methods with data were run, in the order of `cells.in_order`."""
        return [t for t in self.data.targets if any(target == t for _, target in self.sets)]

    @property
    def sparsities(self) -> list[str]:
        """Those of them that only prune: the paper's conclusions are about these."""
        return [t for t in self.targets if sparsity_of(t)]

    def target(self, *preferred: str) -> str | None:
        """The study's main target: a sparsity where there is one (`sparsity`), else the harshest of the others."""
        return self._main(self.targets, preferred)

    def sparsity(self, *preferred: str) -> str | None:
        """The first of these that was run, else the harshest ratio, else the strictest pattern.

        Sparsities that were run with two seeds or more come before those that were not.
        """
        return self._main(self.sparsities, preferred)

    def _main(self, run: list[str], preferred: Sequence[str]) -> str | None:
        ratios, pruned = [t for t in run if is_ratio(t)], [t for t in run if sparsity_of(t)]
        order = [t for t in (*preferred, *reversed(ratios), *reversed(pruned), *reversed(run)) if t in run]
        repeated = {target for (_, target), n in self.sets.items() if n > 1}
        return next((t for t in order if t in repeated), order[0] if order else None)

    def methods_at(self, *targets: str) -> list[str]:
        """The methods that were run at all of these targets."""
        return [m for m in self.methods if all((m, t) in self.sets for t in targets)]

    def models(self, target: str, origin: str = "real") -> dict[tuple[str, str], float]:
        """The mean of the methods at a target that were run on texts of this origin, in the main setting.

        A study may run generated text with fewer methods than real text, as the paper's Table 3 does.
        """
        run = [m for m in self.methods_at(target) if self.texts({(m, target): 1.0}, origin)]
        return over_methods(run, target)

    def texts(self, models: Models, origin: str, **other: Any) -> dict[str, Text]:
        """The texts, by source, on which all these models were calibrated."""
        key = (*models, origin, *other.items())
        if key not in self._texts:  # asked again by many claims
            found = {s: self.data.text(s, origin, **other) for s in self.data.sources}
            self._texts[key] = {s: text for s, text in found.items() if models and self.complete(models, text)}
        return self._texts[key]

    def complete(self, models: Models, text: Text) -> bool:
        """Whether a text has a set on which all these models were calibrated."""
        each = [set(self.data.items(text.cell(*model), self.outcome)) for model in models]
        return bool(set.intersection(*each))

    def measure_of(self, contrast: Contrast) -> Measure:
        """The measure that a contrast is on; the outcome where it is none of the study's own."""
        return next((m for m in self.data.measures if m.key == contrast.question.measure), self.outcome)

    def contrast(self, models: Models, texts: Texts, label: str, **options: Any) -> Contrast | None:
        """A contrast on the outcome (`contrasts.contrast`)."""
        return contrast(self.data, self.outcome, models, texts, label, **options)


def effect_of(measure: Measure) -> float:
    """The smallest difference worth finding, in scores: 2 % of the perplexity, 0.3 points."""
    return 100 * EFFECT["perplexity"] if measure.kind == "perplexity" else EFFECT["accuracy"]


def to_training(similarity: pl.DataFrame | None, training: Sequence[str]) -> dict[str, float]:
    """Each source's largest Jaccard similarity to a source of training data: exact where that was computed.

    Rows of the first unit and n only, since word and character shingles do not compare.
    """
    found: dict[str, float] = {}
    if similarity is None or similarity.is_empty():
        return found
    kinds = similarity.select("unit", "n").rows()
    for row in similarity.iter_rows(named=True):
        if row["reference"] in training and row["source"] not in training and (row["unit"], row["n"]) == kinds[0]:
            value = row["jaccard"] if row["exact"] is None else row["exact"]
            found[row["source"]] = max(value, found.get(row["source"], 0.0))
    return found
