"""Masks handed over: copied, with their updated weights, to a folder that may hold more."""

import shutil
from pathlib import Path

from calibrant.artefacts.atomic import atomic_path, write_json
from calibrant.artefacts.digest import sha256_file
from calibrant.artefacts.output_place import Place, check_places
from calibrant.artefacts.provenance import sidecar
from calibrant.pruning.masks.mask_file import read_masks, weights_path
from calibrant.version import __version__

MASKS = "masks.safetensors"


def mask_places(folder: Path, command: str = "choose") -> list[Place]:
    """Where `copy_masks` writes, for `check_places` before any work begins."""
    output = folder / MASKS
    record = sidecar(output)
    return [Place(path, command, sidecar=record) for path in (output, weights_path(output), record)]


def copy_masks(folder: Path, masks: Path, command: str = "choose") -> list[str]:
    """Write `masks.safetensors`, and `masks.weights.safetensors` where the method changed weights: byte for byte.

    What the same command wrote there before is replaced, and weights of earlier masks go. As `write_masks` does, the
    weights come first: masks that promise weights are never seen with none, or, after a kill, with others unnoticed.

    Args:
        folder: where to; it may hold other things.
        masks: the mask file; its weights are found beside it.
        command: which writes, as the sidecar has it.

    Returns:
        The names of what was written.

    Raises:
        InputError: the masks or their weights are not what they were made as, or something that this command did not
            write lies at one of the places.
    """
    output = folder / MASKS
    pairs = {output: masks, weights_path(output): weights_path(masks)}
    file = read_masks(masks)
    has_weights = weights_path(masks).is_file() and file.weights_updated
    check_places(mask_places(folder, command), list(pairs.values()) if has_weights else [masks])
    file.check(weights=True)
    record = {"stage": command, "masks_sha256": sha256_file(masks), "library_version": __version__}
    write_json(sidecar(output), record)  # first: files are never there without it
    if has_weights:
        _copy(weights_path(masks), weights_path(output))
    _copy(masks, output)
    if not has_weights:
        weights_path(output).unlink(missing_ok=True)
    return [path.name for path in pairs if path.exists()]


def _copy(source: Path, target: Path) -> None:
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)
