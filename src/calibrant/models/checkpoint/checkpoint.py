"""A model on disk, opened once: what is handed on in place of its path."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from calibrant.models.checkpoint.checkpoint_config import checkpoint_dtype, load_config
from calibrant.models.checkpoint.checkpoint_files import (
    fingerprint,
    model_id,
    resolve,
    tokenizer_sha256,
    weight_files,
)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A model's folder and its configuration, with what identifies the model.

    Hashes are taken when they are first asked for, and once: a model's files are not expected to change
    while it is open.

    path: the folder, with config.json in it.
    config: the transformers configuration. It is shared, so whoever changes it makes a copy first.
    """

    path: Path
    config: Any

    @property
    def text_config(self) -> Any:
        """The configuration of the part that reads and writes text; the whole configuration for most models."""
        return self.config.get_text_config()

    @property
    def vocabulary(self) -> int:
        """The number of tokens that the model has embeddings for."""
        return int(self.text_config.vocab_size)

    @property
    def positions(self) -> int | None:
        """The longest sequence in tokens; None where the configuration names no limit."""
        found = getattr(self.text_config, "max_position_embeddings", None)
        return None if found is None else int(found)

    @property
    def dtype(self) -> torch.dtype | None:
        """The number format of the weights by the configuration; None where it names none."""
        return checkpoint_dtype(self.config)

    @property
    def weight_files(self) -> list[Path]:
        """The safetensors shards, sorted by name.

        Raises:
            InputError: there is none.
        """
        return weight_files(self.path)

    @cached_property
    def id(self) -> str:
        """What metadata calls the model (`checkpoint_files.model_id`); never a machine's path."""
        return model_id(self.path)

    @cached_property
    def sha256(self) -> str:
        """Hash of the configuration and the weights (`checkpoint_files.fingerprint`).

        Raises:
            InputError: there are no weights in safetensors.
        """
        return fingerprint(self.path)

    @cached_property
    def tokenizer_sha256(self) -> str:
        """Hash of the tokenizer's files.

        Raises:
            InputError: there is no tokenizer.
        """
        return tokenizer_sha256(self.path)


def open_checkpoint(model: str | Path) -> Checkpoint:
    """Find a model and read its configuration; weights and tokenizer are not read.

    Args:
        model: a model folder or hub id.

    Raises:
        InputError: there is no such model, or its configuration cannot be used.
    """
    path = resolve(model)
    return Checkpoint(path, load_config(path))


def as_checkpoint(model: str | Path | Checkpoint) -> Checkpoint:
    """A checkpoint as it is; a model folder or hub id opened.

    Raises:
        InputError: as `open_checkpoint`.
    """
    return model if isinstance(model, Checkpoint) else open_checkpoint(model)
