"""Stage inspect: what a mask file, a calibration set or a checkpoint holds, as plain text."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from calibrant.errors import InputError
from calibrant.settings.stage_settings import InspectSettings
from calibrant.stages.compute import prepared
from calibrant.stages.stage import Input, Output, Stage, admit

FILES = (
    Input("path", "mask file, calibration set (Parquet) or model folder", ""),
    Input("other", "masks: a second mask file, to print the overlap of the two", required=False),
    Input(
        "model",
        "masks: their model, to print each layer's reconstruction error on --text-set",
        required=False,
    ),
    Input(
        "text_sets",
        "calibration set to measure on; may be repeated (the one used, and one held out)",
        "text-set",
        required=False,
        many=True,
        metavar="SET.parquet",
    ),
    Output(
        "output",
        "masks: also write the per-layer figures as JSON",
        required=False,
        command="inspect",
        beside=(".provenance.json",),
    ),
)


def inspect(
    path: str | Path,
    output: str | Path | None = None,
    settings: InspectSettings = InspectSettings(),  # noqa: B008 - frozen
    *,
    other: str | Path | None = None,
    model: str | Path | None = None,
    text_sets: Sequence[str | Path] = (),
) -> str:
    """Describe a mask file, a calibration set or a model folder in plain text.

    Raises:
        InputError: it is none of these, or other files do not fit it.
    """
    admit(FILES, settings, InspectSettings, path=path, other=other, model=model, text_sets=text_sets, output=output)
    path = Path(path)
    _check(path, {"other": other, "model": model, "output": output}, text_sets, settings)
    settings = prepared(settings)
    from calibrant.pruning.inspection import descriptions

    checkpoint = None
    if model is not None:  # the record names the format, not auto
        from calibrant.models.checkpoint.checkpoint import open_checkpoint
        from calibrant.models.checkpoint.resolution import resolve_dtype
        from calibrant.models.compute.number_formats import dtype_name

        checkpoint = open_checkpoint(model)
        found = resolve_dtype(checkpoint, settings.dtype, settings.device)
        settings = replace(settings, dtype=dtype_name(found.dtype))
    if path.is_dir() or path.suffix == ".gguf":
        return descriptions.model(path)
    if path.suffix == ".parquet":
        return descriptions.calibration_set(path)
    figures = descriptions.figures(
        path,
        other=other,
        model=checkpoint,
        text_sets=text_sets,
        sequences=settings.sequences,
        tokens=settings.tokens,
        dtype=settings.dtype,
        device=settings.device,
    )
    if output is not None:
        from calibrant.artefacts.provenance import write_described

        write_described(output, figures, _record(path, other, text_sets, settings))
    return descriptions.masks(path, figures)


def _record(
    path: Path, other: str | Path | None, text_sets: Sequence[str | Path], settings: InspectSettings
) -> dict[str, Any]:
    """What the figures were made of."""
    from calibrant.artefacts.digest import sha256_file
    from calibrant.pruning.masks.mask_file import read_masks

    second = {} if other is None else {"other": sha256_file(other)}
    names = ("sequences", "tokens", "dtype", "device", "threads")
    return {
        "stage": "inspect",
        "model_sha256": read_masks(path).metadata.get("model_sha256"),
        "settings": {name: getattr(settings, name) for name in names},
        "inputs": {"masks": sha256_file(path), **second} | {Path(each).name: sha256_file(each) for each in text_sets},
    }


def _check(
    path: Path, of_masks: dict[str, str | Path | None], text_sets: Sequence[str | Path], settings: InspectSettings
) -> None:
    if not path.exists():
        raise InputError(f"{path}: no such file")
    is_masks = path.is_file() and path.suffix == ".safetensors"
    if not (path.is_dir() or path.suffix in (".parquet", ".gguf") or is_masks):
        raise InputError(
            f"{path}: neither masks (.safetensors), a calibration set (.parquet) nor a model (a folder or .gguf file)"
        )
    for name, value in of_masks.items():
        if value is not None and not is_masks:
            raise InputError(f"--{name}: goes with a mask file, and {path} is none")
    for name in ("sequences", "tokens"):
        if getattr(settings, name) and not text_sets:
            raise InputError(f"--{name}: limits what is read of --text-set, and none is given")
    if bool(text_sets) != (of_masks["model"] is not None):
        raise InputError("--model and --text-set go together: the model is run on the set, dense and pruned")


STAGE = Stage(inspect, FILES, InspectSettings, said=lambda text: str(text))
