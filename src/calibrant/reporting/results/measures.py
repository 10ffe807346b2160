"""What is measured: which metric stands for a task, its unit, its direction, and what guessing would score."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from calibrant.errors import InputError
from calibrant.reporting.results.index import Task
from calibrant.reporting.results.readable import default_label

# What the best constant answer scores on a whole evaluation split, where results do not record it for theirs: the
# most frequent place of the right choice (BoolQ: always "yes").
CHANCE = {
    "boolq": 2033 / 3270,
    "winogrande": 639 / 1267,
    "piqa": 928 / 1838,
    "hellaswag": 2584 / 10042,
    "arc_easy": 633 / 2376,
    "arc_challenge": 311 / 1172,
    "openbookqa": 1 / 4,
    "mmlu": 3776 / 14042,
}
AGGREGATES = ("mmlu", "mmlu_flan_n_shot_loglikelihood")  # in results with their parts
LABELS = {
    "boolq": "BoolQ",
    "winogrande": "WinoGrande",
    "piqa": "PIQA",
    "hellaswag": "HellaSwag",
    "arc_easy": "ARC-e",
    "arc_challenge": "ARC-c",
    "openbookqa": "OpenBookQA",
    "mmlu": "MMLU",
    "mmlu_flan_n_shot_loglikelihood": "MMLU (Flan prompts)",
}
NORMALISED = ("hellaswag",)  # the paper's numbers for it fit acc_norm only
EFFECT = {"perplexity": 0.02, "accuracy": 0.3}  # worth finding: 2 % of the perplexity, 0.3 percentage points
AVERAGE, AVERAGE_READABLE = "average", "average_above_chance"  # names of derived measures


@dataclass(frozen=True)
class Measure:
    """A column of results: one metric of one task, or an average over tasks.

    Attributes:
        task, metric: as in the results; averages have metric `mean`.
        label: what to call it.
        kind: `perplexity` (lower is better), `divergence` from the dense model (lower is better, in nats), `accuracy`
            (shown in %) or `average` (of accuracies, in %).
        decimals: decimal places of a shown value.
        chance: accuracy of guessing, between 0 and 1, where it is known.
        members: for averages, the (task, metric) pairs that enter.
        definition: of a perplexity, how the text is made and cut, where the study says it.
    """

    task: str
    metric: str
    label: str
    kind: str
    decimals: int
    chance: float | None = None
    members: tuple[tuple[str, str], ...] = ()
    definition: str = ""

    @property
    def key(self) -> str:
        """Name in CSV files: the task, and the metric when it is not the average."""
        return self.task if self.kind == "average" else f"{self.task}_{self.metric}"

    @property
    def scale(self) -> float:
        """What a stored value is multiplied with to be shown."""
        return 1.0 if self.lower_is_better else 100.0

    @property
    def lower_is_better(self) -> bool:
        """Whether a smaller value is a better model."""
        return self.kind in ("perplexity", "divergence")

    @property
    def unit(self) -> str:
        """`ppl` for perplexities, `nats` for divergences, `%` for accuracies."""
        return {"perplexity": "ppl", "divergence": "nats"}.get(self.kind, "%")

    def score(self, value: float) -> float:
        """A stored value as a score: an accuracy in per cent, or -100 ln(perplexity), likewise of a divergence.

        Of two scores the higher is the better model; a difference of 1 is one percentage point, or one per cent of the
        perplexity. The logarithm makes perplexities of different levels (50 % and 60 % sparsity) comparable.
        """
        return -100 * math.log(value) if self.lower_is_better else 100 * value

    @property
    def unit_of_scores(self) -> str:
        """Unit of a difference of scores."""
        return f"% of {self.kind}" if self.lower_is_better else "points"

    @property
    def name(self) -> str:
        """The measure within a sentence: `perplexity on fiction`, `accuracy on PIQA`, `mean accuracy`."""
        label = in_sentence(self.label)
        return {
            "perplexity": f"perplexity on {label}",
            "divergence": f"divergence from the dense model on {label}",
            "accuracy": f"accuracy on {self.label}",
            "average": label.replace(",", " on"),
        }[self.kind]


def find_measures(frame: pl.DataFrame, tasks: Sequence[Task] = ()) -> tuple[list[Measure], list[Measure]]:
    """The perplexities and the task accuracies of a result frame, each in the order of the report.

    One metric stands for each task: the one that the study names, else perplexity, else acc_norm for
    HellaSwag, else acc, else exact_match; all metrics stay in results.parquet. Subtasks of MMLU are left to
    its aggregate. Accuracies have two decimals when each task has 1,000 items or more, one otherwise: an item
    must weigh no more than the last decimal. Chance is the best constant answer to the evaluated items, where the
    results record it; else what the study says; else that of the task's whole split (`CHANCE`).

    Raises:
        InputError: the study names a metric that a task does not have, or a task has none that is known.
    """
    known = {task.name: task for task in tasks}
    found: dict[str, list[str]] = {}
    for task, metric in frame.select("task", "metric").unique(maintain_order=True).iter_rows():
        found.setdefault(task, []).append(metric)
    order = [name for name in known if name in found] + [name for name in found if name not in known]
    for whole in AGGREGATES:
        if whole in found:
            order = [name for name in order if name == whole or not name.startswith("mmlu_")]
    chosen = [(name, known.get(name, Task(name))) for name in order]
    metrics = {name: _choose_metric(name, task.metric, found[name]) for name, task in chosen}
    accuracies = [name for name in order if metrics[name] != "perplexity"]
    items = frame.filter(pl.col("task").is_in(accuracies))["n"].min()
    decimals = 2 if isinstance(items, int) and items >= 1000 else 1
    chances = frame.filter(pl.col("chance").is_not_null()).select("task", "metric", "chance").iter_rows()
    recorded = {task: chance for task, metric, chance in chances if metrics.get(task) == metric}
    all_measures = [
        Measure(
            name,
            metrics[name],
            task.label or LABELS.get(name, default_label(name)),
            "perplexity" if metrics[name] == "perplexity" else "accuracy",
            2 if metrics[name] == "perplexity" else decimals,
            recorded[name] if name in recorded else task.chance if task.chance is not None else chance_of(name),
            definition=task.definition or "",
        )
        for name, task in chosen
    ]
    return (
        [m for m in all_measures if m.kind == "perplexity"],
        [m for m in all_measures if m.kind == "accuracy"],
    )


def divergence_beside(text: Measure) -> Measure:
    """The Kullback-Leibler divergence from the dense model on a text, nats a token (`evaluate --dense`)."""
    return replace(text, metric="kl", kind="divergence", decimals=4)


def in_sentence(label: str) -> str:
    """A label within a sentence: `Fiction` -> `fiction`; names such as `C4` and `ARC-e` stay."""
    return label[:1].lower() + label[1:] if label[1:].islower() and label[1:2].isalpha() else label


def chance_of(task: str) -> float | None:
    """Accuracy of guessing on a known task (a subject of MMLU and a next-sentence task too), else None."""
    if task.startswith("next_sentence_"):
        return 1 / 4
    return CHANCE["mmlu"] if task.startswith("mmlu_") else CHANCE.get(task)


def error_of_guessing(chance: Any, n: Any) -> Any:
    """Standard error of the accuracy of guessing `n` items, numbers or columns (binomial).

    Where results have no error of their own: a mean of subjects with one item each (MMLU, one question of each).
    """
    return (chance * (1 - chance) / n) ** 0.5


def average_of(members: Sequence[Measure], name: str, label: str) -> Measure:
    """The average of accuracies, unweighted as in the paper's tables."""
    pairs = tuple((m.task, m.metric) for m in members)
    known = [m.chance for m in members if m.chance is not None]
    chance = sum(known) / len(known) if len(known) == len(members) else None
    return Measure(name, "mean", label, "average", max(m.decimals for m in members), chance, pairs)


def _choose_metric(task: str, wanted: str | None, available: Sequence[str]) -> str:
    if wanted is not None:
        if wanted not in available:
            raise InputError(f"task {task}: its results have no metric {wanted}; they have {', '.join(available)}")
        return wanted
    preferred = ("acc_norm", "acc") if task in NORMALISED else ("acc", "acc_norm")
    for metric in ("perplexity", *preferred, "exact_match"):
        if metric in available:
            return metric
    raise InputError(
        f"task {task}: none of its metrics ({', '.join(available)}) is perplexity, acc, acc_norm or exact_match; "
        "name the one to show under study.tasks"
    )
