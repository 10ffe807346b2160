"""lm-eval's tasks, from the smallest index that knows them: reading its whole index takes 12 seconds."""

import functools

from lm_eval.tasks import TaskManager

from calibrant.study.task_names import declared, folder, root


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
