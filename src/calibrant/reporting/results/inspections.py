"""What was found inside the pruned models: figures of `inspect` and the table of `overlap`, as tidy frames."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from calibrant.artefacts.metadata_forms import keys, listed, named, number, optional, text
from calibrant.artefacts.parquet import read_table
from calibrant.artefacts.provenance import read_described
from calibrant.errors import InputError
from calibrant.pruning.inspection.overlap_table import OVERLAP
from calibrant.reporting.results.index import Inspections, MaskText

CALIBRATION = "(calibration)"  # behind the name of the set that masks were made on, as `inspect` writes it
SET = ("source", "origin", "seed")  # what tells a calibration set from others
LAYERS = {
    **dict.fromkeys(("source", "origin"), pl.String), "seed": pl.Int64, "layer": pl.Int64, "name": pl.String,
    **dict.fromkeys(("achieved_sparsity", "error_calibration", "error_heldout"), pl.Float64),
    **dict.fromkeys(("ratio", "ratio_low", "ratio_high"), pl.Float64),
    **dict.fromkeys(("sequences_calibration", "sequences_heldout"), pl.Int64),
    **dict.fromkeys(("heldout_source", "heldout_origin"), pl.String), "heldout_seed": pl.Int64,
}  # fmt: skip
OVERLAPS = {
    "source_a": pl.String, "origin_a": pl.String, "seed_a": pl.Int64,
    "source_b": pl.String, "origin_b": pl.String, "seed_b": pl.Int64,
    **dict.fromkeys(("jaccard_pruned", "jaccard_kept", "jaccard_pruned_by_chance"), pl.Float64),
}  # fmt: skip


FIGURES = listed(
    keys(
        {"name": text},
        {
            "achieved_sparsity": optional(number(0, 1)),
            "reconstruction_error": named(optional(number(0))),
            "errors_of_sequences": named(listed(number(0))),
        },
    )
)


def read_layers(inspections: Inspections | None) -> pl.DataFrame:
    """One row per source, origin and decoder layer, columns `LAYERS`.

    `ratio` is the held-out error over the calibration error; `ratio_low` and `ratio_high` are the least and the
    largest ratio of a single held-out sequence to a single calibration sequence. Null without held-out text.

    Raises:
        InputError: a file is missing, or is none that `inspect` wrote with the masks' own calibration set.
    """
    rows = []
    for entry in inspections.layers if inspections else ():
        key = {name: getattr(entry, name) for name in SET}
        other = {f"heldout_{name}": getattr(entry.heldout, name, None) for name in SET}
        for place, layer in enumerate(_figures(entry.path)):
            rows.append({**key, "layer": place, **_measures(entry.path, layer), **other})
    return pl.DataFrame(rows, schema=LAYERS)


def read_overlaps(inspections: Inspections | None) -> pl.DataFrame:
    """One row per pair of masks, columns `OVERLAPS`: what they share in the whole model.

    Raises:
        InputError: the table is missing or damaged, or has masks that the index does not describe.
    """
    if inspections is None or inspections.overlap is None:
        return pl.DataFrame(schema=OVERLAPS)
    texts = {mask.name: mask for mask in inspections.masks}
    path = inspections.overlap
    numbers = ("jaccard_pruned", "jaccard_kept", "jaccard_pruned_by_chance")
    table, _ = read_table(path, form=OVERLAP)
    rows = []
    for row in table.to_pylist():
        if row["layer"] is None:
            pair = {"a": _text(texts, row["a"], path), "b": _text(texts, row["b"], path)}
            key = {f"{name}_{side}": value for side, text in pair.items() for name, value in text.items()}
            rows.append({**key, **{name: row[name] for name in numbers}})
    return pl.DataFrame(rows, schema=OVERLAPS)


def _text(texts: Mapping[str, MaskText], name: str, path: str) -> dict[str, Any]:
    if name not in texts:
        raise InputError(f"{path}: compares {name}, which the index does not list under inspections.overlap.masks")
    return {field: getattr(texts[name], field) for field in SET}


def _figures(path: str) -> Sequence[dict[str, Any]]:
    content, _ = read_described(path)
    if fault := FIGURES(content):
        raise InputError(
            f"{path}: is no list of decoder layers, which `calibrant inspect --output` writes; "
            f"{fault[0] or 'it'} {fault[1]}"
        )
    rows: list[dict[str, Any]] = content
    return rows


def _measures(path: str, layer: Mapping[str, Any]) -> dict[str, Any]:
    errors: Mapping[str, float | None] = layer.get("reconstruction_error", {})
    single: Mapping[str, Sequence[float]] = layer.get("errors_of_sequences", {})
    own = [label for label in errors if label.endswith(CALIBRATION)]
    others = [label for label in errors if label not in own]
    if len(own) != 1 or len(others) > 1:
        found = ", ".join(errors) or "none"
        raise InputError(
            f"{path}: measured on {found}; the report wants the masks' calibration set and one other at most"
        )
    on_own, on_other = errors[own[0]], errors[others[0]] if others else None
    of_own, of_other = single.get(own[0], []), single.get(others[0], []) if others else []
    pairs = [there / here for there in of_other for here in of_own if here]
    return {
        "name": layer["name"],
        "achieved_sparsity": layer.get("achieved_sparsity"),
        "error_calibration": on_own,
        "error_heldout": on_other,
        "ratio": on_other / on_own if on_own and on_other is not None else None,
        "ratio_low": min(pairs, default=None),
        "ratio_high": max(pairs, default=None),
        "sequences_calibration": len(of_own),
        "sequences_heldout": len(of_other),
    }
