"""Statistics of the dense model, an artefact of its own: one pass serves every method, ratio and pattern.

OWL's allocation and `sequential=dense` read them; `calibrant statistics` writes them.
"""

from collections.abc import Collection, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from calibrant.artefacts.tensor_files import read_metadata, write_tensors
from calibrant.errors import InputError
from calibrant.models.checkpoint.checkpoint import Checkpoint
from calibrant.models.structure.decoder_layers import check_exclude, find_decoder_layers, find_linears
from calibrant.pruning.masks.mask_file import join_files
from calibrant.pruning.methods.input_statistics import KINDS, Kind, Statistics
from calibrant.pruning.run.activations import ActivationPlace, Activations
from calibrant.pruning.run.layer_pruning import calibrate
from calibrant.pruning.run.layer_steps import walk
from calibrant.pruning.run.partial import Partial
from calibrant.pruning.run.run_inputs import identity, open_model, read_inputs
from calibrant.pruning.run.statistics_collection import collect, propagate
from calibrant.version import __version__

TENSORS = tuple(field.name for field in fields(Statistics) if field.name not in ("sequences", "tokens", "factors"))
IDENTITY = (
    "model_sha256",
    "calibration_sha256",
    "dtype",
    "device",
)  # what a pruning run must share with them
KERNELS = ("attention", "products")  # the same of these, where the run was told which


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
        kinds: `norm` (Wanda, RIA, OWL), `moments` (DSnoT), `hessian` (SparseGPT).
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
        "kinds": sorted(kinds),
        "exclude": exclude,
    }
    layers = find_decoder_layers(streamed.model)
    check_exclude(layers, exclude, streamed.places)
    partial = Partial(output, {**described, "threads": torch.get_num_threads()})
    with torch.no_grad(), partial.worth_keeping():
        held = calibrate(streamed, layers, inputs.ids, Activations(partial.folder, activations).empty)
        for step in walk(streamed, layers, held, partial, "dense statistics", progress):
            assert step.calls is not None
            assert step.hidden is not None
            if not step.file.exists():
                linears = find_linears(step.layer, exclude, streamed.places)
                move_on = not step.last
                _write_layer(
                    step.file,
                    collect(step.layer, linears, step.calls, step.hidden, kinds, streamed.device, move_on=move_on),
                )
            elif not step.last:
                propagate(step.layer, step.calls, step.hidden, streamed.device)
    files = [partial.layer_file(index) for index in range(len(layers))]
    leaders: dict[str, str] = {}
    counts: dict[str, list[int]] = {}
    for file in files:
        of_layer = read_metadata(file, "statistics")
        leaders |= of_layer["leaders"]
        counts |= of_layer["counts"]
    metadata = {**described, "leaders": leaders, "counts": counts}
    join_files(output, files, metadata)
    partial.remove()
    return metadata


def _write_layer(file: Path, statistics: Mapping[str, Statistics]) -> None:
    first: dict[int, str] = {}
    leaders = {name: first.setdefault(id(found), name) for name, found in statistics.items()}
    tensors = {
        f"{name}.{kind}": tensor
        for name in first.values()
        for kind in TENSORS
        if (tensor := getattr(statistics[name], kind)) is not None
    }
    counts = {name: [statistics[name].sequences, statistics[name].tokens] for name in first.values()}
    write_tensors(file, tensors, {"leaders": leaders, "counts": counts})


class DenseStatistics:
    """A file of `write_dense_statistics`, read a decoder layer at a time."""

    def __init__(
        self, path: str | Path, of: Mapping[str, Any], needs: Collection[Kind], given: Collection[str] = ()
    ) -> None:
        """Open the file for a run on this model and calibration set (`inputs.identity`).

        `given` are those of KERNELS that the run was told. Where it was left to choose, statistics of other kernels
        serve: SparseGPT chooses otherwise than methods without Hessians do (`inputs.open_model`).

        Raises:
            InputError: not such a file, of another model or calibration set, or without the kinds that are needed.
        """
        self.path = Path(path)
        self.metadata = read_metadata(path, "statistics")
        if "leaders" not in self.metadata:
            raise InputError(f"statistics {path}: not a file of `calibrant statistics`")
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

    def of(self, names: Collection[str], device: torch.device) -> dict[str, Statistics]:
        """Statistics of these linears; those that share an input share one object.

        Raises:
            InputError: a linear layer that was left out when they were collected.
        """
        read: dict[str, Statistics] = {}
        found: dict[str, Statistics] = {}
        with safe_open(self.path, framework="pt") as file:
            held = set(file.keys())
            for name in names:
                leader = self.metadata["leaders"].get(name)
                if leader is None:
                    raise InputError(f"statistics {self.path}: has none of {name}; collect them without exclude")
                if leader not in read:
                    tensors: dict[str, Tensor] = {
                        kind: file.get_tensor(key).to(device) for kind in TENSORS if (key := f"{leader}.{kind}") in held
                    }
                    sequences, tokens = self.metadata["counts"][leader]
                    read[leader] = Statistics(sequences=sequences, tokens=tokens)
                    vars(read[leader]).update(tensors)
                found[name] = read[leader]
        return found
