"""What a pruning stage starts from: a model opened for streaming and a calibration set, each with its identity."""

import logging
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from calibrant.artefacts.digest import sha256_file
from calibrant.calibration.sample_set import (
    bos_recorded,
    check_vocabulary,
    read_calibration_set,
    say_other_tokenizer,
)
from calibrant.models.checkpoint.checkpoint import Checkpoint, as_checkpoint
from calibrant.models.checkpoint.checkpoint_files import has_tokenizer
from calibrant.models.checkpoint.streaming import StreamedModel
from calibrant.models.compute.devices import choose_device
from calibrant.models.compute.number_formats import choose_number_format, dtype_name
from calibrant.pruning.methods.input_statistics import Kind

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inputs:
    """Token ids, int64 [sequences, tokens], of a calibration set, the hash of its file, and what it says of bos."""

    ids: Tensor
    sha256: str
    bos: dict[str, bool] = field(default_factory=dict)


def open_model(
    model: str | Path | Checkpoint,
    dtype: str,
    device: str,
    attention: str = "auto",
    products: str = "auto",
    kinds: Collection[Kind] = (),
) -> StreamedModel:
    """A model folder, hub id or checkpoint, opened without reading weights.

    Where Hessians are collected in float32, `auto` keeps PyTorch's own attention and products: SparseGPT's masks hang
    on the last bits of its inputs, and the published ones are made with these.

    Raises:
        InputError: it cannot be used, or an unknown dtype, device, attention or products.
    """
    checkpoint = as_checkpoint(model)
    place = choose_device(device)
    number_format = choose_number_format(dtype, checkpoint.dtype, place)
    number_format.say()
    if "hessian" in kinds and number_format.dtype == torch.float32:
        attention, products = ("sdpa" if attention == "auto" else attention), "plain"
    return StreamedModel(checkpoint, number_format.dtype, place, attention, products=products)


def read_inputs(calibration: str | Path, checkpoint: Checkpoint) -> Inputs:
    """A calibration set that fits the model's vocabulary.

    Raises:
        InputError: it cannot be read, or holds ids that the model has no embedding for, or sequences longer
            than its table of positions.
    """
    found = read_calibration_set(calibration)
    check_vocabulary(calibration, found, checkpoint.vocabulary)
    say_other_tokenizer(calibration, found, checkpoint.tokenizer_sha256 if has_tokenizer(checkpoint.path) else None)
    ids = found.input_ids
    checkpoint.check_length(str(calibration), ids.shape[1])
    if checkpoint.positions is not None and ids.shape[1] > checkpoint.positions:
        log.warning(
            "%s: sequences of %d tokens, but %s was made for %d positions",
            *(calibration, ids.shape[1], checkpoint.path, checkpoint.positions),
        )
    return Inputs(torch.from_numpy(ids), sha256_file(calibration), bos_recorded(found.metadata))


def identity(streamed: StreamedModel, inputs: Inputs | None) -> dict[str, Any]:
    """What tells one pair of model and calibration set from another; part of every artefact's metadata."""
    return {
        "model": streamed.checkpoint.id,
        "model_sha256": streamed.checkpoint.sha256,
        "calibration_sha256": inputs.sha256 if inputs else None,
        "sequences": inputs.ids.shape[0] if inputs else 0,
        "sequence_length": inputs.ids.shape[1] if inputs else 0,
        **(inputs.bos if inputs else {}),
        "dtype": dtype_name(streamed.dtype),
        "device": streamed.device.type,
        "attention": streamed.attention,
        "products": streamed.products,
    }
