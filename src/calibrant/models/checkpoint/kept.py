"""A model that was opened in the process that this one was forked from: its stage takes that in place of its own.

Whoever forks children for many jobs of one model opens, hashes and loads it once (`keeping`). What is taken
here is what a stage would make itself, to the bit; where the name, the folder that it is read from, or any file of the
model is another, nothing is.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from calibrant.models.checkpoint.checkpoint_files import Identities, file_identities
from calibrant.models.compute.shelf import Shelf


@dataclass
class KeptModel:
    """An opened model, and what has been made of it.

    Attributes:
        name: of the model's folder, as the jobs give it, since messages name it so.
        place: the working folder that the name is read from.
        files: what the model's files were when it was opened.
        checkpoint: the opened model.
        tokenizer: its tokenizer; None where jobs load it themselves.
        networks: the whole model by its number format, on the CPU. A process takes one once: it may change it.
        shelf: room for what jobs compute alike with one of these networks.
        empty: the model without weights by the number format that it is built for, as `streaming` builds it.
    """

    name: str
    place: Path
    files: Identities
    checkpoint: Any
    tokenizer: Any = None
    networks: dict[torch.dtype, nn.Module] = field(default_factory=dict)
    shelf: Shelf | None = None
    empty: dict[torch.dtype, Any] = field(default_factory=dict)


_kept: list[KeptModel] = []  # the one, once there is one


def keep(kept: KeptModel | None) -> None:
    """Let this process, and those that are forked from it, take a model in place of opening it; None: no longer."""
    _kept[:] = [] if kept is None else [kept]


def kept_model(path: Path) -> KeptModel | None:
    """The model that is kept under this name, if its files are still the same."""
    for kept in _kept:
        if str(path) == kept.name and Path.cwd() == kept.place and file_identities(path) == kept.files:
            return kept
    return None


def kept_with(checkpoint: Any) -> KeptModel | None:
    """What is kept of an opened model."""
    return next((kept for kept in _kept if kept.checkpoint is checkpoint), None)
