"""Stage statistics: one pass over the dense model, for OWL and `sequential=dense` to share."""

from pathlib import Path
from typing import Any

from calibrant.settings.stage_settings import StatisticsSettings
from calibrant.stages.compute import prepared
from calibrant.stages.stage import Input, Output, Stage, admit

FILES = (
    Input("model", "model folder, .gguf file or hub id"),
    Input("calibration", "calibration set (Parquet)", kind="calibration set"),
    Output(
        "output",
        "file to write (.safetensors), for prune --statistics",
        command="statistics",
        partial=True,
        suffix=".safetensors",
        rule="statistics are safetensors; the name must end in .safetensors",
    ),
)


def statistics(
    model: str | Path,
    calibration: str | Path,
    output: str | Path,
    settings: StatisticsSettings = StatisticsSettings(),  # noqa: B008 - frozen
    *,
    progress: bool = True,
) -> dict[str, Any]:
    """Collect statistics of every linear layer's inputs in the dense model; returns what the file records.

    Raises:
        InputError: a model or calibration set that cannot be used.
    """
    admit(FILES, settings, StatisticsSettings, model=model, calibration=calibration, output=output)
    settings = prepared(settings)
    from calibrant.models.compute.devices import hold_instruction_set
    from calibrant.pruning.run.statistics_file import write_dense_statistics

    if "hessian" in settings.kinds:
        hold_instruction_set()
    metadata = write_dense_statistics(
        model,
        calibration,
        settings.kinds,  # type: ignore[arg-type]  # checked to be among them
        output=output,
        exclude=settings.exclude or None,
        dtype=settings.dtype,
        device=settings.device,
        attention=settings.attention,
        products=settings.products,
        activations=settings.activations,  # type: ignore[arg-type]
        progress=progress,
    )
    return {**metadata, "output": str(output)}


def _said(found: dict[str, Any]) -> str:
    linears, distinct = len(found["leaders"]), len(found["counts"])
    return f"{found['output']}: {', '.join(found['kinds'])} of {distinct} distinct inputs of {linears} linear layers"


STAGE = Stage(statistics, FILES, StatisticsSettings, said=_said)
