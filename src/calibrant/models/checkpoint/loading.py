"""Find, identify and load a model and its tokenizer. Nothing here runs code that came with a model."""

import contextlib
import functools
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from calibrant.artefacts.atomic import read_json
from calibrant.artefacts.digest import sha256_file, sha256_json
from calibrant.artefacts.provenance import read_provenance
from calibrant.errors import InputError
from calibrant.models.compute.device_check import prefer_apple_gpu
from calibrant.models.compute.devices import choose_device
from calibrant.models.compute.number_formats import choose_number_format

VOCABULARY_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
TOKENIZER_FILES = (
    *VOCABULARY_FILES,
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
HUB_FILES = ("*.json", "*.safetensors", "*.model", "*.txt")  # neither pickles nor code
PICKLES = (".bin", ".pt", ".pth", ".ckpt")

log = logging.getLogger(__name__)


def _reason(error: Exception) -> str:
    """The first line of an error's message, which for some libraries runs over many."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


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
        # Subfolders hold other formats of the same weights.
        path = Path(snapshot_download(name, revision=revision, allow_patterns=list(HUB_FILES), ignore_patterns=["*/*"]))
    except Exception as error:
        raise InputError(f"model {name}: neither a local folder nor reachable on the hub ({_reason(error)})") from error
    if not (path / "config.json").exists():
        raise InputError(f"model {name}: the repository has no config.json, so it is not a Hugging Face model")
    return path


def model_id(path: str | Path) -> str:
    """What to call a model in metadata: the origin in its provenance sidecar, its hub id, or its folder's name.

    Never a machine's path, so that files are the same wherever they are made.
    """
    origin = read_provenance(path).get("id")
    if origin:
        return str(origin)
    folder = Path(path).resolve()
    if folder.parent.name == "snapshots":  # of the hub's cache: models--owner--name/snapshots/revision
        return folder.parents[1].name.removeprefix("models--").replace("--", "/", 1)
    return folder.name


def weight_files(path: str | Path) -> list[Path]:
    """The safetensors shards of a model directory, sorted by name.

    Raises:
        InputError: there is none (pickled checkpoints are refused: they can run code).
    """
    path = Path(path)
    files = sorted(path.glob("*.safetensors"))
    if not files:
        pickles = sorted(p.name for p in path.iterdir() if p.suffix in PICKLES) if path.is_dir() else []
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
        InputError: the directory holds no vocabulary (transformers makes an empty tokenizer from settings alone).
    """
    path = Path(path)
    if not any((path / name).exists() for name in VOCABULARY_FILES):
        raise InputError(f"model {path}: no tokenizer (none of {', '.join(VOCABULARY_FILES)})")
    return sha256_json({name: sha256_file(path / name) for name in TOKENIZER_FILES if (path / name).exists()})


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
        raise InputError(f"model {path}: its config.json cannot be used ({_reason(error)})") from error


def checkpoint_dtype(config: Any) -> torch.dtype | None:
    """The number format of a checkpoint's weights by its transformers configuration; None when it names none."""
    found = getattr(config, "dtype", None)
    return found if isinstance(found, torch.dtype) else None


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
        raise InputError(f"model {path}: its tokenizer cannot be loaded ({_reason(error)})") from error


def load_model(path: str | Path, *, dtype: str = "auto", device: str = "auto") -> nn.Module:
    """Load a whole causal language model for inference: eval mode, no gradients, no remote code, no pickle.

    `dtype` and `device` as `number_formats.choose_number_format` and `devices.choose_device` take them.

    Raises:
        InputError: not a causal language model, or its weights are missing, incomplete, damaged or of other shapes.
    """
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    path = resolve(path)
    config = load_config(path)
    require_causal_head(path, config)
    weight_files(path)
    target = choose_device(device)
    chosen = choose_number_format(dtype, checkpoint_dtype(config), target)
    chosen.say()
    try:
        with _quiet_transformers():
            model, info = AutoModelForCausalLM.from_pretrained(
                path,
                config=config,
                dtype=chosen.dtype,
                trust_remote_code=False,
                use_safetensors=True,
                ignore_mismatched_sizes=True,  # they are refused below, by name
                output_loading_info=True,
            )
    except (ValueError, OSError, SafetensorError) as error:
        raise InputError(f"model {path}: cannot be loaded as a causal language model ({_reason(error)})") from error
    if info["mismatched_keys"]:
        name, found, wanted = min(info["mismatched_keys"])
        raise InputError(f"model {path}: weight {name} has shape {list(found)}; its config asks for {list(wanted)}")
    if info["missing_keys"]:
        missing = sorted(info["missing_keys"])
        raise InputError(f"model {path}: {len(missing)} weights are missing, the first is {missing[0]}")
    if info["unexpected_keys"]:
        unused = sorted(info["unexpected_keys"])
        log.warning("model %s: %d weights of the files are not used, the first is %s", path, len(unused), unused[0])
    model.eval().requires_grad_(False)
    loaded: nn.Module = model.to(target)
    return prefer_apple_gpu(loaded) if device == "auto" else loaded


@contextlib.contextmanager
def _quiet_transformers() -> Iterator[None]:
    """No progress bar and no report of transformers' own: what is wrong is said in one line by the caller."""
    from transformers.utils import logging as transformers_logging

    verbosity, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


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


def read_raw_config(path: str | Path) -> dict[str, Any]:
    """config.json as plain data.

    Raises:
        InputError: it is missing or not JSON.
    """
    return dict(read_json(Path(path) / "config.json"))
