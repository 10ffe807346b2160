"""How much masks have in common: counted on packed bits, one decoder layer at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from calibrant.errors import InputError
from calibrant.pruning.inspection.overlap_table import OVERLAP
from calibrant.pruning.masks.mask_file import MaskFile, read_masks

SCHEMA = OVERLAP.schema


@dataclass(frozen=True)
class Counts:
    """Weights of two masks of the same layers: all, kept by each, kept by both."""

    weights: int
    kept_a: int
    kept_b: int
    both: int

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.weights + other.weights, self.kept_a + other.kept_a, self.kept_b + other.kept_b, self.both + other.both
        )

    def shares(self) -> dict[str, float]:
        """`kept_in_both` of all weights, and the Jaccard similarities of the kept and of the pruned positions."""
        either = self.kept_a + self.kept_b - self.both
        return {
            "kept_in_both": _share(self.both, self.weights),
            "jaccard_kept": _share(self.both, either),
            "jaccard_pruned": _share(self.weights - either, self.weights - self.both),
        }

    def by_chance(self) -> float:
        """Expected Jaccard similarity of the pruned positions were both masks independent, to first order."""
        one, two = (_share(self.weights - kept, self.weights) for kept in (self.kept_a, self.kept_b))
        return one * two / (one + two - one * two) if one or two else 0.0


def overlap_rows(paths: Sequence[str | Path]) -> list[dict[str, Any]]:
    """One row of `SCHEMA` for each pair of mask files and decoder layer, and one for the pair's whole model.

    A file goes by the last two parts of its path without the suffix, `web-real-n8-s0/wanda-0.6`.

    Raises:
        InputError: fewer than two files, two of one name, or masks of different linear layers.
    """
    names = [mask_name(path) for path in paths]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"masks: two files are called {twice[0]}, and the table goes by that; name different files")
    if len(names) < 2:
        raise InputError(f"masks: {len(names)} file; an overlap needs two or more")
    rows: list[dict[str, Any]] = []
    whole: dict[tuple[str, str], Counts] = {}
    for layer, counts in layer_counts([read_masks(path) for path in paths]):
        for (i, j), of_pair in counts.items():
            pair = (names[i], names[j])
            rows.append(_row(pair, layer, of_pair))
            whole[pair] = whole[pair] + of_pair if pair in whole else of_pair
    return rows + [_row(pair, None, counts) for pair, counts in whole.items()]


def mask_name(path: str | Path) -> str:
    """`masks/web-real-n8-s0/wanda-0.6.safetensors` -> `web-real-n8-s0/wanda-0.6`."""
    return "/".join(Path(path).with_suffix("").parts[-2:])


def layer_counts(files: Sequence[MaskFile]) -> Iterator[tuple[str, dict[tuple[int, int], Counts]]]:
    """Each decoder layer's name, and the counts of every pair of files (i < j) in it.

    Raises:
        InputError: the files are of different linear layers.
    """
    first = files[0]
    for other in files[1:]:
        if other.metadata["shapes"] != first.metadata["shapes"]:
            raise InputError(
                f"masks {first.path} and {other.path}: their linear layers differ, so they cannot be compared"
            )
    for layer in first.metadata["layers"]:
        linears = sorted(name for name in first.metadata["shapes"] if name.startswith(layer["name"] + "."))
        weights = sum(rows * cols for rows, cols in (first.metadata["shapes"][name] for name in linears))
        bits = [_packed(file, linears) for file in files]
        kept = [_ones(words) for words in bits]
        yield (
            layer["name"],
            {
                (i, j): Counts(weights, kept[i], kept[j], _ones(bits[i] & bits[j]))
                for i, j in combinations(range(len(files)), 2)
            },
        )


def _packed(file: MaskFile, names: Sequence[str]) -> npt.NDArray[np.uint64]:
    """The keep-bits of some linears; what packing adds at the ends of rows, and the padding here, is zeros."""
    parts = [file.packed(name).numpy().ravel() for name in names]
    size = sum(len(part) for part in parts)
    return np.concatenate([*parts, np.zeros(-size % 8, np.uint8)]).view(np.uint64)


def _ones(words: npt.NDArray[np.uint64]) -> int:
    return int(np.bitwise_count(words).sum(dtype=np.int64))


def _row(pair: tuple[str, str], layer: str | None, counts: Counts) -> dict[str, Any]:
    return {
        "a": pair[0], "b": pair[1], "layer": layer, "weights": counts.weights,
        **counts.shares(), "jaccard_pruned_by_chance": counts.by_chance(),
    }  # fmt: skip


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
