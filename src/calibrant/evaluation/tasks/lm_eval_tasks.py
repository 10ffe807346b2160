"""lm-eval's tasks by name, over rows from the hub or from local files.

A published task is lm-eval's own: with local rows, only the rows are replaced (through lm-eval's
`custom_dataset` hook), never prompt, metric, version or few-shot rule. A name that lm-eval does not know is a task
of one's own if its rows have `context`, `choices` and `label`.
"""

import contextlib
import difflib
import functools
import logging
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
from lm_eval.api.group import Group
from lm_eval.api.task import ConfigurableTask
from lm_eval.tasks import TaskManager
from lm_eval.utils import env as templates

from calibrant.errors import InputError
from calibrant.evaluation.tasks import task_index
from calibrant.evaluation.tasks.row_folder import RowFolder, check_choice_rows
from calibrant.sources.table_rows import Row
from calibrant.study.task_names import FOLDERS, declared, folder

FEWSHOT_DEFAULTS = {"mmlu": 5}  # paper, section 3; every other task 0
FEWSHOT_SEED = 1234  # lm-eval's own default
OWN_VERSION = "1.0"
FLAN = "mmlu_flan_n_shot_loglikelihood"  # other prompts over the rows of mmlu
INLINE_GROUP = {"group", "group_alias", "task", "aggregate_metric_list", "metadata"}  # a group inside a group
TRAIN, VALIDATION, TEST = "training_split", "validation_split", "test_split"


@dataclass(frozen=True)
class TaskSet:
    """What lm-eval's `evaluate` takes, and how to describe it.

    Attributes:
        tasks: lm-eval task by name; the members of groups too.
        groups: lm-eval group by name.
        fewshot: number of examples of each task.
    """

    tasks: dict[str, Any]
    groups: dict[str, Any]
    fewshot: dict[str, int]

    def as_lm_eval(self) -> dict[str, Any]:
        """For `lm_eval.evaluator.evaluate`, with the few-shot samplers back at their seed."""
        for task in self.tasks.values():
            task.set_fewshot_seed(seed=FEWSHOT_SEED)
        children = {name: group.child_names for name, group in self.groups.items()}
        return {"tasks": self.tasks, "groups": self.groups, "group_map": children}


def load_tasks(
    names: Sequence[str], data: RowFolder | None = None, fewshot: Mapping[str, int] | None = None
) -> TaskSet:
    """Load tasks and groups of tasks.

    Args:
        names: names as lm-eval registers them, or names of one's own with rows in `data`.
        data: local rows; every task must have its rows there. None: rows come from the hub.
        fewshot: number of examples by task or group; where absent, 5 for mmlu, the task's own number, else 0.

    Raises:
        InputError: an unknown name, missing or unusable rows, few-shot examples without a split to take them
            from, or a hub that cannot be reached.
    """
    shots = dict(fewshot or {})
    duplicates = {name for name in names if list(names).count(name) > 1}
    if duplicates:
        raise InputError(f"--tasks names {', '.join(sorted(duplicates))} more than once")
    loader = _Loader(data, shots)
    with undisturbed():
        items = [item for name in names for item in loader.load(name)]
    tasks: dict[str, Any] = {}
    groups: dict[str, Any] = {}
    for item in items:
        members = item.get_all_tasks() if isinstance(item, Group) else [item]
        if isinstance(item, Group):
            groups |= {group.name: group for group in [item, *item.get_all_groups()]}
        for task in members:
            if task.config.task in tasks:
                raise InputError(f"--tasks asks for {task.config.task} twice, alone and in a group")
            tasks[task.config.task] = task
    unused = sorted(set(shots) - loader.seen)
    if unused:
        raise InputError(f"--fewshot names {', '.join(unused)}, not among the tasks {', '.join(names)}")
    return TaskSet(tasks, groups, {name: int(task.config.num_fewshot) for name, task in tasks.items()})


class _Loader:
    def __init__(self, data: RowFolder | None, fewshot: Mapping[str, int]) -> None:
        self.data = data
        self.fewshot = fewshot
        self.seen: set[str] = set()

    def load(self, name: str) -> list[Any]:
        """The task, group, or tasks of a tag."""
        own = None if folder(name) else self._own_rows(name)
        if own is not None:
            self.seen.add(name)
            return [_own_task(name, own, self.data, self.fewshot.get(name, 0))]
        manager = task_index.manager(name)
        if manager is None:
            raise InputError(self._unknown(name))
        return self._build(name, manager, ())

    def _own_rows(self, name: str) -> Path | None:
        path = self.data.find(name, "test", variant=False) if self.data else None
        if path is None or self.data is None:
            return None
        return path if {"context", "choices", "label"} <= self.data.read(path)[0].keys() else None

    def _unknown(self, name: str) -> str:
        local = self.data.names() if self.data else []
        close = difflib.get_close_matches(name[:100], {*FOLDERS, *local, *declared()}, n=3)
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        if name.startswith("next_sentence_") and self.data:
            hint = f"; {self.data.path / f'{name}_test.jsonl'} is missing"
        elif name.startswith("next_sentence_"):
            hint = "; give the folder that holds its rows with --data"
        return f"task {name}: not known to lm-eval, and no rows of that name{hint}"

    def _build(self, name: str, manager: TaskManager, parents: tuple[str, ...]) -> list[Any]:
        entry = manager.task_index[name]
        lineage = (*parents, name)
        self.seen.update(lineage)
        config = entry.cfg or {}
        if entry.kind.name == "TAG":
            return [item for child in sorted(entry.tags) for item in self._build(child, manager, lineage)]
        if entry.kind.name == "GROUP":
            return [self._group(config, manager, lineage)]
        if config.get("output_type") not in ("multiple_choice", "loglikelihood", "loglikelihood_rolling"):
            raise InputError(f"task {name} generates text; only tasks scored by log-likelihood can be evaluated")
        shots = self._shots(lineage, config)
        overrides: dict[str, Any] = {"task": name}
        if self.data is not None:
            overrides |= _local(lineage, config, self.data, shots)
        task = _from_lm_eval(name, manager, overrides, hub=self.data is None)
        task.set_config(key="num_fewshot", value=shots)
        if callable(task.config.process_docs):
            task.set_config(key="process_docs", value=_once(task.config.process_docs))
        return [task]

    def _group(self, config: Mapping[str, Any], manager: TaskManager, lineage: tuple[str, ...]) -> Group:
        """A group of tasks and of groups, which may be described inside it (lm-eval's `mmlu_flan_n_shot_*`)."""
        children = config.get("task") or []
        group = Group.from_config(config)
        for child in children:
            if isinstance(child, str):
                for item in self._build(child, manager, lineage):
                    group.add(item)
            elif isinstance(child, Mapping) and set(child) <= INLINE_GROUP:
                name = f"{lineage[-1]}_{child['group']}".replace(" ", "_")  # `stem` alone would not say of what
                group.add(self._group({**child, "group": name}, manager, (*lineage, name)))
            else:
                raise InputError(f"group {lineage[-1]} redefines its tasks inline; name its tasks one by one instead")
        return group

    def _shots(self, lineage: tuple[str, ...], config: Mapping[str, Any]) -> int:
        for table in (self.fewshot, FEWSHOT_DEFAULTS):
            for name in reversed(lineage):
                if name in table:
                    return table[name]
        if folder(lineage[0]) == FOLDERS["mmlu"]:  # a subject or group of mmlu asked for alone
            return FEWSHOT_DEFAULTS["mmlu"]
        return int(config.get("num_fewshot") or 0)


def _from_lm_eval(name: str, manager: TaskManager, overrides: dict[str, Any], *, hub: bool) -> Any:
    # Only inside a group does lm-eval lay overrides over the registered task.
    spec = {"group": "calibrant", "task": [overrides]}
    try:
        return manager.load(spec)["tasks"][name]
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        if hub:
            raise InputError(
                f"task {name}: its rows cannot be had from the hub ({reason}); "
                f"with --data DIR they are read from DIR/{name}_<split>.jsonl"
            ) from error
        rows = next(iter(overrides["custom_dataset"]().values()))
        raise InputError(
            f"task {name}: its rows, with the columns {', '.join(rows.column_names)}, do not fit lm-eval's task "
            f"({type(error).__name__}: {reason})"
        ) from error


def _local(lineage: tuple[str, ...], config: Mapping[str, Any], data: RowFolder, shots: int) -> dict[str, Any]:
    """Overrides that give a registered task local rows, and no split that is not there."""
    name = lineage[-1]
    splits = {key: config.get(key) for key in (TRAIN, VALIDATION, TEST)}
    evaluated = splits[TEST] or splits[VALIDATION]
    if evaluated is None:
        raise InputError(f"task {name} has neither a test nor a validation split in lm-eval")
    fewshot_split = config.get("fewshot_split")
    examples = fewshot_split or splits[TRAIN] or splits[VALIDATION] or splits[TEST]
    wanted = {evaluated: "its questions", **({examples: f"its {shots} examples"} if shots else {})}
    found: dict[str, list[Row]] = {}
    for split, purpose in wanted.items():
        rows = _rows(lineage, str(config.get("dataset_name") or ""), split, data)
        if rows is None:
            others = f"; the folder has rows of {', '.join(data.names())}" if data.names() else ""
            raise InputError(
                f"task {name}: {data.path} has no {name}_{split}.jsonl[.gz] for {purpose} "
                f"(lm-eval takes them from the split {split}){others}"
            )
        found[split] = rows
    overrides: dict[str, Any] = {key: value if value in found else None for key, value in splits.items()}
    overrides["fewshot_split"] = fewshot_split if fewshot_split in found else None
    return overrides | {"custom_dataset": _fixed(found), "dataset_name": None}


def _rows(lineage: tuple[str, ...], subset: str, split: str, data: RowFolder) -> list[Row] | None:
    """Rows of a task: its own file, else the rows of its subject in the file of a group it belongs to."""
    path = data.find(lineage[-1], split)
    if path is not None:
        return data.read(path)
    of_mmlu = folder(lineage[-1]) == FOLDERS["mmlu"] or lineage[0] == FLAN
    groups = [*reversed(lineage[:-1]), *(["mmlu"] if of_mmlu else [])]
    for group in groups:
        path = data.find(group, split)
        if path is None:
            continue
        rows = [row for row in data.read(path) if row.get("subject") == subset]
        if not rows:
            raise InputError(f"{path}: has no row with the subject {subset!r}, which task {lineage[-1]} needs")
        return rows
    return None


def _fixed(rows: Mapping[str, list[Row]]) -> Callable[..., Any]:
    """A `custom_dataset` hook of lm-eval that returns rows already in memory."""
    splits: dict[str, Any] = {}

    def custom_dataset(**_: Any) -> Any:
        if not splits:
            splits.update({split: datasets.Dataset.from_list(found) for split, found in rows.items()})
        return datasets.DatasetDict(splits)

    return custom_dataset


def _once(process: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A task's `process_docs` that keeps its result: lm-eval asks for it five times in one evaluation."""
    done: list[tuple[Any, Any]] = []

    def process_docs(rows: Any) -> Any:
        for before, after in done:
            if before is rows:
                return after
        done.append((rows, process(rows)))
        return done[-1][1]

    return process_docs


def _own_task(name: str, path: Path, data: RowFolder | None, shots: int) -> Any:
    """A multiple-choice task over rows {"context", "choices", "label"}: the continuation is " " + choice."""
    assert data is not None
    rows = {"test": data.read(path)}
    if shots:
        examples = data.find(name, "train", variant=False)
        if examples is None:
            raise InputError(f"task {name}: {data.path} has no {name}_train.jsonl[.gz] for its {shots} examples")
        rows["train"] = data.read(examples)
        check_choice_rows(examples, rows["train"])
    check_choice_rows(path, rows["test"])
    columns = ("context", "choices", "label")
    metrics = [{"metric": metric, "aggregation": "mean", "higher_is_better": True} for metric in ("acc", "acc_norm")]
    return ConfigurableTask(
        config={
            "task": name,
            "custom_dataset": _fixed({k: [{c: row[c] for c in columns} for row in v] for k, v in rows.items()}),
            "output_type": "multiple_choice",
            "test_split": "test",
            "fewshot_split": "train" if shots else None,
            "doc_to_text": "context",
            "doc_to_choice": "choices",
            "doc_to_target": "label",
            "metric_list": metrics,
            "num_fewshot": shots,
            "metadata": {"version": OWN_VERSION},
        }
    )


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Calls of lm-eval without its side effects.

    No progress bars of `datasets`, no notices that rows come from a hook, and the global random generator as it was
    (lm-eval draws names for tasks from it). A template is compiled once, not once a document and example.
    """
    state = random.getstate()
    logger = logging.getLogger("lm_eval.api.task")
    level, shown = logger.level, datasets.is_progress_bar_enabled()
    logger.setLevel(logging.ERROR)
    datasets.disable_progress_bars()
    compile_template = templates.from_string
    templates.from_string = functools.cache(compile_template)
    try:
        yield
    finally:
        templates.from_string = compile_template
        random.setstate(state)
        logger.setLevel(level)
        if shown:
            datasets.enable_progress_bars()
