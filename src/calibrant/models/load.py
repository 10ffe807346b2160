"""Find, identify and load a model and its tokenizer. Nothing here runs code that came with a model."""

import functools
import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from calibrant.artefacts.digest import sha256_file, sha256_json
from calibrant.artefacts.provenance import read_provenance
from calibrant.errors import InputError
from calibrant.models.devices import choose_device, choose_dtype

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt", "tokenizer_config.json")
HUB_FILES = ("*.json", "*.safetensors", "*.model", "*.txt")  # neither pickles nor code


def resolve(model: str | Path, revision: str | None = None) -> Path:
    """The local directory of a model: a directory as it is, a hub id through the hub's cache.

    Raises:
        InputError: neither a directory with config.json nor a hub id that can be fetched.
    """
    path = Path(model)
    if path.is_dir():
        if not (path / "config.json").exists():
            raise InputError(f"model {path}: the folder has no config.json, so it is not a Hugging Face model")
        return path
    if path.exists():
        raise InputError(f"model {path} is a file; give a model folder or a hub id such as apple/DCLM-7B")
    name = str(model)
    if name.count("/") != 1 or name.startswith((".", "/")):
        raise InputError(f"model {name}: no such folder, and not a hub id of the form owner/name")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(HUB_FILES)))
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"model {name}: neither a local folder nor reachable on the hub ({reason})") from error


def model_id(path: str | Path) -> str:
    """What to call a model in metadata: the origin in its provenance sidecar, else its folder's name.

    Never a machine's path, so that files are the same wherever they are made.
    """
    origin = read_provenance(path).get("id")
    return str(origin) if origin else Path(path).resolve().name


def weight_files(path: str | Path) -> list[Path]:
    """The safetensors shards of a model directory, sorted by name.

    Raises:
        InputError: there is none (pickled checkpoints are refused: they can run code).
    """
    path = Path(path)
    files = sorted(path.glob("*.safetensors"))
    if not files:
        pickles = [p.name for p in sorted(path.glob("*.bin"))]
        hint = f" (pickled weights such as {pickles[0]} are not loaded; convert them to safetensors)" if pickles else ""
        raise InputError(f"model {path}: no *.safetensors file{hint}")
    return files


def fingerprint(path: str | Path) -> str:
    """SHA-256 that identifies a model: its config and its weights, not its folder's name."""
    path = Path(path)
    files = [path / "config.json", *weight_files(path)]
    stamps = tuple((str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in files)
    return _fingerprint(stamps)


@functools.cache
def _fingerprint(stamps: tuple[tuple[str, int, int], ...]) -> str:
    return sha256_json({Path(name).name: sha256_file(name) for name, _, _ in stamps})


def tokenizer_sha256(path: str | Path) -> str:
    """SHA-256 over the tokenizer's files.

    Raises:
        InputError: the directory holds no tokenizer.
    """
    path = Path(path)
    files = {name: sha256_file(path / name) for name in TOKENIZER_FILES if (path / name).exists()}
    if not files:
        raise InputError(f"model {path}: no tokenizer (none of {', '.join(TOKENIZER_FILES)})")
    return sha256_json(files)


def load_config(path: str | Path) -> Any:
    """The transformers configuration of a model directory.

    Raises:
        InputError: config.json is missing, broken, or of a type that transformers does not know.
    """
    from transformers import AutoConfig

    path = Path(path)
    try:
        return AutoConfig.from_pretrained(path, trust_remote_code=False)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"model {path}: its config.json cannot be used ({reason})") from error


def load_tokenizer(path: str | Path) -> Any:
    """The fast tokenizer of a model directory.

    Raises:
        InputError: there is no usable tokenizer.
    """
    from transformers import AutoTokenizer

    tokenizer_sha256(path)
    try:
        return AutoTokenizer.from_pretrained(path, trust_remote_code=False)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"model {path}: its tokenizer cannot be loaded ({reason})") from error


def load_model(path: str | Path, *, dtype: str = "auto", device: str = "auto") -> nn.Module:
    """Load a whole causal language model for inference: eval mode, no gradients, no remote code, no pickle.

    Raises:
        InputError: not a causal language model, or its weights are missing or incomplete.
    """
    from transformers import AutoModelForCausalLM

    path = resolve(path)
    config = load_config(path)
    require_causal_head(path, config)
    weight_files(path)
    chosen = choose_dtype(dtype, getattr(config, "dtype", None))
    try:
        model, info = AutoModelForCausalLM.from_pretrained(
            path, config=config, dtype=chosen, trust_remote_code=False, use_safetensors=True, output_loading_info=True
        )
    except ValueError as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"model {path}: cannot be loaded as a causal language model ({reason})") from error
    if info["missing_keys"]:
        missing = sorted(info["missing_keys"])
        raise InputError(f"model {path}: {len(missing)} weights are missing, the first is {missing[0]}")
    model.eval().requires_grad_(False)
    loaded: nn.Module = model.to(choose_device(device))
    return loaded


def require_causal_head(path: str | Path, config: Any) -> None:
    """Refuse models that cannot predict a next token.

    Raises:
        InputError: the config's architecture is not a causal language model.
    """
    names = getattr(config, "architectures", None) or []
    if names and not any("CausalLM" in n or "LMHead" in n or "ConditionalGeneration" in n for n in names):
        raise InputError(
            f"model {path}: architecture {names[0]} has no causal language-model head; "
            "give a checkpoint whose architecture ends in ForCausalLM or LMHeadModel"
        )


def dtype_name(dtype: torch.dtype) -> str:
    """`torch.bfloat16` -> `bfloat16`, as metadata and messages write it."""
    return str(dtype).removeprefix("torch.")


def read_raw_config(path: str | Path) -> dict[str, Any]:
    """config.json as plain data."""
    return dict(json.loads((Path(path) / "config.json").read_text(encoding="utf-8")))
