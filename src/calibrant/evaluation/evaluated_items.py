"""What a model is evaluated on as plain texts: the items of tasks and the documents of texts."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from calibrant.calibration.documents import read_documents
from calibrant.evaluation.evaluated_text import text_name
from calibrant.evaluation.tasks.lm_eval_tasks import TaskSet, undisturbed
from calibrant.scoring.item_contamination import Items


def task_items(tasks: TaskSet, limit: int | None = None) -> list[Items]:
    """The evaluated items of each task, of a group of tasks together: all texts of an item's row.

    Args:
        tasks: loaded tasks (`tasks.load_tasks`).
        limit: at most so many of each task, from the start, as in an evaluation.
    """
    group_of: dict[str, str] = {}
    for name, group in tasks.groups.items():  # the outermost group comes first
        for task in group.get_all_tasks():
            group_of.setdefault(task.config.task, name)
    found: dict[str, tuple[list[str], list[list[str]]]] = {}
    for name, task in tasks.tasks.items():
        names, texts = found.setdefault(group_of.get(name, name), ([], []))
        with undisturbed():
            rows = task.eval_docs
        for number, row in enumerate(rows):
            if limit is not None and number >= limit:
                break
            names.append(f"{name} {number}")
            texts.append(list(strings(row)))
    return [Items(name, "task", names, texts) for name, (names, texts) in found.items()]


def text_items(files: Sequence[tuple[str | None, Path]], **reading: Any) -> list[Items]:
    """The documents of each text, whole, as (name or None, file); `reading` says how files are read.

    Raises:
        InputError: a file is missing or unreadable.
    """
    found = []
    for name, path in files:
        documents = read_documents(path, **reading)
        found.append(Items(name or text_name(path), "text", documents.ids, [[text] for text in documents.texts]))
    return found


def strings(value: Any) -> Iterator[str]:
    """All texts within a row, in its order."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from strings(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from strings(each)
