"""What every stage that runs a model does first: threads, and what `auto` is in its study."""

from dataclasses import replace
from typing import TypeVar

from calibrant.errors import InputError
from calibrant.settings.compute_settings import ComputeSettings

Chosen = TypeVar("Chosen", bound=ComputeSettings)


def prepared(settings: Chosen) -> Chosen:
    """Limit PyTorch to so many threads (0: leave its default), and put what `resolved` says into `dtype`.

    Results can depend on the number of threads and on the number format, so the workflow fixes both for a study.

    Raises:
        InputError: an explicit number format beside `resolved`, or a file that is none of ours.
    """
    if settings.resolved is not None:
        if settings.dtype != "auto":
            raise InputError(f"--resolved says what auto is, and --dtype is {settings.dtype}; give one of them")
        from calibrant.models.checkpoint.resolution import resolved_dtype

        settings = replace(settings, dtype=resolved_dtype(settings.resolved, settings.device), resolved=None)
    if settings.threads:
        import torch

        torch.set_num_threads(settings.threads)
    return settings
