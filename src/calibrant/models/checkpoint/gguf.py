"""Turn a GGUF file into an ordinary safetensors checkpoint with its tokenizer, once."""

import contextlib
import io
import json
import tempfile
from pathlib import Path
from typing import Any

from calibrant.errors import InputError, shown
from calibrant.models.checkpoint.gguf_header import read_gguf_header
from calibrant.models.checkpoint.library_calls import LONGEST, quiet_transformers, reason

# Keys that name this machine or the quantised file rather than the model.
DROPPED_KEYS = ("_model_name_or_path", "_name_or_path", "_from_model_config", "quantization_config")
DROPPED_TOKENIZER_KEYS = ("is_local", "local_files_only", "name_or_path", "gguf_file")
EXACT = {"F16": "float16", "F32": "float32"}  # formats of files that are not quantised, which stay as they are


def dequantise(gguf: Path, output: Path) -> dict[str, Any]:
    """Write the model of `gguf` to the folder `output`: config.json, model.safetensors, tokenizer.

    Every quantised weight becomes the number it stands for, rounded to bfloat16: nothing is gained over the
    GGUF file, but any program that reads Hugging Face checkpoints can use it. Weights in float16 or float32 keep their
    format. Needs memory for the weights in float32. Nothing but the file is read, whatever lies beside it.

    Returns:
        What provenance records of the file, as its `gguf`: `file_type`, such as Q4_K_M, and `bits`, those of a code of
        most weights (16 and 32 of weights that are not quantised).

    Raises:
        InputError: not a GGUF file, cut off, without a tokenizer or otherwise no whole model
            (`gguf_header.read_gguf_header`), or of an architecture that transformers cannot convert.
    """
    header = read_gguf_header(gguf)
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    dtype = getattr(torch, EXACT.get(header.weight_type, "bfloat16"))
    with tempfile.TemporaryDirectory(prefix="calibrant-gguf-") as alone, quiet_transformers(), _without_bars():
        # Libraries would take adapters, code and settings from beside the file for the model's.
        (Path(alone) / "model.gguf").symlink_to(gguf.resolve())
        try:
            model = AutoModelForCausalLM.from_pretrained(
                alone, gguf_file="model.gguf", dtype=dtype, quantization_config=GgufConfig(dequantize=True)
            )
            tokenizer = AutoTokenizer.from_pretrained(alone, gguf_file="model.gguf")
        except Exception as error:  # transformers and tokenizers raise many kinds, plain Exception among them
            said = shown(reason(error).replace(alone, str(gguf.parent)), LONGEST)
            raise InputError(f"model {gguf.name}: transformers cannot convert this GGUF file ({said})") from error
        model.save_pretrained(output)
        tokenizer.save_pretrained(output)
    for file_name, keys in (
        ("config.json", DROPPED_KEYS),
        ("generation_config.json", DROPPED_KEYS),
        ("tokenizer_config.json", DROPPED_TOKENIZER_KEYS),
    ):
        _strip(output / file_name, keys)
    return {"file_type": header.file_type, "bits": header.bits}


def _without_bars() -> contextlib.redirect_stderr[io.StringIO]:
    """Whatever shows progress by itself is not seen: it takes some seconds, and logs of jobs stay readable."""
    return contextlib.redirect_stderr(io.StringIO())


def _strip(path: Path, keys: tuple[str, ...]) -> None:
    if not path.exists():
        return
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    kept = {key: value for key, value in values.items() if key not in keys}
    path.write_text(json.dumps(kept, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
