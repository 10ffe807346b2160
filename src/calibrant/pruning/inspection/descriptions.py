"""Mask files, calibration sets and checkpoints, described for people (text) and for plots (plain values)."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from calibrant.calibration.sample_set import read_samples
from calibrant.errors import printable
from calibrant.models.checkpoint.checkpoint import Checkpoint, as_checkpoint, open_checkpoint
from calibrant.models.checkpoint.key_map import ParameterPlace, stored_in
from calibrant.models.checkpoint.streaming import StreamedModel
from calibrant.models.structure.decoder_layers import find_decoder_layers, find_linears
from calibrant.pruning.inspection.expert_columns import HEADINGS, expert_cells, expert_lines
from calibrant.pruning.inspection.mask_overlap import layer_counts
from calibrant.pruning.inspection.reconstruction_error import relative_errors, squared_norms
from calibrant.pruning.inspection.text_sets import read_text_sets
from calibrant.pruning.masks.mask_file import read_masks


def figures(
    path: str | Path,
    *,
    other: str | Path | None = None,
    model: str | Path | Checkpoint | None = None,
    text_sets: Sequence[str | Path] = (),
    sequences: int = 0,
    tokens: int = 0,
    dtype: str = "auto",
    device: str = "auto",
) -> list[dict[str, Any]]:
    """One row for each decoder layer: achieved sparsity, tokens of its experts, and what was asked for besides.

    With `other`: `kept_in_both` (share of all weights), `jaccard_kept`, `jaccard_pruned`. With `model` and
    `text_sets`, under each set's label (`text_sets.read_text_sets`): `reconstruction_error`, over all sequences
    (`reconstruction.squared_norms`), null when none is left; `errors_of_sequences`, of each sequence by itself.

    Args:
        path: mask file.
        other: a second mask file.
        model: the masks' model: a directory, a hub id or an opened checkpoint.
        text_sets: calibration sets to measure on.
        sequences, tokens: only the first so many of each set, of each sequence; 0 for all.
        dtype, device: of the computation.

    Raises:
        InputError: the masks do not fit each other or the model, or a set does not fit the model.
    """
    file = read_masks(path)
    file.check()
    rows = [dict(layer) for layer in file.metadata["layers"]]
    if other is not None:
        for row, (_, counts) in zip(rows, layer_counts([file, read_masks(other)]), strict=True):
            row.update(counts[0, 1].shares())
    if model is not None:
        checkpoint = as_checkpoint(model)
        own = file.metadata.get("calibration_sha256")
        found = read_text_sets(text_sets, own, checkpoint.vocabulary, sequences=sequences, tokens=tokens)
        measured = {s.label: s.ids for s in found if len(s.ids)}
        for label, ids in measured.items():
            checkpoint.check_length(f"--text-set {label}", ids.shape[1])
        squares = squared_norms(checkpoint, path, measured, dtype=dtype, device=device)
        for index, row in enumerate(rows):
            of_layer = {label: of_set[index] for label, of_set in squares.items()}
            whole = {label: float(relative_errors(norms.sum(0))) for label, norms in of_layer.items()}
            row["reconstruction_error"] = {s.label: whole.get(s.label) for s in found}
            row["errors_of_sequences"] = {
                s.label: relative_errors(of_layer[s.label]).tolist() if s.label in of_layer else [] for s in found
            }
    return rows


def masks(path: str | Path, rows: Sequence[dict[str, Any]]) -> str:
    """Method, settings and hashes of a mask file, then `figures` as a table."""
    metadata = read_masks(path).metadata
    settings = {key: value for key, value in metadata.get("settings", {}).items() if value is not None}
    columns = {"pattern": "pattern", "requested_sparsity": "requested", "achieved_sparsity": "achieved"}
    columns |= {key: key for key in ("kept_in_both", "jaccard_kept", "jaccard_pruned") if rows and key in rows[0]}
    labels = list(rows[0].get("reconstruction_error", {})) if rows else []
    experts = expert_lines(metadata)
    headings = HEADINGS if experts else ()
    table = [["layer", *columns.values(), *headings, *(f"error: {label}" for label in labels)]]
    for row in rows:
        errors = [_error(row["reconstruction_error"][label]) for label in labels]
        cells = expert_cells([row]) if experts else []
        table.append([_shown(row["name"]), *(_cell(key, row[key]) for key in columns), *cells, *errors])
    asked, achieved = (f"{metadata[f'{name}_sparsity']:.4%}" for name in ("requested", "achieved"))
    cells = expert_cells(metadata["layers"]) if experts else []
    blanks = [""] * (len(columns) - 3)
    table.append(["whole", _shown(metadata["sparsity"]), asked, achieved, *blanks, *cells, *[""] * len(labels)])
    return "\n".join(
        [
            f"masks {path}",
            *_fields(metadata, "model", "model_sha256", "calibration_sha256", "sequences", "sequence_length"),
            *_fields(
                metadata,
                "method",
                "sparsity",
                "dtype",
                "device",
                "attention",
                "products",
                "weights_updated",
                "library_version",
            ),
            f"  settings: {_shown(', '.join(f'{key}={value}' for key, value in sorted(settings.items())))}",
            f"  linear layers: {len(metadata['shapes'])}, weights: {_weights(metadata):,}",
            *_width_lines(metadata),
            *experts,
            "",
            *_aligned(table),
        ]
    )


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
    return "\n".join(map(_shown, lines))


def model(path: Path) -> str:
    """Architecture, and the share of zeros in each decoder layer's linear weights."""
    checkpoint = open_checkpoint(path)
    streamed = StreamedModel(checkpoint, torch.bfloat16, torch.device("cpu"))
    table = [["layer", "linears", "weights", "zeros"]]
    zeros_whole = weights_whole = 0
    for layer in find_decoder_layers(streamed.model, streamed.places):
        linears = find_linears(layer, places=streamed.places)
        zeros = weights = 0
        of_modules = {id(module): name for name, module in layer.module.named_modules()}
        for linear in linears.values():
            whole = f"{layer.name}.{of_modules[id(linear.module)]}.weight"
            place = linear.place or ParameterPlace(whole)
            key, number = stored_in(place, streamed.places, streamed.sources[place.parameter])
            with safe_open(streamed.shards[key], framework="pt") as file:
                tensor = file.get_tensor(key) if number is None else file.get_slice(key)[number]
            zeros += int((tensor == 0).sum())
            weights += tensor.numel()
        table.append([layer.stored, str(len(linears)), f"{weights:,}", f"{_share(zeros, weights):.4%}"])
        zeros_whole, weights_whole = zeros_whole + zeros, weights_whole + weights
    table.append(["whole", "", f"{weights_whole:,}", f"{_share(zeros_whole, weights_whole):.4%}"])
    return "\n".join(
        [
            f"model {path}",
            f"  id: {checkpoint.id}",
            f"  sha256: {checkpoint.sha256}",
            f"  architecture: {type(streamed.model).__name__}, {len(set(streamed.shards.values()))} shard(s)",
            "",
            *_aligned(table),
        ]
    )


def _shown(value: Any) -> str:
    """A value on one line of a terminal: what a file says of itself may hold control characters."""
    return printable(str(value))


def _fields(metadata: dict[str, Any], *names: str) -> list[str]:
    return [f"  {name}: {_shown(metadata[name])}" for name in names if metadata.get(name) is not None]


def _weights(metadata: dict[str, Any]) -> int:
    return sum(int(rows) * int(cols) for rows, cols in metadata["shapes"].values())


def _width_lines(metadata: dict[str, Any]) -> list[str]:
    """What the codes are, where there are some."""
    width = metadata.get("quantized")
    if width is None:
        return []
    group = f"{width['group']} columns" if width["group"] else "a whole row"
    zero = "in the middle" if width["symmetric"] else "by the range"
    lines = [f"  codes: {width['bits']} bits, a scale for {group}, zero {zero}, {len(width['codes'])} linear layers"]
    if rescaled := metadata.get("rescaled"):
        lines.append(f"  rescaled: {len(rescaled)} norms, whose weights lie beside the masks")
    return lines


def _error(value: float | None) -> str:
    return "no sequence" if value is None else f"{value:.4f}"


def _cell(key: str, value: Any) -> str:
    if key.endswith("sparsity"):
        return f"{value:.4%}"
    return f"{value:.4f}" if isinstance(value, float) else _shown(value)


def _aligned(table: list[list[str]]) -> list[str]:
    """First column to the left, the others to the right."""
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
