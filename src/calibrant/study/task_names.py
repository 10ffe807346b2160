"""Which of lm-eval's 14,000 tasks there are and where, by its files alone: its own index takes 12 seconds."""

import functools
import importlib.util
import re
from pathlib import Path

# Where lm-eval keeps the paper's tasks. Looking there takes milliseconds.
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


@functools.cache
def root() -> Path:
    """The folder of lm-eval's task files; lm-eval is not imported, which takes seconds.

    Raises:
        ModuleNotFoundError: lm-eval is not installed.
    """
    found = importlib.util.find_spec("lm_eval")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("lm_eval is not installed; make sets it up from envs/requirements.txt")
    return Path(found.origin).parent / "tasks"


def folder(name: str) -> str | None:
    """lm-eval's folder of a well-known task."""
    if name in FOLDERS:
        return FOLDERS[name]
    path = root() / FOLDERS["mmlu"]
    subject = name.startswith("mmlu_") and any((path / f"{p}{name}.yaml").exists() for p in ("", "_"))
    return FOLDERS["mmlu"] if subject else None


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


def is_known(name: str) -> bool:
    """Whether lm-eval has a task, group or tag of this name."""
    return folder(name) is not None or name in declared()
