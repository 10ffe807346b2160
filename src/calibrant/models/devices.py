"""The one place that chooses device, number format and attention."""

import os
import re

import torch

from calibrant.errors import InputError

BLOCK_ATTENTION = "calibrant_block"  # models/attention.py, as transformers' configurations know it
ATTENTIONS = ("auto", "sdpa")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(name: str = "auto") -> torch.device:
    """`cpu`, `cuda`, `cuda:N`, or `auto`: a GPU when PyTorch can use one.

    Availability is asked of PyTorch, never read from CUDA_VISIBLE_DEVICES, which schedulers set on
    nodes that have no GPU.

    Raises:
        InputError: an unknown name, or a GPU that is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise InputError(f"--device {name}: unknown device; use cpu, cuda, cuda:N or auto")
    device = torch.device(name)
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if not count:
            raise InputError(f"--device {name}: PyTorch finds no usable GPU; use cpu or auto")
        if (device.index or 0) >= count:
            raise InputError(f"--device {name}: PyTorch finds {count} GPUs, numbered from 0")
    return device


def on_gpu(device: torch.device) -> bool:
    """Whether a device is a GPU."""
    return device.type != "cpu"


def free_bytes(device: torch.device) -> int:
    """Memory of a GPU that nobody uses."""
    return int(torch.cuda.mem_get_info(device)[0])


def choose_dtype(name: str = "auto", checkpoint: torch.dtype | None = None) -> torch.dtype:
    """`float32`, `bfloat16`, `float16`, or `auto`: the checkpoint's own (float32 when it names none).

    Raises:
        InputError: an unknown name.
    """
    if name == "auto":
        return checkpoint or torch.float32
    if name not in DTYPES:
        raise InputError(f"--dtype {name}: unknown number format; use {', '.join(DTYPES)} or auto")
    return DTYPES[name]


def choose_attention(device: torch.device, dtype: torch.dtype, name: str = "auto") -> str:
    """What computes attention: `calibrant_block` (attention.py) for bfloat16 on the CPU, else PyTorch's `sdpa`.

    PyTorch's CPU kernel computes bfloat16 at a seventh of the rate of matrix products. float32 keeps it, so that
    results are those of the published codes to the last bit; GPUs have better kernels. `sdpa` as name keeps it always.

    Raises:
        InputError: an unknown name.
    """
    if name not in ATTENTIONS:
        raise InputError(f"--attention {name}: unknown; use {' or '.join(ATTENTIONS)}")
    if name == "sdpa":
        return name
    return BLOCK_ATTENTION if device.type == "cpu" and dtype == torch.bfloat16 else "sdpa"


def hold_instruction_set() -> None:
    """Let MKL use AVX2 and no more, unless the environment says otherwise; call it before anything is computed.

    Sums then round alike on Intel processors with and without AVX-512 and on AMD's. Most results do not care;
    SparseGPT's masks do, and the published ones are those of AVX2. Costs float32 products on the CPU up to half
    of their speed where there is AVX-512; bfloat16 is computed elsewhere (oneDNN) and keeps its own.
    """
    os.environ.setdefault("MKL_ENABLE_INSTRUCTIONS", "AVX2")
