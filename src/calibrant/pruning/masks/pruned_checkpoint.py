"""Write a pruned or quantized checkpoint in Hugging Face format, shard by shard, tensor by tensor, expert by expert."""

import shutil
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from calibrant.artefacts.atomic import atomic_directory, write_json
from calibrant.artefacts.card_text import CARD
from calibrant.artefacts.digest import sha256_file
from calibrant.artefacts.provenance import write_provenance
from calibrant.artefacts.tensor_files import DTYPES, Entries, stream_tensors
from calibrant.errors import InputError
from calibrant.models.checkpoint.checkpoint import Checkpoint, as_checkpoint
from calibrant.models.checkpoint.checkpoint_files import companion_files, read_raw_config
from calibrant.models.checkpoint.key_map import stored_in
from calibrant.models.checkpoint.streaming import StreamedModel
from calibrant.models.checkpoint.weight_files import INDEX
from calibrant.pruning.masks.compressed_form import METHOD, PackedLinears
from calibrant.pruning.masks.mask_file import MaskFile, read_masks, zero_pruned
from calibrant.pruning.masks.masked_model import check_model, find_places, find_weights

Names = dict[str, dict[int | None, str]]


def write_pruned_checkpoint(
    model: str | Path | Checkpoint, masks: str | Path, output: str | Path, card: str | None = None, form: str = "hf"
) -> None:
    """Copy a model directory with the masks' weights set to zero (and updated weights in their place).

    Tensors keep the checkpoint's names, shards and number format; one is in memory at a time, of a tensor that holds
    all experts one slice. `card` is written as README.md (`model_card.model_card`); the base model's own is not copied.
    In the form compressed-tensors, quantized linears are stored as their codes, and config.json says so.

    Args:
        model: the model that the masks were made for.
        masks: the mask file.
        output: the folder to write.
        card: its README.md.
        form: `hf` or `compressed-tensors`.

    Raises:
        InputError: the masks do not fit the model or the form, or the output is inside or above the model directory.
    """
    checkpoint = as_checkpoint(model)
    source = checkpoint.path
    target = Path(output)
    if target.resolve() == source.resolve():
        raise InputError(f"output {output}: is the model itself; give another folder")
    file = read_masks(masks)
    packed = PackedLinears(file) if form == METHOD else None
    check_model(file, checkpoint)
    file.check()
    streamed = StreamedModel(checkpoint, torch.bfloat16, torch.device("cpu"))
    names = _mask_of_each_key(streamed, file, packed)
    with atomic_directory(target) as folder:
        for other in companion_files(source):
            shutil.copyfile(other, folder / other.name)
        written = {
            shard.name: _write_shard(shard, folder / shard.name, file, names, packed)
            for shard in checkpoint.weight_files
        }
        if packed is not None:
            config = {**read_raw_config(source), "quantization_config": packed.config(streamed.model)}
            write_json(folder / "config.json", config)
            if (folder / INDEX).exists():
                _write_index(folder / INDEX, written)
        if card is not None:
            (folder / CARD).write_text(card, encoding="utf-8")
        write_provenance(
            folder,
            {
                "stage": "apply",
                "id": "-".join(str(file.metadata.get(key)) for key in ("model", "method", "sparsity")),
                "base_model": checkpoint.id,
                "base_model_sha256": checkpoint.sha256,
                "masks_sha256": sha256_file(masks),
                "achieved_sparsity": file.metadata.get("achieved_sparsity"),
                **({} if packed is None else {"format": form}),
            },
        )


def _mask_of_each_key(streamed: StreamedModel, file: MaskFile, packed: PackedLinears | None) -> Names:
    """Checkpoint key -> {its slice, None for all of it: the mask that prunes it}."""
    find_weights(streamed.model, file)  # refuses what does not fit
    names: Names = {}
    keys = {}
    places = find_places(streamed.model, file)
    for name, place in places.items():
        key, number = stored_in(place, streamed.places, streamed.sources[place.parameter])
        names.setdefault(key, {})[number] = name
        keys[name] = key
    if packed is not None:
        packed.check_places(streamed.model, places, keys)
    return names


def _write_shard(shard: Path, output: Path, file: MaskFile, names: Names, packed: PackedLinears | None) -> Entries:
    """Write a shard anew; returns what it holds."""
    with safe_open(shard, framework="pt") as source:
        slices = {key: source.get_slice(key) for key in source.keys()}  # noqa: SIM118 - safe_open is no mapping
        entries = {key: (piece.get_dtype(), piece.get_shape()) for key, piece in slices.items()}
        of_linear: dict[str, str] = {}  # a tensor of the form compressed-tensors -> its linear
        for key in list(entries):
            name = names.get(key, {}).get(None)
            if packed is not None and name is not None and name in packed.names:
                del entries[key]
                found = packed.entries(name)
                entries |= found
                of_linear |= dict.fromkeys(found, name)

        def read(key: str) -> Iterator[Tensor]:
            of_slices = names.get(key, {})
            if packed is not None and key in of_linear:
                yield packed.tensor(of_linear[key], key)
            elif None in of_slices or not of_slices:
                yield _pruned(source.get_tensor(key), file, of_slices.get(None))
            else:
                for number in range(entries[key][1][0]):
                    yield _pruned(slices[key][number], file, of_slices.get(number))[None]

        stream_tensors(output, entries, read, {"format": "pt", **(source.metadata() or {})})
    return entries


def _write_index(path: Path, written: Mapping[str, Entries]) -> None:
    sizes = (DTYPES[dtype].itemsize * prod(shape) for shard in written.values() for dtype, shape in shard.values())
    places = {key: shard for shard, entries in written.items() for key in entries}
    write_json(path, {"metadata": {"total_size": sum(sizes)}, "weight_map": dict(sorted(places.items()))})


def _pruned(tensor: Tensor, file: MaskFile, name: str | None) -> Tensor:
    """A weight of the checkpoint as the masks want it; the same where none is named."""
    if name is None:
        return tensor
    updated = file.weight(name)
    # A copy: pages of a mapped file that are written to stay in memory until the file is closed.
    tensor = (tensor if updated is None else updated).to(tensor.dtype, copy=True)
    if file.pruned and name in file.masks:
        zero_pruned(tensor, file.masks[name])
    return tensor
