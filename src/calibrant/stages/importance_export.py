"""The format imatrix of stage export: a pass of the model over the set, as llama.cpp's llama-imatrix makes it."""

from pathlib import Path
from typing import Any

from calibrant.errors import InputError
from calibrant.settings.text_settings import ExportSettings
from calibrant.stages.compute import prepared
from calibrant.stages.stage import Input, Output, admit

OUTPUT = Output(
    "output",
    "",
    command="export",
    beside=(".provenance.json",),
    partial=True,
    suffix=".gguf",
    rule="an importance matrix is a GGUF file; the name must end in .gguf",
)


def export_importance(
    settings: ExportSettings,
    calibration: str | Path,
    model: str | Path | None,
    output: str | Path,
    files: tuple[Input, ...],
    progress: bool,
) -> dict[str, Any]:
    """Write the importance matrix of a model on a calibration set; returns what is recorded of it, and `output`.

    `files` are the stage's inputs, by the names of the arguments.

    Raises:
        InputError: no model, one that cannot be used, or an output that must not be written.
    """
    if model is None:
        raise InputError("--format imatrix: is made by a pass of a model over the set; give --model")
    admit((*files, OUTPUT), settings, ExportSettings, calibration=calibration, model=model, output=output)
    settings = prepared(settings)
    from calibrant.pruning.run.importance_matrix import write_importance_matrix

    record = write_importance_matrix(
        model,
        calibration,
        output,
        dtype=settings.dtype,
        device=settings.device,
        attention=settings.attention,
        products=settings.products,
        activations=settings.activations,  # type: ignore[arg-type]  # checked to be one of them
        progress=progress,
    )
    return {**record, "output": str(output)}


def said_of_importance(found: dict[str, Any]) -> str:
    """A line about the result, for the command line."""
    said = f"{found['output']}: {found['entries']} tensors of llama.cpp's names, {found['tokens']:,} tokens"
    if not found["unreached"]:
        return said
    return f"{said}; no token reached {found['unreached']:,} of {found['experts']:,} experts"
