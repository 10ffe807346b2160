"""Stage prune: a model and a calibration set in, masks out."""

import sys
from pathlib import Path
from typing import Any

from calibrant.settings.stage_settings import PruneSettings
from calibrant.stages.compute import prepared
from calibrant.stages.stage import Input, Output, Stage, admit

FILES = (
    Input("model", "model folder, .gguf file or hub id"),
    Input(
        "calibration", "calibration set (Parquet); magnitude and rtn need none", required=False, kind="calibration set"
    ),
    Input(
        "statistics",
        "file of `calibrant statistics`, which owl and sequential=dense take instead of a pass",
        required=False,
        kind="statistics",
    ),
    Output(
        "output",
        "mask file (.safetensors)",
        command="prune",
        beside=(".weights.safetensors",),
        partial=True,
        suffix=".safetensors",
        rule="masks are safetensors; the name must end in .safetensors",
    ),
)


def prune(
    model: str | Path,
    calibration: str | Path | None,
    output: str | Path,
    settings: PruneSettings,
    *,
    statistics: str | Path | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Choose the weights of every decoder layer to keep, and write them as a mask file (docs/pruning.md).

    One decoder layer is in memory at a time. Finished layers lie in `<output>.partial/`; the same call
    after an interruption goes on there and ends with the same bytes.

    Args:
        model: a model directory or hub id.
        calibration: the calibration set (Parquet); may be None for methods that read no data.
        output: the mask file; updated weights go to `*.weights.safetensors` beside it.
        settings: method, sparsity, and how it is computed.
        statistics: a file of stage `statistics` for this model and calibration set, so that OWL's pass over the dense
            model, or the only pass of `sequential=dense`, is not made again; same result.
        progress: show layers, achieved sparsity and time left on stderr.

    Returns:
        The metadata of the mask file.

    Raises:
        InputError: bad settings, a model or calibration set that cannot be used, or numbers that overflow.
    """
    admit(FILES, settings, PruneSettings, model=model, calibration=calibration, statistics=statistics, output=output)
    settings = prepared(settings)
    from calibrant.models.compute.devices import hold_instruction_set
    from calibrant.pruning.methods.composition import compose
    from calibrant.pruning.run.model_pruning import prune_model
    from calibrant.pruning.run.run_inputs import open_model

    composed = compose(settings.method, settings.target, settings.option)
    if "hessian" in composed.needs:
        hold_instruction_set()
    kernels = {"attention": settings.attention, "products": settings.products}
    streamed = open_model(model, settings.dtype, settings.device, **kernels, kinds=composed.needs)
    metadata = prune_model(
        streamed,
        composed,
        calibration,
        output,
        statistics=statistics,
        kernels=[name for name, value in kernels.items() if value != "auto"],
        activations=settings.activations,  # type: ignore[arg-type]  # checked to be one of them
        progress=progress,
    )
    if calibration is not None and metadata["calibration_sha256"] is None:
        print(f"note: method {settings.method} reads no calibration data; {calibration} was not used", file=sys.stderr)
    return {**metadata, "output": str(output)}


def _said(found: dict[str, Any]) -> str:
    asked, achieved = found["requested_sparsity"], found["achieved_sparsity"]
    parts = [f"{achieved:.4%} pruned ({asked:.4%} asked)"] if asked else []
    if width := found.get("quantized"):
        group = f"groups of {width['group']} columns" if width["group"] else "a group for each row"
        parts.append(f"{len(width['codes'])} linear layers at {width['bits']} bits, {group}")
    said = f"{found['output']}: {'; '.join(parts)}"
    experts = found.get("experts")
    if not experts or not experts["unreached"]:
        return said
    from calibrant.pruning.masks.expert_tokens import DONE

    none = f"{experts['unreached']:,} of {experts['experts']:,} experts"
    return f"{said}; no token reached {none}, {DONE[experts['done']]} (option unreached)"


STAGE = Stage(prune, FILES, PruneSettings, said=_said)
