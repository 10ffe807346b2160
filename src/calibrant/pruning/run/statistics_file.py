"""Statistics of the dense model, an artefact of its own: one pass serves every method, ratio and pattern.

OWL's allocation and `sequential=dense` read them; `calibrant statistics` writes them.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch

from calibrant.artefacts.metadata_forms import keys, listed, named, one_of, optional, sha256, text, whole
from calibrant.artefacts.tensor_files import TensorFile, all_finite, write_tensors
from calibrant.errors import InputError
from calibrant.models.checkpoint.checkpoint import Checkpoint
from calibrant.models.structure.decoder_layers import Linear, check_exclude, find_decoder_layers, find_linears
from calibrant.pruning.masks.mask_writing import join_files
from calibrant.pruning.methods.input_statistics import KINDS, Kind, Statistics
from calibrant.pruning.run.activations import ActivationPlace
from calibrant.pruning.run.dense_pass import dense_pass
from calibrant.pruning.run.partial import Partial
from calibrant.pruning.run.run_inputs import identity, open_model, read_inputs
from calibrant.version import __version__

STAGE = "statistics"
TENSORS_OF: Mapping[Kind, tuple[str, ...]] = {
    "norm": ("squared_norm",),
    "moments": ("sums", "variance"),
    "magnitudes": ("magnitudes",),
    "hessian": ("hessian",),
}
TENSORS = tuple(name for names in TENSORS_OF.values() for name in names)  # fields of `Statistics`
IDENTITY = (
    "model_sha256",
    "calibration_sha256",
    "dtype",
    "device",
)  # what a pruning run must share with them
KERNELS = ("attention", "products")  # the same of these, where the run was told which

LAYER = keys({"leaders": named(text), "counts": named(listed(whole(), 2))})
STATISTICS = keys(
    {
        "leaders": named(text),  # a linear -> the one whose statistics it shares
        "counts": named(listed(whole(), 2)),  # of each leader: sequences, tokens
        "kinds": listed(one_of(KINDS)),
        "model_sha256": sha256,
        "calibration_sha256": sha256,
        **dict.fromkeys(("dtype", "device", "attention", "products"), text),
    },
    {"exclude": optional(text), "library_version": text, "model": text},
)


def write_dense_statistics(
    model: str | Path | Checkpoint,
    calibration: str | Path,
    kinds: Collection[Kind] = ("norm", "moments"),
    *,
    output: str | Path,
    exclude: str | None = None,
    dtype: str = "auto",
    device: str = "auto",
    attention: str = "auto",
    products: str = "auto",
    activations: ActivationPlace = "auto",
    progress: bool = True,
) -> dict[str, Any]:
    """Collect statistics of every linear layer's inputs in the dense model, in one pass.

    One decoder layer is in memory at a time, and a killed run goes on at the layer it was in, as for `prune`.
    Hessians (for SparseGPT) take 4 · cols² bytes for every distinct input: gigabytes for a model of billions.

    Args:
        model: a model directory or hub id, or an opened checkpoint.
        calibration: the calibration set (Parquet).
        kinds: `norm` (Wanda, RIA, OWL, wrtn), `moments` (DSnoT), `magnitudes` (AWQ), `hessian` (SparseGPT, GPTQ).
        output: a safetensors file; tensors are named LINEAR.STATISTIC, linears with one input share one.
        exclude: regular expression of linear layers to leave out.
        dtype: as for `prune`.
        device: as for `prune`.
        attention: as for `prune`.
        products: as for `prune`.
        activations: `memory`, `disk` or `auto`.
        progress: show a bar on stderr.

    Returns:
        The metadata of the file.

    Raises:
        InputError: a model or calibration set that cannot be used, or an unknown kind.
    """
    unknown = sorted(set(kinds) - set(KINDS))
    if unknown or not kinds:
        raise InputError(f"kinds {', '.join(unknown) or 'none'}: must be among {', '.join(KINDS)}")
    streamed = open_model(model, dtype, device, attention, products, kinds)
    inputs = read_inputs(calibration, streamed.checkpoint)
    described = {
        "library_version": __version__,
        **identity(streamed, inputs),
        "stage": STAGE,
        "kinds": sorted(kinds),
        "exclude": exclude,
    }
    layers = find_decoder_layers(streamed.model, streamed.places)
    check_exclude(layers, exclude, streamed.places)
    partial = Partial(output, {**described, "threads": torch.get_num_threads()})
    with partial:
        dense_pass(
            streamed,
            layers,
            inputs.ids,
            kinds,
            lambda layer: find_linears(layer, exclude, streamed.places),
            _write_layer,
            _is_whole,
            partial,
            activations,
            "dense statistics",
            progress,
        )
    files = [TensorFile(partial.layer_file(index), "statistics", LAYER) for index in range(len(layers))]
    leaders: dict[str, str] = {}
    counts: dict[str, list[int]] = {}
    for file in files:
        leaders |= file.metadata["leaders"]
        counts |= file.metadata["counts"]
    metadata = {**described, "leaders": leaders, "counts": counts}
    join_files(output, files, metadata)
    partial.remove()
    return metadata


def _write_layer(file: Path, linears: Mapping[str, Linear], statistics: Mapping[str, Statistics]) -> None:
    first: dict[int, str] = {}
    leaders = {name: first.setdefault(id(found), name) for name, found in statistics.items()}
    tensors = {
        f"{name}.{kind}": tensor
        for name in first.values()
        for kind in TENSORS
        if (tensor := getattr(statistics[name], kind)) is not None
    }
    for name, tensor in tensors.items():
        if not all_finite(tensor):
            raise InputError(f"{name}: the statistics of its inputs are not finite; use another --dtype")
    counts = {name: [statistics[name].sequences, statistics[name].tokens] for name in first.values()}
    write_tensors(file, tensors, {"leaders": leaders, "counts": counts})


def _is_whole(file: Path) -> bool:
    try:
        TensorFile(file, "statistics", LAYER).check()
    except InputError:
        return False
    return True


class DenseStatistics:
    """A file of `write_dense_statistics`, read a decoder layer at a time."""

    def __init__(
        self, path: str | Path, of: Mapping[str, Any], needs: Collection[Kind], given: Collection[str] = ()
    ) -> None:
        """Open the file for a run on this model and calibration set (`inputs.identity`).

        `given` are those of KERNELS that the run was told. Where it was left to choose, statistics of other kernels
        serve: SparseGPT chooses otherwise than methods without Hessians do (`inputs.open_model`).

        Raises:
            InputError: not such a file, of another model or calibration set, without the kinds that are needed, or
                changed since.
        """
        self.path = Path(path)
        self._file = TensorFile(path, "statistics", STATISTICS, STAGE)
        self.metadata = self._file.metadata
        for key in (*IDENTITY, *(key for key in KERNELS if key in given)):
            if self.metadata.get(key) != of[key]:
                raise InputError(
                    f"statistics {path}: {key} is {self.metadata.get(key)}, this run's is {of[key]}; "
                    "collect them with the same model, calibration set, dtype, device, attention and products"
                )
        missing = sorted(set(needs) - set(self.metadata["kinds"]))
        if missing:
            raise InputError(
                f"statistics {path}: holds {', '.join(self.metadata['kinds'])}, and this method needs "
                f"{', '.join(missing)} too; collect them with --kinds"
            )

        self._check(needs)

    def _check(self, needs: Collection[Kind]) -> None:
        """Compare the statistics of these kinds with their digests: before any work, not in its midst."""
        for leader in dict.fromkeys(self.metadata["leaders"].values()):
            for tensor in (tensor for kind in needs for tensor in TENSORS_OF[kind]):
                if leader not in self.metadata["counts"] or f"{leader}.{tensor}" not in self._file.entries:
                    raise InputError(
                        f"statistics {self.path}: lacks {tensor} of {leader}, which it lists; collect them again"
                    )
                self._file.get(f"{leader}.{tensor}", finite=True)

    def of(self, names: Collection[str], device: torch.device) -> dict[str, Statistics]:
        """Statistics of these linears; those that share an input share one object.

        Raises:
            InputError: a linear layer that was left out when they were collected.
        """
        read: dict[str, Statistics] = {}
        found: dict[str, Statistics] = {}
        for name in names:
            leader = self.metadata["leaders"].get(name)
            if leader is None:
                raise InputError(f"statistics {self.path}: has none of {name}; collect them without exclude")
            if leader not in read:
                read[leader] = self._of_leader(leader, device)
            found[name] = read[leader]
        return found

    def _of_leader(self, leader: str, device: torch.device) -> Statistics:
        held = [kind for kind in TENSORS if f"{leader}.{kind}" in self._file.entries]
        sequences, tokens = self.metadata["counts"][leader]
        statistics = Statistics(sequences=sequences, tokens=tokens)
        vars(statistics).update({k: self._file.get(f"{leader}.{k}", finite=True).to(device) for k in held})
        return statistics
