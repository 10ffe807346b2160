"""Prune a model: from its directory and a calibration set to a mask file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from calibrant.pruning.methods.composition import compose
from calibrant.pruning.run.activations import ActivationPlace
from calibrant.pruning.run.model_pruning import prune_model
from calibrant.pruning.run.run_inputs import open_model


def prune(
    model: str | Path,
    calibration: str | Path | None,
    method: str,
    sparsity: str,
    options: Mapping[str, str] | None = None,
    *,
    output: str | Path,
    statistics: str | Path | None = None,
    dtype: str = "auto",
    device: str = "auto",
    attention: str = "auto",
    products: str = "auto",
    activations: ActivationPlace = "auto",
    progress: bool = True,
) -> dict[str, Any]:
    """Choose the weights of every decoder layer to keep, and write them as a mask file (docs/pruning.md).

    One decoder layer is in memory at a time. Finished layers lie in `<output>.partial/`; the same call
    after an interruption goes on there and ends with the same bytes.

    Args:
        model: a model directory or hub id.
        calibration: the calibration set (Parquet); may be None for methods that read no data.
        method: a name in `composition.METHODS`.
        sparsity: `0.6` (the share pruned) or `2:4` (two kept of every four).
        options: `key=value` settings of the method.
        output: the mask file; updated weights go to `*.weights.safetensors` beside it.
        statistics: a file of `statistics_file.write_dense_statistics` for this model and calibration set, so that OWL's
            pass over the dense model, or the only pass of `sequential=dense`, is not made again; same result.
        dtype: as `models.compute.number_formats.choose_number_format` takes it.
        device: as `models.compute.devices.choose_device` takes it.
        attention: `sdpa` for PyTorch's kernel always, `auto` for a faster one where there is one (docs/performance.md).
        products: `plain` for PyTorch's products always, `auto` for faster ones where there are (docs/performance.md).
        activations: where the calibration set's activations lie: `memory`, `disk`, or `auto` (disk when they
            would take more than a quarter of the free memory); same result.
        progress: show layers, achieved sparsity and time left on stderr.

    Returns:
        The metadata of the mask file.

    Raises:
        InputError: bad settings, a model or calibration set that cannot be used, or numbers that overflow.
    """
    composed = compose(method, sparsity, options)
    streamed = open_model(model, dtype, device, attention, products, composed.needs)
    return prune_model(
        streamed,
        composed,
        calibration,
        output,
        sparsity=sparsity,
        statistics=statistics,
        kernels=[name for name, value in (("attention", attention), ("products", products)) if value != "auto"],
        activations=activations,
        progress=progress,
    )
