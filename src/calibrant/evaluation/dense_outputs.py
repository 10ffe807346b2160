"""The file of the dense model's outputs on what judges: made once, read by the evaluation of every compressed model.

Of a text it holds what the output head was given at each predicting position. Any chunk of logits can be made of it
again, and it is small: of SmolLM2-135M 2 kB a token, where logits are 200 kB. Of a task it holds the answers.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from calibrant.artefacts.metadata_forms import keys, listed, named, sha256, text
from calibrant.artefacts.tensor_files import TensorFile, write_tensors
from calibrant.errors import InputError
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
        "tasks": named(listed(text)),
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
        rows: digests of the files of rows that the answers are to.
    """

    texts: dict[str, DenseText] = field(default_factory=dict)
    windows: dict[str, str] = field(default_factory=dict)
    answers: dict[tuple[str, str], ItemAnswers] = field(default_factory=dict)
    rows: dict[str, str] = field(default_factory=dict)

    def text(self, name: str, windows: Windows) -> DenseText:
        """Of a text that was cut into these windows.

        Raises:
            InputError: the text is not among them, or was cut otherwise.
        """
        if name not in self.texts:
            raise InputError(f"--dense: has no text {name}; it has {', '.join(self.texts) or 'none'}")
        if self.windows[name] != windows_sha256(windows):
            raise InputError(
                f"--dense: text {name} was read otherwise when the dense model was evaluated; give the same file, "
                "--length, --text-tokens, --document-tokens, --text-average and --bos"
            )
        return self.texts[name]

    def check_rows(self, rows: Mapping[str, str]) -> None:
        """Refuse rows other than those that the dense model answered.

        Raises:
            InputError: a file of rows has another digest.
        """
        for name in sorted(rows):
            if self.rows.get(name, rows[name]) != rows[name]:
                raise InputError(f"--dense: {name} has changed since the dense model was evaluated; do that once more")


def windows_sha256(windows: Windows) -> str:
    """Digest of the tokens that are given and predicted."""
    asked = [[request.inputs, len(request.targets), request.targets[-1]] for request in windows.requests]
    return hashlib.sha256(json.dumps(asked, separators=(",", ":")).encode()).hexdigest()


def write_dense_outputs(path: str | Path, outputs: DenseOutputs, record: Mapping[str, Any]) -> None:
    """Write the outputs; `record` says of which model and rows they are (model, model_sha256, dtype, inputs)."""
    tensors: dict[str, Tensor] = {}
    for name, found in outputs.texts.items():
        parts = (found.hidden, found.own.loss, found.own.partition, found.own.top)
        tensors |= {f"text/{name}/{part}": tensor for part, tensor in zip(PARTS, parts, strict=True)}
    tasks: dict[str, list[str]] = {}
    for (task, metric), answers in outputs.answers.items():
        if answers.answers is not None:
            tensors[f"task/{task}/{metric}"] = torch.tensor(answers.answers, dtype=torch.int64)
            tasks.setdefault(task, []).append(metric)
    described = {"library_version": __version__, **record, "stage": STAGE, "texts": outputs.windows, "tasks": tasks}
    write_tensors(path, tensors, described)


def read_dense_outputs(path: str | Path, model_sha256: str, dtype: str) -> DenseOutputs:
    """Read the outputs of a model's dense form.

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
    found = DenseOutputs(windows=dict(file.metadata["texts"]), rows=dict(file.metadata["inputs"]))
    for name in found.windows:
        hidden, loss, partition, top = (file.get(f"text/{name}/{part}", finite=part != "top") for part in PARTS)
        found.texts[name] = DenseText(hidden, OwnSide(loss, partition, top))
    for task, metrics in file.metadata["tasks"].items():
        for metric in metrics:
            answers = file.get(f"task/{task}/{metric}").tolist()
            items = [f"{task} {number}" for number in range(len(answers))]
            found.answers[task, metric] = ItemAnswers(task, metric, items, [], answers)
    return found
