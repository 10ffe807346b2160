"""The one place that chooses the number format: `auto` is what the device computes well.

The checkpoint's own format is taken where the device computes it at float32's rate or better, else float32. The device
says which it is; where that does not settle it, products of both formats are timed for a few milliseconds.
"""

import functools
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from calibrant.errors import InputError
from calibrant.models.compute.devices import on_gpu
from calibrant.models.compute.hardware import DISTANT_GPU, Hardware, hardware

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
HALVES = (torch.bfloat16, torch.float16)  # the formats of checkpoints beside float32 that a model is computed in
SLOWER = 0.9  # of the rate of what `auto` takes: below, an explicit format costs something worth a warning
PRODUCT = (64, 512, 1024)  # rows, columns, inner size of the product that is timed: 2 ms in float32 on a slow core
REPEATS = 5

log = logging.getLogger(__name__)
_said: set[str] = set()

Rate = Callable[[torch.dtype, torch.device], float]  # of a format, as a share of float32's


@dataclass(frozen=True)
class NumberFormat:
    """The format that a stage computes in.

    dtype: the format.
    reason: why `auto` took it; None where it was given.
    cost: what the given format costs here; None where it costs nothing.
    """

    dtype: torch.dtype
    reason: str | None = None
    cost: str | None = None

    def say(self) -> None:
        """One line on stderr for what was decided here, once a process; nothing for a given format without a cost."""
        name = dtype_name(self.dtype)
        for text in (self.reason and f"number format {name}: {self.reason}", self.cost and f"warning: {self.cost}"):
            if text and text not in _said:
                _said.add(text)
                log.warning(text)  # is seen where no logging is set up


def dtype_name(dtype: torch.dtype) -> str:
    """`torch.bfloat16` -> `bfloat16`, as metadata and messages write it."""
    return str(dtype).removeprefix("torch.")


def suited(dtype: torch.dtype, device: Hardware) -> bool | None:
    """Whether a device computes a 16-bit format at float32's rate or better; None where only a measurement tells."""
    if device.kind == "processor" and not device.features:
        return None  # as on Linux without /proc, where PyTorch reads them
    has = device.features.__contains__
    brain = dtype == torch.bfloat16
    if device.kind == "nvidia":
        # Tensor cores: for bfloat16 since Ampere, for float16 since Volta. A GPU that is elsewhere is taken to be new.
        return device.compute_capability is None or device.compute_capability >= ((8, 0) if brain else (7, 0))
    if device.kind == "processor" and device.architecture == "x86_64":
        if brain and (has("amx_bf16") or has("avx512_bf16") or has("avx10_2")):
            return True
        units = has("avx_ne_convert") if brain else has("avx512_fp16") or has("amx_fp16") or has("avx10_2")
        return None if units else False
    if device.kind == "processor" and device.architecture in ("aarch64", "arm64"):
        # Whether PyTorch uses the units hangs on how it was built.
        return None if has("bf16" if brain else "fp16_arith") else False
    return None


def choose_number_format(
    name: str,
    checkpoint: torch.dtype | None,
    device: torch.device,
    *,
    described: Hardware | None = None,
    rate: Rate | None = None,
) -> NumberFormat:
    """`float32`, `bfloat16` or `float16` as given, or for `auto` what the device computes well.

    Args:
        name: what was asked for.
        checkpoint: the format of the checkpoint's weights; None when it names none.
        device: where it is to be computed.
        described: what the device says of itself; asked by default.
        rate: measures a format's rate as a share of float32's; `relative_rate` by default.

    Raises:
        InputError: an unknown name.
    """
    if name != "auto" and name not in DTYPES:
        raise InputError(f"--dtype {name}: unknown number format; use {', '.join(DTYPES)} or auto")
    described = described or hardware(device)
    rate = rate or relative_rate
    best, reason = _best(checkpoint, device, described, rate)
    if name == "auto":
        return NumberFormat(best, reason)
    given = DTYPES[name]
    if given == best or described == DISTANT_GPU:
        return NumberFormat(given)
    share = rate(given, device) / rate(best, device)
    cost = None
    if share < SLOWER:
        cost = (
            f"matrix products in {name} run at {share:.2g} times the rate of {dtype_name(best)}, which auto would take "
            f"on this {described.text}"
        )
    return NumberFormat(given, cost=cost)


def _best(
    checkpoint: torch.dtype | None, device: torch.device, described: Hardware, rate: Rate
) -> tuple[torch.dtype, str]:
    """What `auto` takes, and why."""
    if checkpoint is None or checkpoint == torch.float32:
        return torch.float32, "the checkpoint names none" if checkpoint is None else "the checkpoint's own format"
    own = f"the checkpoint's {dtype_name(checkpoint)}"
    if checkpoint not in HALVES:
        return torch.float32, f"{own} is no format that models are computed in"
    found = suited(checkpoint, described)
    if found is not None:
        if found:
            return checkpoint, f"the checkpoint's own format, for which this {described.text} has units"
        return torch.float32, f"{own} would be slow, this {described.text} has no units for it"
    share = rate(checkpoint, device)
    measured = f"{own} runs at {share:.2g} times float32's rate on this {described.text} (measured)"
    return (checkpoint if share >= 1 else torch.float32), measured


@functools.cache
def relative_rate(dtype: torch.dtype, device: torch.device) -> float:
    """The rate of a matrix product in a format, as a share of float32's on the same device; takes milliseconds.

    On a processor one thread is timed by its own time: what else runs there then changes little.
    """
    if dtype == torch.float32:
        return 1.0
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _seconds(torch.float32, device) / _seconds(dtype, device)
    finally:
        torch.set_num_threads(threads)


def _seconds(dtype: torch.dtype, device: torch.device) -> float:
    rows, columns, inner = PRODUCT
    x, weight = (torch.ones(shape, dtype=dtype, device=device) for shape in ((rows, inner), (columns, inner)))
    clock = time.perf_counter if on_gpu(device) else time.thread_time
    best = float("inf")
    for _ in range(1 + REPEATS):  # the first sets things up and is the slowest
        begin = clock()
        float(torch.nn.functional.linear(x, weight)[0, 0])  # a GPU has to be done
        best = min(best, clock() - begin)
    return best
