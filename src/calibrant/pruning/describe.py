"""Plain-text descriptions of mask files, calibration sets and checkpoints, for people."""

from collections import Counter
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from calibrant.calibration.schema import read_samples
from calibrant.errors import InputError
from calibrant.models.load import fingerprint, model_id, resolve, weight_files
from calibrant.models.streaming import StreamedModel
from calibrant.models.structure import find_decoder_layers, find_linears
from calibrant.pruning.masks import read_masks


def masks(path: Path) -> str:
    """Method, settings, hashes, and the achieved sparsity beside the requested one, whole and per layer."""
    metadata = read_masks(path).metadata
    settings = {key: value for key, value in metadata.get("settings", {}).items() if value is not None}
    lines = [
        f"masks {path}",
        *_fields(metadata, "model", "model_sha256", "calibration_sha256", "sequences", "sequence_length"),
        *_fields(metadata, "method", "sparsity", "dtype", "device", "weights_updated", "library_version"),
        f"  settings: {', '.join(f'{key}={value}' for key, value in sorted(settings.items()))}",
        f"  linear layers: {len(metadata['shapes'])}",
        "",
        f"{'layer':<28}{'pattern':>10}{'requested':>12}{'achieved':>12}{'weights':>14}",
    ]
    for layer in metadata.get("layers", []):
        lines.append(
            f"{layer['name']:<28}{layer['pattern']:>10}{layer['requested_sparsity']:>12.4%}"
            f"{layer['achieved_sparsity']:>12.4%}{layer['weights']:>14,}"
        )
    total = sum(layer["weights"] for layer in metadata.get("layers", []))
    requested, achieved = metadata.get("requested_sparsity"), metadata.get("achieved_sparsity")
    if requested is not None and achieved is not None:
        lines.append(f"{'whole':<28}{metadata['sparsity']:>10}{requested:>12.4%}{achieved:>12.4%}{total:>14,}")
    return "\n".join(lines)


def comparison(path: Path, other: Path) -> str:
    """Overlap of two masks of one model: per decoder layer, the Jaccard index of the kept weights and of the pruned.

    Raises:
        InputError: the masks are of different linear layers or shapes.
    """
    a, b = read_masks(path), read_masks(other)
    if a.metadata["shapes"] != b.metadata["shapes"]:
        raise InputError(f"masks {path} and {other}: their linear layers differ, so they cannot be compared")
    counts: dict[str, Counter[str]] = {}
    for name in a.masks:
        layer = next((entry["name"] for entry in a.metadata["layers"] if name.startswith(entry["name"] + ".")), name)
        one, two = a.masks[name], b.masks[name]
        both, either = int((one & two).sum()), int((one | two).sum())
        counts.setdefault(layer, Counter()).update(both=both, either=either, total=one.numel())
    counts["whole"] = sum(counts.values(), Counter())
    lines = [
        "",
        f"compared with {other}",
        f"{'layer':<28}{'kept in both':>14}{'Jaccard kept':>14}{'Jaccard pruned':>16}",
    ]
    for layer, count in counts.items():
        neither = count["total"] - count["either"]
        pruned_in_any = count["total"] - count["both"]
        lines.append(
            f"{layer:<28}{count['both'] / count['total']:>14.4%}{_share(count['both'], count['either']):>14.4f}"
            f"{_share(neither, pruned_in_any):>16.4f}"
        )
    return "\n".join(lines)


def calibration_set(path: Path) -> str:
    """Rows, lengths, sources and origins, and what the file records about itself."""
    samples = read_samples(path)
    lengths = [len(row) for row in samples.sequences]
    lines = [
        f"calibration set {path}",
        f"  sequences: {len(samples)}",
        f"  tokens: {sum(lengths):,} ({min(lengths)} to {max(lengths)} a sequence)",
    ]
    for column in ("source", "origin"):
        if column in samples.table.column_names:
            counted = Counter(str(value) for value in samples.table.column(column).to_pylist())
            lines.append(f"  {column}: " + ", ".join(f"{name} ({count})" for name, count in sorted(counted.items())))
    lines += [f"  {key}: {value}" for key, value in sorted(samples.metadata.items())]
    return "\n".join(lines)


def model(path: Path) -> str:
    """Architecture, and the share of zeros in each decoder layer's linear weights."""
    source = resolve(path)
    streamed = StreamedModel(source, torch.bfloat16, torch.device("cpu"))
    shards = weight_files(source)
    where: dict[str, Path] = {}
    for shard in shards:
        with safe_open(shard, framework="pt") as file:
            where.update(dict.fromkeys(file.keys(), shard))
    lines = [
        f"model {path}",
        f"  id: {model_id(source)}",
        f"  sha256: {fingerprint(source)}",
        f"  architecture: {type(streamed.model).__name__}, {len(shards)} shard(s)",
        "",
        f"{'layer':<28}{'linears':>10}{'weights':>14}{'zeros':>12}",
    ]
    zeros_whole = weights_whole = 0
    for layer in find_decoder_layers(streamed.model):
        linears = find_linears(layer, places=streamed.places)
        zeros = weights = 0
        for name in linears:
            key = f"{name}.weight"
            key = key if key in where else streamed.sources[key][0]
            with safe_open(where[key], framework="pt") as file:
                tensor = file.get_tensor(key)
            zeros += int((tensor == 0).sum())
            weights += tensor.numel()
        lines.append(f"{layer.name:<28}{len(linears):>10}{weights:>14,}{_share(zeros, weights):>12.4%}")
        zeros_whole, weights_whole = zeros_whole + zeros, weights_whole + weights
    lines.append(f"{'whole':<28}{'':>10}{weights_whole:>14,}{_share(zeros_whole, weights_whole):>12.4%}")
    return "\n".join(lines)


def _fields(metadata: dict[str, Any], *names: str) -> list[str]:
    return [f"  {name}: {metadata[name]}" for name in names if metadata.get(name) is not None]


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
