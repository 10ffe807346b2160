"""Stage apply: a model and masks in, a pruned or quantized checkpoint in Hugging Face format out."""

from pathlib import Path

from calibrant.settings.stage_settings import ApplySettings
from calibrant.stages.stage import Input, Output, Stage, admit

FILES = (
    Input("model", "model folder, .gguf file or hub id"),
    Input("masks", "mask file; updated weights are found beside it", kind="masks"),
    Output("output", "folder of the checkpoint, by default as large as the dense one", command="apply", form="folder"),
)
DEFAULT = ApplySettings()


def apply(model: str | Path, masks: str | Path, output: str | Path, settings: ApplySettings = DEFAULT) -> Path:
    """Write a checkpoint with the masks' zeros, and updated weights where the method made them; returns its folder.

    Raises:
        InputError: the masks do not fit the model or the format, or the output is the model itself or holds other
            files.
    """
    admit(FILES, settings, ApplySettings, model=model, masks=masks, output=output)
    from calibrant.pruning.masks.pruned_checkpoint import write_pruned_checkpoint

    write_pruned_checkpoint(model, masks, output, form=settings.format)
    return Path(output)


def _said(output: Path) -> str:
    from calibrant.artefacts.atomic import read_json

    config = read_json(output / "config.json")
    packed = isinstance(config, dict) and "quantization_config" in config
    form = "with packed codes (compressed-tensors), which transformers loads" if packed else "in Hugging Face format"
    return f"{output}: checkpoint {form}"


STAGE = Stage(apply, FILES, ApplySettings, said=_said)
