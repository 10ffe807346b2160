"""Write the golden cases of golden/ anew, from seeds and brute_force.py alone: the same bytes on every machine.

    python tests/pruning/make_golden.py [FOLDER]

Only integers are drawn, from the raw stream of a generator whose stream never changes; arrays are stored without
compression and dates; updated weights are rounded to where float64 is sure. golden/README.md describes the files.
"""

import argparse
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import brute_force as bf
import numpy as np
import numpy.typing as npt

FOLDER = Path(__file__).parent / "golden"
Arrays = dict[str, npt.NDArray[Any]]
Case = tuple[str, str, str, dict[str, Any]]

WEIGHT, INPUT = 1024, 256  # what drawn integers are divided by
FINEST = 2**20  # updated weights are multiples of 1 / FINEST, exact in float32 below 16
LEAST_MARGIN = 2e-5  # float32 rounds to 6e-8 of a number
LEAST_MARGIN_UPDATED = 1e-4  # updates add up the rounding of all columns
SEEDS = {"linear": 78, "dead-input": 2, "decoder-layers": 1}

_RIA = {"ria.exponent": 0.5}
_DSNOT = {"dsnot.initial": "wanda", "dsnot.scope": "all", "dsnot.threshold": 0.1, "dsnot.variance_power": 1.0}
_SPARSEGPT = {"sparsegpt.damping": 0.01, "sparsegpt.block_size": 24}  # 64 columns: 24, 24 and 16
# name: (layers, method, sparsity, options)
CASES: dict[str, Case] = {
    "magnitude-0.5": ("linear", "magnitude", "0.5", {}),
    "magnitude-keep-2-of-4": ("linear", "magnitude", "2:4", {}),
    "wanda-0.56": ("linear", "wanda", "0.56", {}),
    "wanda-keep-2-of-4": ("linear", "wanda", "2:4", {}),
    "wanda-keep-1-of-4": ("linear", "wanda", "1:4", {}),
    "ria-0.5": ("linear", "ria", "0.5", {**_RIA}),
    "ria-keep-2-of-4": ("linear", "ria", "2:4", {**_RIA}),
    "dsnot-0.5": ("linear", "dsnot", "0.5", {**_DSNOT, "dsnot.max_cycles": 10}),
    "dsnot-keep-2-of-4": ("linear", "dsnot", "2:4", {**_DSNOT, "dsnot.max_cycles": 50}),
    "sparsegpt-0.5": ("dead-input", "sparsegpt", "0.5", {**_SPARSEGPT}),
    "sparsegpt-keep-2-of-4": ("dead-input", "sparsegpt", "2:4", {**_SPARSEGPT}),
    "owl-0.6": ("decoder-layers", "owl", "0.6", {"owl.lambda": 0.08, "owl.m": 5.0}),
    "owl-keep-2-of-4": ("decoder-layers", "owl", "2:4", {"owl.lambda": 2.0, "owl.m": 6.0}),
}


class Draw:
    """Whole numbers from a seed."""

    def __init__(self, seed: int) -> None:
        self._bits = np.random.PCG64(seed)

    def bell(self, *shape: int) -> npt.NDArray[np.int64]:
        """Sums of eight bytes about 0: bell-shaped, from -1020 to 1020, deviation 209."""
        raw = self._bits.random_raw(int(np.prod(shape))).astype("<u8")
        return raw.view(np.uint8).reshape(*shape, 8).sum(axis=-1, dtype=np.int64) - 1020

    def weight(self, rows: int, cols: int) -> npt.NDArray[np.int64]:
        """No zeros, and no two of one size in any group of four."""
        W = self.bell(rows, cols)
        for row in W:
            for j in range(cols):
                group = np.abs(row[j // 4 * 4 : j])
                while row[j] == 0 or abs(row[j]) in group:
                    row[j] += 1 if row[j] >= 0 else -1
        return W

    def inputs(self, tokens: int, cols: int, largest: int) -> npt.NDArray[np.float64]:
        """Neighbours correlated, means away from 0, and sizes from 1/2 to 2**largest times the usual one."""
        z = self.bell(tokens, cols)
        x = z // 2 + np.roll(z, 1, axis=1) // 2 + self.bell(1, cols) // 2
        powers = np.abs(self.bell(cols)) * (largest + 2) // 512 - 1
        return x * 2.0 ** np.minimum(powers, largest)


def make_layers() -> dict[str, Arrays]:
    """The weights and inputs of each file of layers."""
    draw = Draw(SEEDS["linear"])
    linear = _linear("linear", draw.weight(48, 64), draw.inputs(72, 64, 3), [4, 8, 60])
    draw = Draw(SEEDS["dead-input"])
    dead = _linear("linear", draw.weight(40, 64), draw.inputs(80, 64, 1), [32, 20, 28])
    dead["linear.inputs"][:, 37] = 0
    draw = Draw(SEEDS["decoder-layers"])
    layers: Arrays = {}
    for index, largest in enumerate((1, 2, 4, 5)):
        first = draw.weight(24, 32), draw.inputs(24, 32, largest), [10, 14]
        second = draw.weight(32, 24), draw.inputs(24, 24, largest), [10, 14]
        layers |= _linear(f"{index}.first", *first) | _linear(f"{index}.second", *second)
    return {"linear": linear, "dead-input": dead, "decoder-layers": layers}


def _linear(
    name: str, W: npt.NDArray[np.int64], inputs: npt.NDArray[np.float64], lengths: list[int]
) -> dict[str, npt.NDArray[Any]]:
    arrays: Arrays = {f"{name}.lengths": np.array(lengths, dtype=np.int32)}
    for key, values in ((f"{name}.weight", W / WEIGHT), (f"{name}.inputs", inputs / INPUT)):
        arrays[key] = values.astype(np.float16)
        assert (arrays[key] == values).all(), key
    assert sum(lengths) == len(inputs)
    return arrays


def read_linears(arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, tuple[bf.Floats, list[bf.Floats]]]:
    """{name: (weight [rows, cols], inputs of each sequence [tokens, cols])}, in float64."""
    linears = {}
    for name in (key.removesuffix(".weight") for key in arrays if key.endswith(".weight")):
        ends = np.cumsum(arrays[f"{name}.lengths"])
        inputs = np.split(arrays[f"{name}.inputs"].astype(np.float64), ends[:-1])
        linears[name] = arrays[f"{name}.weight"].astype(np.float64), inputs
    return linears


def solve(case: Case, layers: Mapping[str, npt.NDArray[Any]]) -> tuple[Arrays, float]:
    """A case's arrays by brute force, and how near its nearest decision was."""
    _, method, text, options = case
    sparsity: bf.Sparsity = (int(text[0]), int(text[2])) if ":" in text else float(text)
    linears = read_linears(layers)
    margin = bf.Margin()
    if method == "owl":
        arrays, masks = _solve_owl(linears, sparsity, options, margin)
    else:
        arrays, masks = {}, {}
        for name, (W, sequences) in linears.items():
            masks[name], updated = _solve_linear(method, W, sequences, sparsity, options, margin)
            if updated is not None:
                arrays[f"{name}.updated"] = _rounded(updated)
    return arrays | {f"{name}.mask": np.packbits(mask, axis=1) for name, mask in masks.items()}, margin.nearest


def _solve_linear(
    method: str,
    W: bf.Floats,
    sequences: bf.Sequences,
    sparsity: bf.Sparsity,
    options: Mapping[str, Any],
    margin: bf.Margin,
) -> tuple[bf.Mask, bf.Floats | None]:
    if method == "magnitude":
        return bf.magnitude(W, sparsity, margin), None
    if method == "wanda":
        return bf.wanda(W, sequences, sparsity, margin), None
    if method == "ria":
        return bf.ria(W, sequences, sparsity, options["ria.exponent"], margin), None
    if method == "dsnot":
        swapping = [options[f"dsnot.{key}"] for key in ("threshold", "max_cycles", "variance_power")]
        return bf.dsnot(W, sequences, sparsity, *swapping, margin), None
    assert method == "sparsegpt"
    return bf.sparsegpt(W, sequences, sparsity, options["sparsegpt.damping"], options["sparsegpt.block_size"], margin)


def _solve_owl(
    linears: Mapping[str, tuple[bf.Floats, bf.Sequences]],
    sparsity: bf.Sparsity,
    options: Mapping[str, Any],
    margin: bf.Margin,
) -> tuple[Arrays, dict[str, bf.Mask]]:
    indices = sorted({name.partition(".")[0] for name in linears})
    layers = [{name: linears[name] for name in linears if name.startswith(f"{index}.")} for index in indices]
    sparsities, masks = bf.owl(layers, sparsity, options["owl.lambda"], options["owl.m"], margin)
    arrays = {"outliers": np.array([bf.count_outliers(layer, options["owl.m"], margin)[0] for layer in layers])}
    if isinstance(sparsity, tuple):
        arrays["kept"] = np.array([own[0] for own in sparsities if isinstance(own, tuple)])
    else:
        arrays["ratios"] = np.array([round(own, 12) for own in sparsities if not isinstance(own, tuple)])
    return arrays, {name: mask for layer in masks for name, mask in layer.items()}


def _rounded(weight: bf.Floats) -> npt.NDArray[np.float32]:
    scaled = weight * FINEST
    assert np.abs(np.abs(scaled) % 1 - 0.5).min() > 1e-6, "float64 is not sure which way to round"
    assert np.abs(weight).max() < 16
    return (np.round(scaled) / FINEST).astype(np.float32)


def write_arrays(path: Path, arrays: Arrays) -> None:
    """An .npz as numpy writes it, but for the date."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        for name, values in sorted(arrays.items()):
            entry = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            entry.create_system = 3
            with file.open(entry, "w") as stream:
                np.lib.format.write_array(stream, np.ascontiguousarray(values), version=(1, 0), allow_pickle=False)


def make(folder: Path) -> None:
    """Write every file but the README."""
    files = make_layers()
    for name, layers in files.items():
        write_arrays(folder / f"{name}.npz", layers)
    described = {}
    for name, case in CASES.items():
        arrays, nearest = solve(case, files[case[0]])
        least = LEAST_MARGIN_UPDATED if case[1] == "sparsegpt" else LEAST_MARGIN
        assert nearest > least, f"{name}: two numbers differ by a share of {nearest:.1e} only; take another seed"
        write_arrays(folder / f"{name}.npz", arrays)
        described[name] = dict(zip(("layers", "method", "sparsity", "options"), case, strict=True))
    (folder / "cases.json").write_text(json.dumps(described, indent=1) + "\n", newline="\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    make(parser.parse_args().folder)
