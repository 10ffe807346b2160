"""The file of the dense model's outputs on what judges: made once, read by the evaluation of every compressed model.

Of a text it holds what the output head was given at each predicting position. Any chunk of logits can be made of it
again, and it is small: of SmolLM2-135M 2 kB a token, where logits are 200 kB. Of a task it holds the answers.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from calibrant.artefacts.metadata_forms import keys, named, sha256, text, whole
from calibrant.artefacts.tensor_files import TensorFile, write_tensors
from calibrant.errors import InputError, shown
from calibrant.evaluation.evaluated_text import Windows
from calibrant.evaluation.likelihood.token_measures import OwnSide
from calibrant.evaluation.tasks.item_answers import ItemAnswers
from calibrant.evaluation.text_measures import DenseText
from calibrant.version import __version__

WHAT = "dense outputs"
STAGE = "evaluate"
OUTPUTS = keys(
    {
        "texts": named(sha256),
        "tasks": named(keys({"num_fewshot": whole(), "asked": named(sha256)})),  # the digests by metric
        "inputs": named(sha256),
        "model_sha256": sha256,
        "dtype": text,
    },
    {"model": text, "library_version": text},
)
PARTS = ("hidden", "loss", "partition", "top")


@dataclass
class DenseOutputs:
    """The dense model's outputs.

    Attributes:
        texts: of each text, by its name.
        windows: digest of the windows that these are of.
        answers: of each task and metric.
        fewshot: examples in the prompts of each task.
        rows: digests of the files of rows that the answers are to.
        path: the file, as messages name it.
    """

    texts: dict[str, DenseText] = field(default_factory=dict)
    windows: dict[str, str] = field(default_factory=dict)
    answers: dict[tuple[str, str], ItemAnswers] = field(default_factory=dict)
    fewshot: dict[str, int] = field(default_factory=dict)
    rows: dict[str, str] = field(default_factory=dict)
    path: str = ""

    def text(self, name: str, windows: Windows) -> DenseText:
        """Of a text that was cut into these windows.

        Raises:
            InputError: the text is not among them, was cut otherwise, or has not one row for each predicted token.
        """
        if name not in self.texts:
            raise InputError(f"--dense {self.path}: has no text {name}; it has {_listed(self.windows)}")
        if self.windows[name] != windows_sha256(windows):
            raise InputError(
                f"--dense {self.path}: text {name} was read otherwise when the dense model was evaluated; give the "
                "same file, --length, --text-tokens, --document-tokens, --text-average and --bos"
            )
        found, wanted = self.texts[name], sum(windows.counts)
        for part, tensor in zip(PARTS, _parts(found), strict=True):
            if len(tensor) != wanted:
                raise InputError(
                    f"--dense {self.path}: text {name} has {len(tensor):,} rows of {part} for {wanted:,} tokens; "
                    "evaluate the dense model once more with --outputs"
                )
        return found

    def check_rows(self, rows: Mapping[str, str]) -> None:
        """Refuse rows other than those that the dense model answered.

        Raises:
            InputError: a file of rows has another digest.
        """
        for name in sorted(rows):
            if self.rows.get(name, rows[name]) != rows[name]:
                raise InputError(
                    f"--dense {self.path}: {name} has changed since the dense model was evaluated; do that once more"
                )

    def check_tasks(self, items: Mapping[str, int], fewshot: Mapping[str, int]) -> None:
        """Refuse, before any work, tasks that the dense model did not answer, or not so.

        Args:
            items: how many items of a task are asked, of those where the model chooses.
            fewshot: examples in the prompts of every task.

        Raises:
            InputError: a task is not among the answers, or has another number of items or examples.
        """
        answered = {task: len(found.items) for (task, _), found in self.answers.items()}
        for task, examples in fewshot.items():
            if task not in self.fewshot:
                raise InputError(
                    f"--dense {self.path}: has no answers to {task}; it has {_listed(self.fewshot)}; evaluate the "
                    "dense model on it"
                )
            if self.fewshot[task] != examples:
                raise InputError(
                    f"--dense {self.path}: {task} was answered with {self.fewshot[task]} examples in the prompt, and "
                    f"has {examples} now; give the same --fewshot"
                )
            if task in answered and answered[task] != items.get(task, answered[task]):
                raise InputError(
                    f"--dense {self.path}: has answers to {answered[task]:,} items of {task}, and {items[task]:,} are "
                    "asked; give the same rows and --limit"
                )


def _parts(found: DenseText) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """In the order of `PARTS`."""
    return found.hidden, found.own.loss, found.own.partition, found.own.top


def _listed(names: Collection[str]) -> str:
    return shown(", ".join(names)) or "none"


def windows_sha256(windows: Windows) -> str:
    """Digest of the tokens that are given and predicted."""
    asked = [[request.inputs, len(request.targets), request.targets[-1]] for request in windows.requests]
    return hashlib.sha256(json.dumps(asked, separators=(",", ":")).encode()).hexdigest()


def write_dense_outputs(path: str | Path, outputs: DenseOutputs, record: Mapping[str, Any]) -> None:
    """Write the outputs; `record` says of which model and rows they are (model, model_sha256, dtype, inputs)."""
    tensors: dict[str, Tensor] = {}
    for name, found in outputs.texts.items():
        tensors |= {f"text/{name}/{part}": tensor for part, tensor in zip(PARTS, _parts(found), strict=True)}
    tasks: dict[str, Any] = {name: {"num_fewshot": n, "asked": {}} for name, n in outputs.fewshot.items()}
    for (task, metric), answers in outputs.answers.items():
        if answers.answers is not None:
            tensors[f"task/{task}/{metric}"] = torch.tensor(answers.answers, dtype=torch.int64)
            tasks[task]["asked"][metric] = answers.asked
    described = {"library_version": __version__, **record, "stage": STAGE, "texts": outputs.windows, "tasks": tasks}
    write_tensors(path, tensors, described)


def read_dense_outputs(path: str | Path, model_sha256: str, dtype: str, texts: Collection[str]) -> DenseOutputs:
    """Read the outputs of a model's dense form: of these texts, as far as they are there, and of all tasks.

    Raises:
        InputError: missing, damaged, another model's, or in another number format.
    """
    file = TensorFile(path, WHAT, OUTPUTS, STAGE)
    for key, expected in (("model_sha256", model_sha256), ("dtype", dtype)):
        if file.metadata[key] != expected:
            raise InputError(
                f"{WHAT} {path}: {key} is {file.metadata[key]}, and that of the model is {expected}; evaluate the "
                "dense model once more with --outputs"
            )
    windows, rows, tasks = (dict(file.metadata[key]) for key in ("texts", "inputs", "tasks"))
    fewshot = {task: about["num_fewshot"] for task, about in tasks.items()}
    found = DenseOutputs(windows=windows, fewshot=fewshot, rows=rows, path=shown(path))
    for name in (each for each in windows if each in texts):
        hidden, loss, partition, top = (file.get(f"text/{name}/{part}", finite=part != "top") for part in PARTS)
        found.texts[name] = DenseText(hidden, OwnSide(loss, partition, top))
    for task, about in tasks.items():
        for metric, asked in about["asked"].items():
            answers = file.get(f"task/{task}/{metric}").tolist()
            items = [f"{task} {number}" for number in range(len(answers))]
            found.answers[task, metric] = ItemAnswers(task, metric, items, [], answers, asked)
    return found
