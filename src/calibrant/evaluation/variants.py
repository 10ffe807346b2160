"""Evaluate a model and its pruned variants: rows of task, metric and value, and a record of how they came about."""

import contextlib
import importlib.metadata
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from calibrant.artefacts.digest import sha256_file
from calibrant.calibration.documents import SEPARATOR
from calibrant.calibration.first_token import first_token
from calibrant.errors import InputError
from calibrant.evaluation.dense_comparison import DenseComparison, check_head
from calibrant.evaluation.evaluated_text import Text, read_documents_apart, read_text, text_name
from calibrant.evaluation.likelihood.tree_scorer import Scorer
from calibrant.evaluation.measure_table import UnitMeasures
from calibrant.evaluation.tasks.constant_answer import right_positions
from calibrant.evaluation.tasks.item_answers import ItemAnswers
from calibrant.evaluation.tasks.lm_eval_model import TreeLM
from calibrant.evaluation.tasks.lm_eval_tasks import TaskSet, load_tasks
from calibrant.evaluation.tasks.row_folder import RowFolder
from calibrant.evaluation.tasks.task_results import task_rows
from calibrant.evaluation.text_results import MeasuredText, text_row
from calibrant.models.checkpoint.checkpoint import Checkpoint, as_checkpoint
from calibrant.models.checkpoint.loading import load_model, load_tokenizer
from calibrant.models.compute.devices import on_gpu
from calibrant.models.compute.number_formats import dtype_name
from calibrant.pruning.masks.mask_file import read_masks
from calibrant.pruning.masks.masked_model import apply_to_weights, check_model, find_weights
from calibrant.settings.batches import evaluation_tokens_at_once
from calibrant.settings.stage_settings import EvaluateSettings

DEFAULT_LENGTH = 2048
LIBRARIES = ("datasets", "lm_eval", "torch", "transformers")

ResultRow = dict[str, Any]


@dataclass(frozen=True)
class Evaluation:
    """Results of one variant.

    Attributes:
        rows: task, metric, value, stderr, n, num_fewshot, task_version, split; of an accuracy also chance, what the
            best constant answer scores, None where there is none.
        record: model, masks, settings, versions, hashes: what the provenance sidecar holds.
        measures: by document and item, where they were asked for.
    """

    rows: list[ResultRow]
    record: dict[str, Any]
    measures: list[UnitMeasures]


def evaluate_many(
    model: str | Path | Checkpoint,
    masks: Sequence[str | Path | None],
    settings: EvaluateSettings,
    *,
    texts: Sequence[tuple[str | None, Path]] = (),
    data: Path | None = None,
    dense: Path | None = None,
    outputs: Path | None = None,
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
        dense: outputs of the dense model, to measure beside.
        outputs: where to write those of the dense variant, which is the first then; the others are measured beside it.

    Yields:
        One `Evaluation` for each entry of `masks`, as soon as it is done.

    Raises:
        InputError: nothing to evaluate, an unusable input, or masks of another model.
        ValueError: outputs are to be written, and the first variant is not the dense one or `dense` is given, too.
    """
    if outputs is not None and (masks[0] is not None or dense is not None):
        raise ValueError("outputs are written of a dense variant that is the first, and beside no other")
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
    _check_names(texts, {*tasks.tasks, *tasks.groups})  # members of groups, too
    tokenizer = load_tokenizer(checkpoint)
    first = first_token(tokenizer, settings.bos, checkpoint.vocabulary)
    measured = settings.measures or dense is not None or outputs is not None
    read_texts = [_read(file, name, tokenizer, first, settings, measured) for name, file in texts]
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
            **({} if settings.document_tokens is None else {"document_tokens": settings.document_tokens}),
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
    if measured:
        apart = [
            MeasuredText(text, length or DEFAULT_LENGTH, first, settings.text_average, batch_tokens)
            for text in read_texts
        ]
        beside = DenseComparison(apart, checkpoint, record, tasks, outputs)
        for file in masks if dense is not None or outputs is not None else ():
            check_head(scorer, file)
        if dense is not None:
            beside.read(dense, {name: found.items for name, found in right.items() if found is not None})
    for index, file in enumerate(masks):
        with _masked(network, file, restore=index + 1 < len(masks)):
            answers: list[ItemAnswers] | None = [] if measured else None
            found = task_rows(lm, tasks, settings.limit, right, answers) if tasks.tasks else []
            units: list[UnitMeasures] = []
            about = {**record, "masks_sha256": None if file is None else sha256_file(file)}
            if answers is None:
                found += [
                    text_row(scorer, t, length or DEFAULT_LENGTH, first, settings.text_average) for t in read_texts
                ]
            else:
                about |= {} if beside.sha256 is None else {"dense_sha256": beside.sha256}
                units = beside.measure(scorer, found, answers)
        yield Evaluation(found, about, units)


def _read(
    file: Path, name: str | None, tokenizer: Any, first: int | None, settings: EvaluateSettings, measured: bool
) -> Text:
    least = 2 if first is None else 1
    how: dict[str, Any] = {"name": name, "tokens": settings.text_tokens, "least": least, **settings.reading}
    if settings.text_average == "corpus":
        return read_text(file, tokenizer, owned=measured, **how)
    return read_documents_apart(file, tokenizer, document_tokens=settings.document_tokens, **how)


@contextlib.contextmanager
def _masked(model: nn.Module, masks: str | Path | None, *, restore: bool) -> Iterator[None]:
    """Masks in place inside the context; with `restore`, the dense weights are back after it."""
    if masks is None:
        yield
        return
    file = read_masks(masks)
    weights = find_weights(model, file)  # also an expert's, which is part of a parameter
    saved = {name: weight.clone() for name, weight in weights.items()} if restore else {}
    apply_to_weights(weights, file)
    try:
        yield
    finally:
        for name, weight in saved.items():
            weights[name].copy_(weight)


def _check(settings: EvaluateSettings, texts: Sequence[tuple[str | None, Path]]) -> None:
    if not settings.tasks and not texts:
        raise InputError("nothing to evaluate: give --tasks, --text or both")
    _check_names(texts, settings.tasks)


def _check_names(texts: Sequence[tuple[str | None, Path]], tasks: Collection[str]) -> None:
    names = [name or text_name(path) for name, path in texts]
    for name in names:
        if names.count(name) > 1 or name in tasks:
            raise InputError(f"--text: two results would be called {name}; name one, as in --text other={name}.txt")


def _window(length: int | None, longest: int) -> int:
    if length is not None and length > longest:
        raise InputError(f"--length {length}: the model takes at most {longest} tokens")
    return length or min(DEFAULT_LENGTH, longest)
