"""What this computer does in a second: the rates that the cost model reckons with, measured in about two seconds.

Processor seconds of the threads are counted, not the clock: other programs on the same cores then change little. The
fastest of several runs counts.
"""

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from calibrant.models.compute.devices import BLOCK_ATTENTION, choose_attention
from calibrant.models.compute.hardware import hardware
from calibrant.models.compute.number_formats import dtype_name
from calibrant.models.decoders.block_attention import block_attention, gains
from calibrant.models.decoders.laid_out_linear import LaidOutLinear
from calibrant.study.cost import attention_flops
from calibrant.study.machines import HERE, Assumption, Machine, processor_like
from calibrant.study.shapes import Shape

HEAD = 64  # width of an attention head
LAYER = Shape(1, 576, 1536, 9 * HEAD, 3 * HEAD, 0)  # a decoder layer of SmolLM2-135M
TOKENS = 256  # in the layer's products
DECODED = 16  # rows of a decoding step
READ = 128 << 20  # bytes of weights that a step reads: more than caches hold
BUDGET = 0.4  # seconds for each of the four rates, after a first run that is not counted
TAKEN = ("choose", "load", "start", "runtime")  # rates that are not measured
CPU = torch.device("cpu")


def machine_here(dtype: torch.dtype, threads: int = 1, length: int = 512) -> Machine:
    """This computer's processor as a machine of the cost model.

    Args:
        dtype: the number format of the study.
        threads: of a job; no more than there are cores are used.
        length: tokens of a sequence, on which the rate of attention depends.

    Returns:
        Products, attention, float32 and bandwidth as measured; what is left is that of the processor of the table that
        computes in the same format.
    """
    cores = os.cpu_count() or 1
    threads = max(1, min(threads, cores))
    where = hardware(CPU).text
    together = f", {threads} threads" if threads > 1 else ""
    like = processor_like(dtype_name(dtype))
    found = dict(like.assumptions)
    for name in TAKEN:
        found[name] = replace(found[name], origin=f"{found[name].origin}; of {like.label}")
    for name, rate in measured_rates(dtype, threads, length).items():
        number_format = "float32" if name == "float32" else dtype_name(dtype)
        found[name] = Assumption(
            rate, like.assumptions[name].unit, f"measured now on {where}, {number_format}{together}"
        )
    return Machine(HERE, f"this computer ({where})", dtype_name(dtype), found, cores // threads)


@torch.no_grad()
def measured_rates(dtype: torch.dtype, threads: int = 1, length: int = 512) -> dict[str, float]:
    """Rates of this computer's processor by the names of `cost.Rates`, those that are measured."""
    with _threads(threads):
        products = layer_rate(dtype)
        return {
            "products": products,
            "attention": attention_rate(dtype, length),
            "float32": float32_rate(),
            "bandwidth": bandwidth(dtype, products),
        }


def layer_rate(dtype: torch.dtype) -> float:
    """FLOP/s in the matrix products of a decoder layer, with the norms, rotation, gate and sums that stand between."""
    layer = {name: _linear(rows, columns, dtype) for name, (rows, columns) in _weights().items()}
    x = torch.ones(TOKENS, LAYER.width, dtype=dtype)
    cos = sin = torch.full((TOKENS, (LAYER.queries + LAYER.keys) // HEAD, HEAD), 0.7, dtype=dtype)

    def run() -> None:
        states = layer["qkv"](_norm(x)).view(TOKENS, -1, HEAD)
        turned = states[:, : cos.shape[1]]
        turned = torch.addcmul(turned * cos, turned.roll(HEAD // 2, dims=-1), sin)
        mixed = turned[:, : LAYER.queries // HEAD].reshape(TOKENS, -1)  # attention is measured by itself
        hidden = layer["out"].plus(mixed, x)
        inner = _norm(hidden)
        layer["down"].plus(layer["up"].times(inner, layer["gate"](inner, "silu")), hidden)

    return 2 * LAYER.layer_weights * TOKENS / seconds(run)


def attention_rate(dtype: torch.dtype, length: int) -> float:
    """FLOP/s in causal attention, by the kernel that pruning takes for this format and length here."""
    q = torch.full((1, LAYER.queries // HEAD, length, HEAD), 0.1, dtype=dtype)
    k, v = (torch.full((1, LAYER.keys // HEAD, length, HEAD), 0.1, dtype=dtype) for _ in range(2))
    run: Callable[[], Tensor] = partial(F.scaled_dot_product_attention, q, k, v, is_causal=True, enable_gqa=True)
    if choose_attention(CPU, dtype) == BLOCK_ATTENTION and gains(dtype, length):
        run = partial(block_attention, q, k, v)
    return attention_flops(LAYER, length, length) / seconds(run)


def float32_rate() -> float:
    """FLOP/s in float32 products, of the kind of which SparseGPT's Hessians are made."""
    inputs = torch.ones(TOKENS, LAYER.inner)
    return 2 * TOKENS * LAYER.inner**2 / seconds(lambda: inputs.T @ inputs)


def bandwidth(dtype: torch.dtype, products: float) -> float:
    """Bytes/s that a step of decoding reads: what its time is besides the products.

    At least half of the time: products of few rows are slower than the layer's, whose rate is taken off.

    Args:
        dtype: the number format.
        products: FLOP/s, as `layer_rate` has them.
    """
    count = math.ceil(READ / (LAYER.inner * LAYER.width * dtype.itemsize))
    weights = [_linear(LAYER.inner, LAYER.width, dtype) for _ in range(count)]
    x = torch.ones(DECODED, LAYER.width, dtype=dtype)
    numbers = count * LAYER.inner * LAYER.width
    step = seconds(lambda: [weight(x) for weight in weights])
    return numbers * dtype.itemsize / max(step - 2 * DECODED * numbers / products, step / 2)


def seconds(run: Callable[[], object]) -> float:
    """Processor seconds of a thread in the fastest run; as many as BUDGET allows, at least one after the first."""
    run()  # lays out what is needed, and is the slowest
    fastest, spent = math.inf, 0.0
    while spent < BUDGET:
        begin = time.process_time()
        count = 0
        while (taken := time.process_time() - begin) < 0.02:  # some systems' clocks tick so seldom
            run()
            count += 1
        fastest = min(fastest, taken / count / torch.get_num_threads())
        spent += taken / torch.get_num_threads()
    return fastest


def _weights() -> dict[str, tuple[int, int]]:
    """Outputs and inputs of the layer's products."""
    return {
        "qkv": (LAYER.queries + 2 * LAYER.keys, LAYER.width),
        "out": (LAYER.width, LAYER.queries),
        "gate": (LAYER.inner, LAYER.width),
        "up": (LAYER.inner, LAYER.width),
        "down": (LAYER.width, LAYER.inner),
    }


def _linear(rows: int, columns: int, dtype: torch.dtype) -> LaidOutLinear:
    return LaidOutLinear(torch.full((rows, columns), 1 / columns, dtype=dtype))


def _norm(x: Tensor) -> Tensor:
    wide = x.float()
    return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + 1e-5)).to(x.dtype)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """PyTorch's threads for the while."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
