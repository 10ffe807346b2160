"""Which files are a model's weights: the one rule for whoever reads, hashes, copies or links them.

The files that `model.safetensors.index.json` names, where there is one; else `model.safetensors`. Nothing else in the
folder is the model: neither other formats of the same weights (`consolidated.safetensors`) nor adapters. Where there
is no index, a further file with tensors of the same names leaves open which are meant, so it is refused.
"""

import os
from pathlib import Path, PurePath

from calibrant.artefacts.atomic import read_json
from calibrant.artefacts.contents import METADATA_KEY
from calibrant.artefacts.file_kinds import plain_file
from calibrant.errors import InputError
from calibrant.models.checkpoint.weight_headers import Header, StoredTensor, read_header
from calibrant.settings.setting import check_text

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
VARIANTS = "model.*.safetensors"  # `model.fp16.safetensors`, by transformers' convention
PICKLES = (".bin", ".pt", ".pth", ".ckpt")


def weight_files(path: str | Path) -> list[Path]:
    """The safetensors files that are a model's weights, sorted by name.

    Raises:
        InputError: there is none (pickled checkpoints are refused: they can run code), the index names files that are
            not there or not beside it, or another file repeats the weights' names.
    """
    path = Path(path)
    if os.path.lexists(path / INDEX):
        return [path / name for name in _indexed(path)]
    if not os.path.lexists(path / SINGLE):
        raise _none(path)
    plain_file(path / SINGLE)
    _refuse_repetition(path)
    return [path / SINGLE]


def stored_tensors(path: str | Path) -> dict[str, StoredTensor]:
    """Every tensor of a model's weights, sorted by name, from the headers alone.

    Raises:
        InputError: as `weight_files`, a file is damaged, or two files hold a tensor of one name.
    """
    found: dict[str, StoredTensor] = {}
    for file in weight_files(path):
        tensors = read_header(file).tensors
        if twice := sorted(found.keys() & tensors.keys()):
            raise InputError(f"model {path}: {twice[0]} is in {found[twice[0]].file.name} and in {file.name}")
        found |= tensors
    if not found:
        raise InputError(f"model {path}: its weights hold no tensor")
    return dict(sorted(found.items()))


def _indexed(path: Path) -> list[str]:
    """The files that the index names."""
    index = path / INDEX
    plain_file(index)
    read = read_json(index)
    named = read.get("weight_map") if isinstance(read, dict) else None
    if not isinstance(named, dict) or not named or not all(isinstance(name, str) for name in named.values()):
        raise InputError(f"{index}: weight_map must map tensors to the files that hold them")
    names = sorted(set(named.values()))
    for name in names:
        check_text(f"{index}: names the file", name)
        if PurePath(name).name != name or "\\" in name or "\0" in name or not name.endswith(".safetensors"):
            raise InputError(f"{index}: names the file {name!r}; it must be a .safetensors file beside the index")
        if not os.path.lexists(path / name):
            raise InputError(f"{index}: names the file {name}, which is not there")
        plain_file(path / name)
    return names


def _refuse_repetition(path: Path) -> None:
    """Other files may lie beside the weights, so long as nobody can take them for the weights."""
    others = [other for other in sorted(path.glob("*.safetensors")) if other.name != SINGLE]
    others = [other for other in others if not other.match(VARIANTS)]
    headers = [(other, header) for other in others if (header := _header_if_readable(other)) is not None]
    headers = [(other, header) for other, header in headers if METADATA_KEY not in header.metadata]
    if not headers:
        return
    own = read_header(path / SINGLE).tensors
    for other, header in headers:
        if repeated := sorted(own.keys() & header.tensors.keys()):
            raise InputError(
                f"model {path}: {other.name} repeats tensors of {SINGLE} (the first is {repeated[0]}), so which "
                "weights are meant is not clear; move one of them away"
            )


def _header_if_readable(path: Path) -> Header | None:
    try:
        return read_header(path)
    except InputError:
        return None


def _none(path: Path) -> InputError:
    if not path.is_dir():
        return InputError(f"model {path}: no such folder")
    others = sorted(other.name for other in path.glob("*.safetensors"))
    if others:
        return InputError(
            f"model {path}: no {SINGLE} and no {INDEX}, only {others[0]}"
            + (f" and {len(others) - 1} more" if len(others) > 1 else "")
            + "; an index says which files are the weights"
        )
    pickles = sorted(p.name for p in path.iterdir() if p.suffix in PICKLES)
    hint = f" (pickled weights such as {pickles[0]} are not loaded; convert them to safetensors)" if pickles else ""
    return InputError(f"model {path}: no *.safetensors file{hint}")
