"""An importance matrix for llama.cpp: how large the inputs of every linear of the dense model are, column by column."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from calibrant.artefacts.atomic import atomic_path
from calibrant.artefacts.metadata_forms import keys
from calibrant.artefacts.provenance import described
from calibrant.artefacts.tensor_files import TensorFile, all_finite, write_tensors
from calibrant.errors import InputError
from calibrant.models.checkpoint.checkpoint import Checkpoint
from calibrant.models.checkpoint.gguf_names import GgufNames, gguf_names
from calibrant.models.checkpoint.streaming import StreamedModel
from calibrant.models.structure.decoder_layers import DecoderLayer, Linear, find_decoder_layers, find_linears
from calibrant.models.structure.stored_names import stored_names
from calibrant.pruning.methods.input_statistics import Statistics
from calibrant.pruning.run.activations import ActivationPlace
from calibrant.pruning.run.dense_pass import dense_pass
from calibrant.pruning.run.importance_file import COUNTS, SUMS, write_importance_file
from calibrant.pruning.run.partial import Partial
from calibrant.pruning.run.run_inputs import identity, open_model, read_inputs
from calibrant.version import __version__

WHAT, LAYER = "importance matrix", keys({})
EXPERTS = f".ffn_down_exps.weight{COUNTS}"  # of the tensors of a layer's experts, the one that every family has


def write_importance_matrix(
    model: str | Path | Checkpoint,
    calibration: str | Path,
    output: str | Path,
    *,
    dtype: str = "auto",
    device: str = "auto",
    attention: str = "auto",
    products: str = "auto",
    activations: ActivationPlace = "auto",
    progress: bool = True,
) -> dict[str, Any]:
    """Write what `llama-imatrix` would of these tokens, for `llama-quantize --imatrix` to read.

    For every linear of the decoder layers, routers of experts included: the sum over all tokens of its squared inputs
    and the number of these tokens. The output head is left out, as llama-imatrix leaves it out. One decoder layer is
    in memory at a time, and a killed run goes on at the layer it was in, as for `prune`. The tokens are taken as they
    are, while llama-imatrix puts a beginning-of-text token before each chunk where the model asks for one.

    Args:
        model: a model directory, hub id or .gguf file, or an opened checkpoint.
        calibration: the calibration set (Parquet).
        output: the GGUF file; a sidecar beside it says where it is from.
        dtype: as for `prune`.
        device: as for `prune`.
        attention: as for `prune`.
        products: as for `prune`.
        activations: `memory`, `disk` or `auto`.
        progress: show a bar on stderr.

    Returns:
        What the sidecar records, with `entries`, `tokens`, and how many of the `experts` are `unreached`.

    Raises:
        InputError: a model or calibration set that cannot be used, or a family that llama.cpp has no names for.
    """
    streamed = open_model(model, dtype, device, attention, products)
    names = gguf_names(streamed.checkpoint.config, str(streamed.checkpoint.path))
    inputs = read_inputs(calibration, streamed.checkpoint)
    layers = find_decoder_layers(streamed.model, streamed.places)
    watched = [{**find_linears(layer, None, streamed.places), **_routers(layer, streamed, names)} for layer in layers]
    for linears in watched:
        for name, linear in linears.items():
            names.of_linear(name, expert=linear.place is not None)
    about = {"library_version": __version__, **identity(streamed, inputs), "stage": "export", "format": "imatrix"}
    partial = Partial(output, {**about, "threads": torch.get_num_threads()})

    def write(file: Path, linears: Mapping[str, Linear], found: Mapping[str, Statistics]) -> None:
        write_tensors(file, entries(names, linears, found), {})

    with partial:
        dense_pass(
            streamed,
            layers,
            inputs.ids,
            ["norm"],
            lambda layer: watched[layer.index],
            write,
            _is_whole,
            partial,
            activations,
            WHAT,
            progress,
        )
    tensors: dict[str, Tensor] = {}
    for index in range(len(layers)):
        file = TensorFile(partial.layer_file(index), WHAT, LAYER)
        tensors |= {name: file.get(name) for name in file.entries}
    counts = {name: tensor for name, tensor in tensors.items() if name.endswith(COUNTS)}
    experts = torch.cat([torch.zeros(0, 1), *(each for name, each in counts.items() if name.endswith(EXPERTS))])
    record = {**about, "entries": len(counts), "tokens": inputs.ids.numel()}
    record |= {"experts": len(experts), "unreached": int((experts == 0).sum())}
    with described(output, record), atomic_path(output) as temporary:
        write_importance_file(temporary, tensors, [Path(calibration).name], *inputs.ids.shape)
    partial.remove()
    return record


def entries(names: GgufNames, linears: Mapping[str, Linear], statistics: Mapping[str, Statistics]) -> dict[str, Tensor]:
    """The entries of one layer, ENTRY.in_sum2 [matrices, cols] and ENTRY.counts [matrices, 1], in float32 on the CPU.

    Raises:
        InputError: a sum is not finite.
    """
    matrices: dict[str, dict[int, Statistics]] = {}
    for name, linear in linears.items():
        place = linear.place
        for entry in names.of_linear(name, expert=place is not None):
            expert = 0 if place is None or place.expert is None else place.expert
            matrices.setdefault(f"{entry}.weight", {})[expert] = statistics[name]
    tensors: dict[str, Tensor] = {}
    for entry, found in matrices.items():
        each = [found[expert] for expert in sorted(found)]
        tensors[entry + SUMS] = torch.stack([_sum_of_squares(statistic) for statistic in each])
        tensors[entry + COUNTS] = torch.tensor([[float(statistic.tokens)] for statistic in each])
        if not all_finite(tensors[entry + SUMS]):
            raise InputError(f"{entry}: the sums of its squared inputs are not finite; use another --dtype")
    return tensors


def _sum_of_squares(statistics: Statistics) -> Tensor:
    assert statistics.squared_norm is not None
    return (statistics.squared_norm.double() * statistics.sequences).float().cpu()


def _routers(layer: DecoderLayer, streamed: StreamedModel, names: GgufNames) -> dict[str, Linear]:
    """What chooses and weighs the experts of a layer, which `find_linears` leaves out."""
    stored = stored_names(streamed.places)
    found = {}
    for local, module in layer.module.named_modules():
        path = f"{layer.name}.{local}"
        name = stored.get(f"{path}.weight", f"{path}.weight").removesuffix(".weight")
        weight = getattr(module, "weight", None)
        if isinstance(weight, Tensor) and weight.ndim == 2 and names.is_router(name):
            found[name] = Linear(name, module)
    return found


def _is_whole(file: Path) -> bool:
    try:
        TensorFile(file, WHAT, LAYER).check()
    except InputError:
        return False
    return True
