"""Turn a GGUF file into an ordinary bfloat16 safetensors checkpoint with its tokenizer, once."""

import json
from pathlib import Path
from typing import Any

from calibrant.errors import InputError, first_line

# Keys that name this machine or the quantised file rather than the model.
DROPPED_KEYS = ("_model_name_or_path", "_name_or_path", "_from_model_config", "quantization_config")
DROPPED_TOKENIZER_KEYS = ("is_local", "local_files_only", "name_or_path", "gguf_file")


def dequantise(gguf: Path, output: Path) -> None:
    """Write the model of `gguf` to the folder `output`: config.json, model.safetensors (bfloat16), tokenizer.

    Every quantised weight becomes the number it stands for, rounded to bfloat16: nothing is gained over the
    GGUF file, but any program that reads Hugging Face checkpoints can use it. Needs memory for the weights in float32.

    Raises:
        InputError: not a GGUF file, or of an architecture that transformers cannot convert.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils import logging

    logging.disable_progress_bar()  # some seconds; logs of jobs stay readable
    with open(gguf, "rb") as file:
        if file.read(4) != b"GGUF":
            raise InputError(f"model {gguf.name}: not a GGUF file (it does not start with GGUF)")
    folder, name = gguf.parent, gguf.name
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder, gguf_file=name, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
        )
        tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
    except Exception as error:  # transformers and tokenizers raise many kinds, plain Exception among them
        reason = first_line(error)
        raise InputError(f"model {gguf.name}: transformers cannot convert this GGUF file ({reason})") from error
    model.save_pretrained(output)
    tokenizer.save_pretrained(output)
    for file_name, keys in (
        ("config.json", DROPPED_KEYS),
        ("generation_config.json", DROPPED_KEYS),
        ("tokenizer_config.json", DROPPED_TOKENIZER_KEYS),
    ):
        _strip(output / file_name, keys)


def _strip(path: Path, keys: tuple[str, ...]) -> None:
    if not path.exists():
        return
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    kept = {key: value for key, value in values.items() if key not in keys}
    path.write_text(json.dumps(kept, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
