"""Variants beside the dense model: its outputs read from a file, or made of the first variant and written to one."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from calibrant.artefacts.digest import sha256_file
from calibrant.errors import InputError
from calibrant.evaluation.dense_outputs import DenseOutputs, read_dense_outputs, windows_sha256, write_dense_outputs
from calibrant.evaluation.likelihood.tree_scorer import Scorer
from calibrant.evaluation.measure_table import UnitMeasures
from calibrant.evaluation.task_measures import answer_measures, flip_rows
from calibrant.evaluation.tasks.item_answers import ItemAnswers
from calibrant.evaluation.tasks.lm_eval_tasks import TaskSet
from calibrant.evaluation.text_results import MeasuredText
from calibrant.models.checkpoint.checkpoint import Checkpoint
from calibrant.models.checkpoint.kept import kept_with
from calibrant.pruning.masks.mask_file import read_masks
from calibrant.pruning.masks.masked_model import find_weights

ResultRow = dict[str, Any]


class DenseComparison:
    """What variants are measured beside: the dense model's outputs, read from a file, or made of the first variant.

    Attributes:
        sha256: of the file of these outputs, once they are known.
    """

    def __init__(
        self,
        texts: Sequence[MeasuredText],
        checkpoint: Checkpoint,
        record: Mapping[str, Any],
        tasks: TaskSet,
        outputs: Path | None,
    ) -> None:
        rows = {name: digest for name, digest in record["inputs"].items() if name.startswith("data/")}
        dtype = record["settings"]["dtype"]
        self.record = {"model": checkpoint.id, "model_sha256": checkpoint.sha256, "dtype": dtype, "inputs": rows}
        self.fewshot = tasks.fewshot
        self.groups = {
            name: [task.config.task for task in group.get_all_tasks()] for name, group in tasks.groups.items()
        }
        self.texts, self.outputs = texts, outputs
        kept = kept_with(checkpoint)
        self.shelf = None if kept is None else kept.shelf
        self.known: DenseOutputs | None = None
        self.sha256: str | None = None

    def read(self, path: Path, items: Mapping[str, int]) -> None:
        """Read the dense model's outputs; `items` are asked of each task where the model chooses.

        Raises:
            InputError: an unusable file, or outputs of another model or on other texts and tasks.
        """
        names = [text.name for text in self.texts]
        self.known = read_dense_outputs(path, self.record["model_sha256"], self.record["dtype"], names)
        self.known.check_rows(self.record["inputs"])
        self.known.check_tasks(items, self.fewshot)
        for text in self.texts:
            text.dense = replace(self.known.text(text.name, text.windows), shelf=self.shelf)
        self.sha256 = sha256_file(path)

    def measure(self, scorer: Scorer, rows: list[ResultRow], answers: Sequence[ItemAnswers]) -> list[UnitMeasures]:
        """The measures of a variant; adds its result rows. The dense one's outputs are written where they are wanted.

        Raises:
            InputError: the dense model was asked otherwise.
        """
        write = self.outputs is not None and self.known is None
        try:
            units = answer_measures(answers, None if self.known is None else self.known.answers)
        except InputError as error:
            assert self.known is not None  # only answers to compare with are refused
            raise InputError(f"--dense {self.known.path}: {error}") from error
        rows += flip_rows(units, rows, self.groups)
        for text in self.texts:
            found = text.see_dense(scorer) if write else text.measure(scorer)
            rows += found[0]
            units += found[1]
        if write:
            self._write(answers)
        return units

    def _write(self, answers: Sequence[ItemAnswers]) -> None:
        """Write the outputs of the dense variant, which the next ones are measured beside."""
        assert self.outputs is not None
        made = DenseOutputs(
            answers={(each.task, each.metric): each for each in answers},
            fewshot=self.fewshot,
            path=str(self.outputs),
        )
        for text in self.texts:
            if text.dense is not None:
                made.texts[text.name], made.windows[text.name] = text.dense, windows_sha256(text.windows)
        write_dense_outputs(self.outputs, made, self.record)
        self.known, self.sha256 = made, sha256_file(self.outputs)


def check_head(scorer: Scorer, masks: str | Path | None) -> None:
    """Refuse masks of the output head, by hand: logits of the dense model are made with it, too."""
    head = next(scorer.head.parameters()).data_ptr()
    for name, weight in find_weights(scorer.model, read_masks(masks)).items() if masks is not None else ():
        if weight.data_ptr() == head:
            raise InputError(
                f"masks {masks}: change the output head ({name}), which the dense model's logits are made with; "
                "evaluate these without --dense and --outputs"
            )
