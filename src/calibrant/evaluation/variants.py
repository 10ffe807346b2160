"""Evaluate a model and its pruned variants: rows of task, metric and value, and a record of how they came about."""

import contextlib
import importlib.metadata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lm_eval.evaluator import evaluate as lm_eval_evaluate
from torch import nn
from tqdm import tqdm

from calibrant.artefacts.digest import sha256_file
from calibrant.calibration.documents import SEPARATOR
from calibrant.calibration.first_token import first_token
from calibrant.errors import InputError
from calibrant.evaluation.likelihood.tree_scorer import Scorer
from calibrant.evaluation.tasks.constant_answer import ACCURACIES, RightPositions, constant_accuracy, right_positions
from calibrant.evaluation.tasks.group_error import group_stderr
from calibrant.evaluation.tasks.lm_eval_model import TreeLM
from calibrant.evaluation.tasks.lm_eval_tasks import TaskSet, load_tasks, undisturbed
from calibrant.evaluation.tasks.row_folder import RowFolder
from calibrant.evaluation.text_perplexity import (
    Text,
    mean_perplexity,
    perplexity,
    read_documents_apart,
    read_text,
    text_name,
)
from calibrant.models.checkpoint.checkpoint import Checkpoint, as_checkpoint
from calibrant.models.checkpoint.loading import load_model, load_tokenizer
from calibrant.models.compute.devices import on_gpu
from calibrant.models.compute.number_formats import dtype_name
from calibrant.pruning.masks.mask_file import read_masks
from calibrant.pruning.masks.masked_model import apply_masks, check_model
from calibrant.settings.batches import evaluation_tokens_at_once
from calibrant.settings.stage_settings import EvaluateSettings

DEFAULT_LENGTH = 2048
TEXT_VERSION = "1.0"
LIBRARIES = ("datasets", "lm_eval", "torch", "transformers")

ResultRow = dict[str, Any]


@dataclass(frozen=True)
class Evaluation:
    """Results of one variant.

    Attributes:
        rows: task, metric, value, stderr, n, num_fewshot, task_version, split; of an accuracy also chance, what the
            best constant answer scores, None where there is none.
        record: model, masks, settings, versions, hashes: what the provenance sidecar holds.
    """

    rows: list[ResultRow]
    record: dict[str, Any]


def evaluate_many(
    model: str | Path | Checkpoint,
    masks: Sequence[str | Path | None],
    settings: EvaluateSettings,
    *,
    texts: Sequence[tuple[str | None, Path]] = (),
    data: Path | None = None,
) -> Iterator[Evaluation]:
    """Evaluate a model under each mask file in turn (None: the dense model), loading everything once.

    Every input is checked before the first forward pass. Where another variant follows, the weights that masks
    change are kept to be put back, which costs their size in memory.

    Args:
        model: hub id, local directory or opened checkpoint.
        masks: mask files of that model, in the order of the results.
        settings: what to evaluate, and how.
        texts: files whose perplexity to take, as (name or None, path).
        data: folder of local rows; None takes rows from the hub.

    Yields:
        One `Evaluation` for each entry of `masks`, as soon as it is done.

    Raises:
        InputError: nothing to evaluate, an unusable input, or masks of another model.
    """
    _check(settings, texts)
    checkpoint = as_checkpoint(model)
    checkpoint.check_weights()
    for file in masks:
        if file is not None:
            opened = read_masks(file)
            check_model(opened, checkpoint)
            # The updated weights of the first are compared when they are put in, which is before any work too.
            opened.check(weights=file != masks[0])
    rows = RowFolder(data) if data is not None else None
    tasks = load_tasks(settings.tasks, rows, settings.fewshot) if settings.tasks else TaskSet({}, {}, {})
    tokenizer = load_tokenizer(checkpoint)
    first = first_token(tokenizer, settings.bos, checkpoint.vocabulary)
    read = read_text if settings.text_average == "corpus" else read_documents_apart
    least = 2 if first is None else 1
    read_texts = [
        read(file, tokenizer, name=name, tokens=settings.text_tokens, least=least, **settings.reading)
        for name, file in texts
    ]
    right = right_positions(tasks, settings.limit)
    checkpoint.check_numbers()
    network = load_model(checkpoint, dtype=settings.dtype, device=settings.device)
    place = next(network.parameters()).device.type
    batch_tokens = settings.batch_tokens or evaluation_tokens_at_once(gpu=on_gpu(torch.device(place)))
    scorer = Scorer(network, batch_tokens=batch_tokens)
    lm = TreeLM(network, tokenizer, scorer)
    length = _window(settings.length, lm.max_length) if read_texts else None
    record = {
        "model": checkpoint.id,
        "model_sha256": checkpoint.sha256,
        "tokenizer_sha256": checkpoint.tokenizer_sha256,
        "settings": {
            "tasks": list(settings.tasks),
            "limit": settings.limit,
            "num_fewshot": tasks.fewshot,
            "texts": [text.name for text in read_texts],
            "text_tokens": settings.text_tokens,
            "text_average": settings.text_average,
            **settings.unusual_reading,
            "length": length,
            "bos": first is not None if read_texts else None,
            "separator": SEPARATOR if read_texts and settings.text_average == "corpus" else None,
            "dtype": dtype_name(next(network.parameters()).dtype),
            "device": place,
            "batch_tokens": batch_tokens,
            "shared_contexts": scorer.tree,
            "packed": scorer.packed,
        },
        "versions": {name: importlib.metadata.version(name) for name in LIBRARIES},
        "inputs": {
            **{f"data/{name}": digest for name, digest in sorted((rows.used if rows else {}).items())},
            **{f"texts/{text.name}": text.sha256 for text in read_texts},
        },
    }
    for index, file in enumerate(masks):
        with _masked(network, file, restore=index + 1 < len(masks)):
            found = task_rows(lm, tasks, settings.limit, right) if tasks.tasks else []
            found += [text_row(scorer, text, length or DEFAULT_LENGTH, first) for text in read_texts]
        yield Evaluation(found, {**record, "masks_sha256": None if file is None else sha256_file(file)})


def task_rows(
    lm: TreeLM, tasks: TaskSet, limit: int | None = None, right: Mapping[str, RightPositions | None] | None = None
) -> list[ResultRow]:
    """Run lm-eval on loaded tasks: rows of groups, then of tasks, each metric with lm-eval's standard error.

    Args:
        lm: the model.
        tasks: loaded tasks.
        limit: at most so many items of each task, from the start.
        right: `right_positions` of these tasks and limit, where several models are asked the same; None finds them.
    """
    right = right_positions(tasks, limit) if right is None else right
    # bootstrap_iters must not be 0, which turns off standard errors; those of means are in closed form anyway.
    with undisturbed():
        results = lm_eval_evaluate(lm, tasks.as_lm_eval(), limit=limit, log_samples=False, bootstrap_iters=1000)
    rows: list[ResultRow] = []
    for name in [*tasks.groups, *tasks.tasks]:
        found = results["results"].get(name) or results.get("groups", {}).get(name) or {}
        members = tasks.groups[name].get_all_tasks() if name in tasks.groups else [tasks.tasks[name]]
        shots = {tasks.fewshot[task.config.task] for task in members}
        splits = {task.config.test_split or task.config.validation_split for task in members}
        for key, value in found.items():
            metric, comma, kind = key.partition(",")
            if not comma or metric.endswith("_stderr"):
                continue
            stderr = found.get(f"{metric}_stderr,{kind}")
            if stderr in (None, "N/A") and name in tasks.groups:
                stderr = group_stderr(tasks.groups[name], metric, kind, results["results"])
            rows.append(
                {
                    "task": name,
                    "metric": metric if kind == "none" else key,
                    "value": float(value),
                    "stderr": None if stderr in (None, "N/A") else float(stderr),
                    "n": int(found["sample_len"]),
                    "num_fewshot": min(shots) if len(shots) == 1 else None,
                    "task_version": str(results["versions"][name]),
                    "split": "+".join(sorted(splits)),
                    **({"chance": constant_accuracy(name, metric, tasks, right)} if metric in ACCURACIES else {}),
                }
            )
    return rows


def text_row(scorer: Scorer, text: Text, length: int, first: int | None = None) -> ResultRow:
    """The perplexity of a text as a result row; `n` is the number of predicted tokens."""
    parts = [text.tokens] if text.documents is None else text.documents
    own = length - (first is not None)
    with tqdm(desc=text.name, total=sum(-(-len(p) // own) for p in parts), unit="window", disable=None) as bar:
        if text.documents is None:
            found = perplexity(scorer, text.tokens, length, bar.update, first=first)
        else:
            found = mean_perplexity(scorer, text.documents, length, bar.update, first=first)
    return {
        "task": text.name,
        "metric": "perplexity",
        "value": found.value,
        "stderr": found.stderr,
        "n": found.tokens,
        "num_fewshot": 0,
        "task_version": TEXT_VERSION,
        "split": "test",
    }


@contextlib.contextmanager
def _masked(model: nn.Module, masks: str | Path | None, *, restore: bool) -> Iterator[None]:
    """Masks in place inside the context; with `restore`, the dense weights are back after it."""
    if masks is None:
        yield
        return
    parameters = dict(model.named_parameters())
    names = [f"{name}.weight" for name in read_masks(masks).masks] if restore else []
    saved = {name: parameters[name].detach().clone() for name in names if name in parameters}
    apply_masks(model, masks)
    try:
        yield
    finally:
        with torch.no_grad():
            for name, weight in saved.items():
                parameters[name].copy_(weight)


def _check(settings: EvaluateSettings, texts: Sequence[tuple[str | None, Path]]) -> None:
    if not settings.tasks and not texts:
        raise InputError("nothing to evaluate: give --tasks, --text or both")
    names = [name or text_name(path) for name, path in texts]
    for name in names:
        if names.count(name) > 1 or name in settings.tasks:
            raise InputError(f"--text: two results would be called {name}; name one, as in --text other={name}.txt")


def _window(length: int | None, longest: int) -> int:
    if length is not None and length > longest:
        raise InputError(f"--length {length}: the model takes at most {longest} tokens")
    return length or min(DEFAULT_LENGTH, longest)
