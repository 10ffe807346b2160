"""A model on disk, opened once: what is handed on in place of its path."""

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from calibrant.errors import InputError
from calibrant.models.checkpoint.blueprint import Blueprint, draw_blueprint
from calibrant.models.checkpoint.checkpoint_config import checkpoint_dtype, load_config
from calibrant.models.checkpoint.checkpoint_files import combined_sha256, model_id, resolve, tokenizer_sha256
from calibrant.models.checkpoint.kept import kept_model
from calibrant.models.checkpoint.weight_bytes import hash_and_peaks
from calibrant.models.checkpoint.weight_files import stored_tensors, weight_files
from calibrant.models.checkpoint.weight_headers import StoredTensor
from calibrant.models.compute.number_formats import dtype_name

LARGEST = float(torch.finfo(torch.float32).max) ** 0.5  # of a weight: its square overflows beyond


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
    def position_table(self) -> int | None:
        """The longest sequence of a model that looks its positions up, as GPT-2 does; None where they are computed."""
        config = self.text_config
        rotary = getattr(config, "rope_parameters", None) is not None
        return None if rotary or getattr(config, "positional_embedding_type", None) == "rotary" else self.positions

    @property
    def dtype(self) -> torch.dtype | None:
        """The number format of the weights by the configuration; None where it names none."""
        return checkpoint_dtype(self.config)

    def check_length(self, where: str, tokens: int) -> None:
        """Refuse sequences of more tokens than the model can look positions up for.

        Raises:
            InputError: `where` heads the message.
        """
        if self.position_table is not None and tokens > self.position_table:
            raise InputError(
                f"{where}: sequences of {tokens} tokens, but {self.path} has {self.position_table} positions"
            )

    @cached_property
    def tensors(self) -> dict[str, StoredTensor]:
        """What the weights hold, by name, from the files' headers.

        Raises:
            InputError: there are no weights in safetensors, or they are damaged (`weight_files.stored_tensors`).
        """
        return stored_tensors(self.path)

    @cached_property
    def weight_files(self) -> list[Path]:
        """The safetensors files that are the weights, sorted by name.

        Raises:
            InputError: as `weight_files.weight_files`.
        """
        return weight_files(self.path)

    @cached_property
    def blueprint(self) -> Blueprint:
        """The model without its weights, and where they go. Made once; its making checks the weights.

        Raises:
            InputError: as `tensors`, or the weights are not those of the configuration (`blueprint.draw_blueprint`).
        """
        return draw_blueprint(self.path, self.config, self.tensors)

    def check_weights(self) -> None:
        """Compare the weights' headers with the configuration, before anything is read or computed.

        Raises:
            InputError: as `blueprint`.
        """
        self.blueprint  # noqa: B018

    @cached_property
    def id(self) -> str:
        """What metadata calls the model (`checkpoint_files.model_id`); never a machine's path."""
        return model_id(self.path)

    @cached_property
    def _read(self) -> tuple[str, dict[str, float]]:
        """The fingerprint, and the largest magnitude in every tensor that the model uses."""
        model, places = self.blueprint.model, self.blueprint.places
        parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
        hashes: dict[str, str] = {}
        peaks: dict[str, float] = {}
        for file in self.weight_files:
            inside = {name: tensor for name, tensor in self.tensors.items() if tensor.file == file}
            hashes[file.name], found = hash_and_peaks(file, inside)
            peaks |= found
        peaks = {name: peak for name, peak in peaks.items() if name in places and places[name].parameter in parameters}
        return combined_sha256(self.path, hashes), peaks

    @property
    def sha256(self) -> str:
        """Hash of the configuration and the weights (`checkpoint_files.fingerprint`).

        Every byte of the weights is read for it, and numbers that nothing can be computed with are found then.

        Raises:
            InputError: as `blueprint`, or a weight holds NaN, an infinity, or a number whose square is one.
        """
        self.check_numbers()
        return self._read[0]

    def check_numbers(self, dtype: torch.dtype = torch.float32) -> None:
        """Refuse weights that a number format cannot hold, or that cannot be computed with in any.

        Raises:
            InputError: naming the first such weight.
        """
        most = float(torch.finfo(dtype).max)
        for name, peak in self._read[1].items():
            where = f"model {self.path}: weight {name} holds"
            if math.isnan(peak) or math.isinf(peak):
                raise InputError(f"{where} numbers that are {'not a number' if math.isnan(peak) else 'infinite'}")
            if peak > LARGEST:
                raise InputError(f"{where} numbers as large as {peak:.3g}, with which every computation overflows")
            if peak > most:
                raise InputError(
                    f"{where} numbers as large as {peak:.6g}, and {dtype_name(dtype)} ends at {most:.6g}; use float32"
                )

    @cached_property
    def tokenizer_sha256(self) -> str:
        """Hash of the tokenizer's files.

        Raises:
            InputError: there is no tokenizer.
        """
        return tokenizer_sha256(self.path)


def open_checkpoint(model: str | Path) -> Checkpoint:
    """Find a model and read its configuration; weights and tokenizer are not read. A kept one is taken as it is.

    Args:
        model: a model folder, .gguf file or hub id.

    Raises:
        InputError: there is no such model, or its configuration cannot be used.
    """
    path = resolve(model)
    kept = kept_model(path)
    return kept.checkpoint if kept is not None else Checkpoint(path, load_config(path))


def as_checkpoint(model: str | Path | Checkpoint) -> Checkpoint:
    """A checkpoint as it is; a model folder, .gguf file or hub id opened.

    Raises:
        InputError: as `open_checkpoint`.
    """
    return model if isinstance(model, Checkpoint) else open_checkpoint(model)
