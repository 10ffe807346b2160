"""Which of lm-eval's 14,000 tasks there are and where, without reading them all: that takes lm-eval 12 seconds."""

import functools
import re
from pathlib import Path

import lm_eval.tasks
from lm_eval.tasks import TaskManager

# Where lm-eval keeps the paper's tasks. Reading these folders takes milliseconds; lm-eval's whole index, 12 seconds.
FOLDERS = {
    "piqa": "piqa",
    "arc_easy": "arc",
    "arc_challenge": "arc",
    "hellaswag": "hellaswag",
    "winogrande": "winogrande",
    "boolq": "super_glue/boolq",
    "mmlu": "mmlu/default",
    "mmlu_flan_n_shot_loglikelihood": "mmlu/flan_n_shot/loglikelihood",  # the authors' code
}


def folder(name: str) -> str | None:
    """lm-eval's folder of a well-known task."""
    if name in FOLDERS:
        return FOLDERS[name]
    path = root() / FOLDERS["mmlu"]
    subject = name.startswith("mmlu_") and any((path / f"{p}{name}.yaml").exists() for p in ("", "_"))
    return FOLDERS["mmlu"] if subject else None


def root() -> Path:
    """The folder of lm-eval's task files."""
    return Path(lm_eval.tasks.__file__).parent


def manager(name: str) -> TaskManager | None:
    """A task manager that knows `name`, from the smallest index that does."""
    known = folder(name)
    place = root() / known if known else declared().get(name)
    if place is None:
        return None
    found = TaskManager(include_defaults=False, include_path=place)
    entry = found.task_index.get(name)
    if entry is None or (not known and entry.kind.name in ("GROUP", "TAG")):
        found = everything()  # members may be anywhere
    return found if name in found.task_index else None


@functools.cache
def everything() -> TaskManager:
    """lm-eval's whole index."""
    return TaskManager()


@functools.cache
def declared() -> dict[str, Path]:
    """Every task, group and tag that lm-eval's files name, and the folder of the first file that does.

    Found by their lines alone: a tenth of the time of lm-eval's index.
    """
    line = re.compile(r"""^["']?(task|group|tag)["']?:[ ]*(.*(?:\n\s*- .*)*)""", re.MULTILINE)
    tasks: dict[str, Path] = {}
    others: dict[str, Path] = {}
    # Templates that others include have no suffix, or one of their own invention.
    files = (p for p in root().rglob("*") if p.suffix not in (".py", ".pyc", ".md", ".json") and p.is_file())
    for path in sorted(files):
        for kind, value in line.findall(path.read_text(encoding="utf-8", errors="replace")):
            for name in re.findall(r"[\w.:()-]*[\w)]", value):
                alone = kind == "task" and "\n" not in value
                (tasks if alone else others).setdefault(name, path.parent)
    return others | tasks
