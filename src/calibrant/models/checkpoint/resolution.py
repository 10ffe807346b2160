"""What `auto` was resolved to where a study began: a file that every stage of the study takes as its input.

So that stages cannot disagree, on whatever node each of them runs.
"""

import logging
from pathlib import Path
from typing import Any

from calibrant.artefacts.atomic import read_json, write_json
from calibrant.errors import InputError
from calibrant.models.checkpoint.checkpoint import Checkpoint, as_checkpoint
from calibrant.models.compute.devices import choose_device, distant_gpu
from calibrant.models.compute.hardware import DISTANT_GPU, hardware
from calibrant.models.compute.number_formats import DTYPES, NumberFormat, choose_number_format, dtype_name

log = logging.getLogger(__name__)


def resolve_dtype(model: str | Path | Checkpoint, dtype: str = "auto", device: str = "auto") -> NumberFormat:
    """The number format of a model on a device of this machine.

    Raises:
        InputError: an unknown name, a GPU that is not there, or no usable config.json.
    """
    return choose_number_format(dtype, as_checkpoint(model).dtype, choose_device(device))


def write_resolved(output: str | Path, model: str | Path | Checkpoint, device: str = "auto") -> NumberFormat:
    """Resolve `auto` for a study and write it down: `dtype`, `checkpoint`, `device`, `hardware` and `reason`.

    Where the study names a GPU and begins on a machine without one, as on a cluster's login node, the GPU is taken to
    compute 16-bit formats well.

    Raises:
        InputError: as `resolve_dtype`.
    """
    checkpoint = as_checkpoint(model).dtype
    elsewhere = distant_gpu(device)
    place = elsewhere or choose_device(device)
    described = hardware(place) if elsewhere is None else DISTANT_GPU
    found = choose_number_format("auto", checkpoint, place, described=described)
    record = {
        "dtype": dtype_name(found.dtype),
        "checkpoint": None if checkpoint is None else dtype_name(checkpoint),
        "device": place.type,
        "hardware": described.text,
        "reason": found.reason,
    }
    write_json(output, record)
    return found


def resolved_dtype(path: str | Path, device: str = "auto") -> str:
    """The format's name in such a file; says it in one line, and there whether this device would have taken another.

    Raises:
        InputError: as `read_resolved`, or a device that is not there.
    """
    found = read_resolved(path)
    place = choose_device(device)
    checkpoint = DTYPES.get(found.get("checkpoint") or "")
    described = hardware(place)
    here = dtype_name(choose_number_format("auto", checkpoint, place, described=described).dtype)
    said = f"number format {found['dtype']}: as {Path(path).name} says"
    if here != found["dtype"]:
        said = (
            f"number format {found['dtype']}: the study resolved auto to it on {found.get('hardware')}; this "
            f"{described.text} would take {here} (remove {Path(path).name} to resolve it anew)"
        )
    log.warning(said)
    return str(found["dtype"])


def read_resolved(path: str | Path) -> dict[str, Any]:
    """A file of `write_resolved`.

    Raises:
        InputError: it is not there or is none of these files.
    """
    try:
        found = read_json(path)
    except InputError as error:
        raise InputError(f"--resolved {error}; give a study's number-format.json") from None
    if not isinstance(found, dict) or found.get("dtype") not in DTYPES:
        raise InputError(
            f"--resolved {path}: no number-format.json of a study; its key dtype must be one of {', '.join(DTYPES)}"
        )
    return found
