"""What a model answered to each item of each task, read from the samples that lm-eval logs.

An accuracy is a mean over items. Its items can be drawn anew, and two models can be compared item by item: an item is a
*flip* where the two choose different answers, which may happen often where their accuracies are the same. Dutta et al.
2024 ("Accuracy is not all you need") call flips those from right to wrong and back, where `right` differs; here a
change from one wrong answer to another is one, too.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from lm_eval.api.metrics import mean
from lm_eval.api.task import ConfigurableTask

from calibrant.artefacts.digest import sha256_json
from calibrant.errors import InputError
from calibrant.evaluation.tasks.constant_answer import POSITIONAL
from calibrant.evaluation.tasks.lm_eval_tasks import TaskSet, undisturbed

Sample = Mapping[str, Any]
NAMED = 3  # how many items an error message names

# By metric, what lm-eval compares choices by: made of their log-likelihoods (nats) in and without the context.
CHOICES: dict[str, Callable[[Any, Any, Sequence[str]], Any]] = {
    "acc": lambda inside, alone, choices: inside,
    "acc_norm": lambda inside, alone, choices: inside / np.array([len(choice) for choice in choices]),
    "acc_bytes": lambda inside, alone, choices: inside / np.array([len(choice.encode()) for choice in choices]),
    "acc_mutual_info": lambda inside, alone, choices: inside - alone,
}


@dataclass(frozen=True)
class ItemAnswers:
    """The items of one task under one metric, in the order of the task's rows.

    Attributes:
        task: lm-eval task; members of a group stand by their own name.
        metric: as result rows call it, such as acc.
        items: names, as `evaluated_items.task_items` gives them.
        right: what the metric gives each item: 1.0 for a right answer and 0.0 for a wrong one, or a share where the
            task has rules of its own. Their sum by their number is the value that lm-eval gives the task.
        answers: position of the chosen choice among the item's choices, from 0; None where the metric is no choice
            among positions.
        asked: digest of what the model was given of each item: prompts with their examples, and choices.
    """

    task: str
    metric: str
    items: list[str]
    right: list[float]
    answers: list[int] | None
    asked: str = ""


def item_answers(tasks: TaskSet, samples: Mapping[str, Sequence[Sample]]) -> list[ItemAnswers]:
    """The answers to each task, under each of its metrics that is a mean over items.

    Args:
        tasks: the loaded tasks that were evaluated (`lm_eval_tasks.load_tasks`).
        samples: by task, what `lm_eval.evaluator.evaluate` returns as `samples` with `log_samples=True`.
    """
    with undisturbed():
        return [found for name, task in tasks.tasks.items() for found in _of_task(name, task, samples[name])]


def flips(dense: ItemAnswers, own: ItemAnswers) -> list[int]:
    """By item, 1 where two models choose different answers and 0 where they choose the same.

    Args:
        dense: answers of the dense model.
        own: answers of another one to the same items, under the same metric.

    Raises:
        InputError: tasks, metrics, items or prompts differ, or the metric is no choice among positions.
    """
    if (dense.task, dense.metric) != (own.task, own.metric):
        raise InputError(f"flips: {dense.task} {dense.metric} cannot be compared with {own.task} {own.metric}")
    if dense.items != own.items:
        raise InputError(f"flips: task {own.task}: {_difference(dense.items, own.items)}")
    if dense.asked != own.asked:
        raise InputError(f"flips: task {own.task}: its items were asked otherwise; give the same rows and --fewshot")
    if dense.answers is None or own.answers is None:
        raise InputError(f"flips: task {own.task}: {own.metric} is no choice among an item's choices")
    return [int(one != other) for one, other in zip(dense.answers, own.answers, strict=True)]


def _of_task(name: str, task: Any, samples: Sequence[Sample]) -> list[ItemAnswers]:
    found = []
    ordered = sorted(samples, key=lambda sample: sample["doc_id"])
    # A sample has the results of one filter (`none`, where a task names none), by document all metrics or some.
    columns = dict.fromkeys((metric, sample["filter"]) for sample in samples for metric in sample["metrics"])
    for metric, kind in columns:
        if task.aggregation().get(metric, mean) is not mean:
            continue  # the value is not a mean of what items have: perplexities, F1
        own = [sample for sample in ordered if sample["filter"] == kind and metric in sample["metrics"]]
        rule = CHOICES[metric] if metric in POSITIONAL and _by_lm_evals_rules(task) else None
        found.append(
            ItemAnswers(
                task=name,
                metric=metric if kind == "none" else f"{metric},{kind}",
                items=[f"{name} {sample['doc_id']}" for sample in own],
                right=[float(sample[metric]) for sample in own],
                answers=None if rule is None else [_answer(rule, task, sample) for sample in own],
                asked=sha256_json([sample["arguments"] for sample in own]),
            )
        )
    return found


def _by_lm_evals_rules(task: Any) -> bool:
    """Whether accuracies are about one of an item's choices.

    They are not where one text is scored (acc of lambada: greedy decoding gives it), and may mean anything where a task
    computes its own results (acc of truthfulqa_mc2: a share of probability).
    """
    own = callable(task.config.process_results) or type(task).process_results is not ConfigurableTask.process_results
    return task.OUTPUT_TYPE == "multiple_choice" and not own


def _answer(rule: Callable[..., Any], task: Any, sample: Sample) -> int:
    """The position that lm-eval takes, of equally good ones the first (`ConfigurableTask.process_results`).

    Responses stand in the order of choices, also where choices stand inside contexts (Winogrande); after them, where
    the task asks for acc_mutual_info, come those of the choices without a context.
    """
    choices = task.doc_to_choice(sample["doc"])
    values = np.array([value for value, _ in sample["filtered_resps"]], dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):  # an empty choice has length 0, for lm-eval too
        return int(np.argmax(rule(values[: len(choices)], values[len(choices) :], choices)))


def _difference(dense: Sequence[str], own: Sequence[str]) -> str:
    """How two lists of items differ, naming the first that do."""
    parts = [
        f"only {who} answered {_listed(lone)}"
        for who, items, others in (("the dense model", dense, set(own)), ("the other model", own, set(dense)))
        if (lone := [item for item in items if item not in others])
    ]
    # Without such items, one list has the other's in another order.
    return "; ".join(parts) or "the items come in another order, from {} on, in place of {}".format(
        *next((other, item) for item, other in zip(dense, own, strict=True) if item != other)
    )


def _listed(items: Sequence[str]) -> str:
    more = f" and {len(items) - NAMED:,} more" if len(items) > NAMED else ""
    return ", ".join(items[:NAMED]) + more
