"""Artefacts made by hand for tests, complete as the stages write them, and files that are nearly so."""

import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from calibrant.artefacts.contents import record
from calibrant.artefacts.digest import sha256_bytes

if TYPE_CHECKING:
    import torch

Parts = tuple[dict[str, Any], bytes]  # header and tensors of a safetensors file


def write_mask_file(
    path: Path,
    masks: Mapping[str, "torch.Tensor"],
    weights: Mapping[str, "torch.Tensor"] | None = None,
    **metadata: Any,
) -> Path:
    """Masks {linear's name: bool [rows, cols]} with all that a mask file records; `metadata` replaces some of it."""
    from calibrant.pruning.masks.mask_writing import write_masks

    pruned = {name: 1 - float(mask.float().mean()) for name, mask in masks.items()}
    whole = sum(share * masks[name].numel() for name, share in pruned.items()) / sum(m.numel() for m in masks.values())
    names = dict.fromkeys(".".join(name.split(".")[: 3 if name.startswith("model") else 2]) for name in masks)
    write_masks(path, masks, {**_described(list(names), pruned, whole), **metadata}, weights)
    return path


def write_small_masks(path: Path, achieved: float, **metadata: Any) -> Path:
    """A mask file of one weight that says it removes `achieved` of all, made without torch."""
    complete = {
        **_described(["layers.0"], {"layers.0.x": achieved}, achieved),
        "shapes": {"layers.0.x": [1, 1]},
        "weights_updated": False,
        "weights_sha256": None,
        **metadata,
    }
    body = b"\x80"
    written = json.dumps(record(complete, {"layers.0.x": sha256_bytes(b"U8:[1, 1]:" + body)}))
    tensor = {"dtype": "U8", "shape": [1, 1], "data_offsets": [0, 1]}
    return write_parts(path, {"__metadata__": {"calibrant": written}, "layers.0.x": tensor}, body)


def _described(layers: list[str], linears: Mapping[str, float], achieved: float) -> dict[str, Any]:
    asked = {"requested_sparsity": 0.5, "achieved_sparsity": achieved}
    return {
        "model": "tiny",
        "model_sha256": "0" * 64,
        "method": "by hand",
        "sparsity": "0.5",
        "layers": [{"name": name, "pattern": "0.5", **asked} for name in layers],
        "linears": dict(linears),
        **asked,
    }


def read_parts(path: Path) -> Parts:
    """The header and the tensors' bytes of a safetensors file."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def write_parts(path: Path, header: Mapping[str, Any], body: bytes) -> Path:
    """The inverse of `read_parts`."""
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    return path


def with_metadata(source: Path, target: Path, change: Callable[[Any], Any]) -> Path:
    """A copy of a safetensors file of ours with other metadata, and the digests that it had."""
    header, body = read_parts(source)
    header["__metadata__"]["calibrant"] = json.dumps(change(json.loads(header["__metadata__"]["calibrant"])))
    return write_parts(target, header, body)
