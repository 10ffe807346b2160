"""The one place that chooses device, attention and products; `number_formats.py` chooses the number format."""

import os
import platform
import re

import torch

from calibrant.errors import InputError

BLOCK_ATTENTION = "calibrant_block"  # models/decoders/attention_interface.py, as transformers' configurations know it
ATTENTIONS = ("auto", "sdpa")
PRODUCTS = ("auto", "plain")


def choose_device(name: str = "auto") -> torch.device:
    """`cpu`, `cuda`, `cuda:N`, `mps` (Apple's GPU), or `auto`: an NVIDIA GPU when PyTorch can use one, else the CPU.

    Availability is asked of PyTorch, never read from CUDA_VISIBLE_DEVICES, which schedulers set on
    nodes that have no GPU. `auto` leaves Apple's GPU to `load.load_model`, which compares it with the CPU first.

    Raises:
        InputError: an unknown name, or a GPU that is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch("cpu|mps|cuda(:[0-9]{1,4})?", name):
        raise InputError(f"--device {name}: unknown device; use cpu, cuda, cuda:N, mps or auto")
    device = torch.device(name)
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if not count:
            raise InputError(f"--device {name}: PyTorch finds no usable GPU; use cpu or auto")
        if (device.index or 0) >= count:
            raise InputError(f"--device {name}: PyTorch finds {count} GPUs, numbered from 0")
    if device.type == "mps" and not apple_gpu():
        raise InputError(f"--device {name}: PyTorch finds no usable Apple GPU; use cpu or auto")
    return device


def apple_gpu() -> bool:
    """Whether PyTorch can use a GPU of Apple's here."""
    return torch.backends.mps.is_available()


def distant_gpu(name: str) -> torch.device | None:
    """The GPU that a study names and this machine does not have, as a cluster's login node; None for any other name."""
    return torch.device("cuda") if name.startswith("cuda") and not torch.cuda.is_available() else None


def on_gpu(device: torch.device) -> bool:
    """Whether a device is a GPU."""
    return device.type != "cpu"


def pins(device: torch.device) -> bool:
    """Whether copies to a device gain from pinned memory of the host; Apple's GPU shares the host's memory."""
    return device.type == "cuda"


def free_bytes(device: torch.device) -> int:
    """Memory of a GPU that nobody uses."""
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
    return int(torch.cuda.mem_get_info(device)[0])


def choose_attention(device: torch.device, dtype: torch.dtype, name: str = "auto") -> str:
    """What computes attention: `calibrant_block` (attention.py) on the CPU, else PyTorch's `sdpa`.

    PyTorch's CPU kernel computes bfloat16 at a seventh of the rate of matrix products; in float32 it is slower at some
    lengths only, and keeps the others. GPUs have better kernels. `sdpa` as name keeps PyTorch's always, which is
    what the published codes compute with.

    Raises:
        InputError: an unknown name.
    """
    if name not in ATTENTIONS:
        raise InputError(f"--attention {name}: unknown; use {' or '.join(ATTENTIONS)}")
    if name == "sdpa":
        return name
    return BLOCK_ATTENTION if device.type == "cpu" and dtype in (torch.bfloat16, torch.float32) else "sdpa"


def choose_products(device: torch.device, dtype: torch.dtype, name: str = "auto") -> str:
    """How linear layers multiply while a model is pruned: `packed` (linear.py) in float32 on x86, else `plain`.

    oneDNN's products of weights that are laid out once take an eighth less time than MKL's there, which PyTorch calls;
    they add in another order. bfloat16 gains too little for laying weights out twice. `plain` as name keeps PyTorch's
    always, which is what the published codes compute with.

    Raises:
        InputError: an unknown name.
    """
    if name not in PRODUCTS:
        raise InputError(f"--products {name}: unknown; use {' or '.join(PRODUCTS)}")
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    return "packed" if name == "auto" and x86 and device.type == "cpu" and dtype == torch.float32 else "plain"


def hold_instruction_set() -> None:
    """Let MKL use AVX2 and no more, unless the environment says otherwise; call it before anything is computed.

    Sums then round alike on Intel processors with and without AVX-512 and on AMD's. Most results do not care;
    SparseGPT's masks do, and the published ones are those of AVX2. Costs float32 products on the CPU up to half
    of their speed where there is AVX-512; bfloat16 is computed elsewhere (oneDNN) and keeps its own.
    """
    os.environ.setdefault("MKL_ENABLE_INSTRUCTIONS", "AVX2")
