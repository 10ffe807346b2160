"""Put masks into a model: zeros exactly where the mask says, updated weights where the method changed them."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from calibrant.errors import InputError
from calibrant.models.checkpoint.checkpoint import Checkpoint, as_checkpoint
from calibrant.models.checkpoint.key_map import KeyMap, ParameterPlace
from calibrant.models.checkpoint.loading import load_model
from calibrant.pruning.masks.mask_file import MaskFile, read_masks, zero_pruned


def apply_masks(model: nn.Module, masks_path: str | Path) -> None:
    """Zero the pruned weights of a loaded model in place; updated weights are copied in first.

    Raises:
        InputError: the masks name a linear layer that the model has not, or of another shape.
    """
    file = read_masks(masks_path)
    apply_to_weights(find_weights(model, file), file)


def apply_to_weights(weights: Mapping[str, Tensor], file: MaskFile) -> None:
    """Copy updated weights, where there are any, into {name: weight}, then zero what is pruned."""
    with torch.no_grad():
        for name, weight in weights.items():
            updated = file.weight(name)
            if updated is not None:
                weight.copy_(updated)
            if file.pruned and name in file.masks:
                zero_pruned(weight, file.masks[name])


def load_pruned_model(
    model: str | Path | Checkpoint, masks_path: str | Path | None = None, *, dtype: str = "auto", device: str = "auto"
) -> nn.Module:
    """Load a model and put masks into it; without masks, the dense model.

    Raises:
        InputError: as `models.checkpoint.loading.load_model`; or the masks were made for another model.
    """
    checkpoint = as_checkpoint(model)
    if masks_path is not None:
        check_model(read_masks(masks_path), checkpoint)
    loaded = load_model(checkpoint, dtype=dtype, device=device)
    if masks_path is not None:
        apply_masks(loaded, masks_path)
    return loaded


def check_model(file: MaskFile, checkpoint: Checkpoint) -> None:
    """Refuse masks of another model.

    Raises:
        InputError: the model hash in the masks' metadata is not this model's.
    """
    expected = file.metadata["model_sha256"]
    found = checkpoint.sha256
    if expected != found:
        raise InputError(
            f"masks {file.path}: made for model {file.metadata['model']} (sha256 {expected[:12]}...), "
            f"but {checkpoint.id} in {checkpoint.path} has sha256 {found[:12]}..."
        )


def find_weights(model: nn.Module, file: MaskFile, prefix: str = "") -> dict[str, Tensor]:
    """Views of the parameters that a mask file changes, of linears and rescaled modules, as the checkpoint has them.

    With `prefix`, only of the parameters whose names start with it.

    Raises:
        InputError: the model has no such linear layer, or one of another shape.
    """
    parameters = dict(model.named_parameters())
    shapes = file.weight_shapes
    views = {}
    for name, place in find_places(model, file, prefix).items():
        view = place.view(parameters[place.parameter].detach())
        expected = shapes[name]
        if list(view.shape) != expected:
            in_model, in_masks = (" x ".join(map(str, shape)) for shape in (view.shape, expected))
            raise InputError(f"masks {file.path}: {name} is {in_model} in the model, {in_masks} in the masks")
        views[name] = view
    return views


def find_places(model: nn.Module, file: MaskFile, prefix: str = "") -> dict[str, ParameterPlace]:
    """Where in the model the weight of every mask lies; `prefix` as for `find_weights`.

    Raises:
        InputError: the model has no such linear layer.
    """
    parameters = {name for name, _ in model.named_parameters()}
    keys: KeyMap | None = None
    places = {}
    for name in file.weight_shapes:
        place: ParameterPlace | None = ParameterPlace(f"{name}.weight")
        if f"{name}.weight" not in parameters:
            keys = keys or KeyMap(model)  # slow to make, and needed for experts only
            place = keys.of_linear(name)
        if place is None:
            raise InputError(f"masks {file.path}: the model has no {name}; the masks were made for another model")
        if place.parameter.startswith(prefix):
            places[name] = place
    return places
