"""A linear map whose weight is laid out once for the CPU's matrix units.

PyTorch's product on a CPU rearranges the weight into blocks on every call, which costs as much as the product itself
when a few dozen rows are multiplied. oneDNN can keep the arrangement; the operators that do so are those that
TorchInductor uses when it freezes a model. In bfloat16 the products are bit-identical, in float32 their additions have
another order. What follows a product (an activation, a sum, an element-wise product) is applied before it is rounded,
which costs nothing and is closer to the exact value.
"""

import functools
import threading

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

_ROWS = 64  # for how many rows the layout is chosen: a batch of decoding
LAID_OUT_ROWS = 512  # the same for `lay_out`: a sequence
_FUSED = {"none": ("none", ""), "silu": ("swish", ""), "relu": ("relu", ""), "gelu": ("gelu", "none")}
_FUSED["gelu_tanh"] = ("gelu", "tanh")


def activated(x: Tensor, activation: str) -> Tensor:
    """An activation of x: "none", "silu", "relu", "gelu" or "gelu_tanh", as PyTorch computes it."""
    if activation == "none":
        return x
    if activation.startswith("gelu"):
        return F.gelu(x, approximate="tanh" if activation == "gelu_tanh" else "none")
    return F.silu(x) if activation == "silu" else F.relu(x)


class LaidOutLinear:
    """x -> x W^T + b for W [out, in]; x of any leading shape."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None, *, pack: bool = True) -> None:
        self.out_features = len(weight)
        self.bias = bias
        self.packed = pack and packable(weight)
        self.weight: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, _ROWS) if self.packed else weight

    def __call__(self, x: Tensor, activation: str = "none") -> Tensor:
        """The product, in x's type, and its `activated`."""
        if self.packed:
            name, algorithm = _FUSED[activation]
            product: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, name, [], algorithm)
            return product
        return activated(F.linear(x, self.weight, self.bias), activation)

    def plus(self, x: Tensor, other: Tensor) -> Tensor:
        """The product of x, plus `other`; rounded once where packed."""
        return self._with(x, other, "add") if self.packed else other + self(x)

    def times(self, x: Tensor, other: Tensor) -> Tensor:
        """The product of x, times `other` element by element; rounded once where packed."""
        return self._with(x, other, "mul") if self.packed else self(x) * other

    def _with(self, x: Tensor, other: Tensor, operation: str) -> Tensor:
        result: Tensor = torch.ops.mkldnn._linear_pointwise.binary(x, other, self.weight, self.bias, operation)
        return result


class LaidOutForward:
    """The forward of an `nn.Linear` whose weight is laid out once, and again when it is replaced or changed."""

    def __init__(self, module: nn.Linear) -> None:
        self.module = module
        self.forget()
        self._lock = threading.Lock()  # sequences may run side by side

    def forget(self) -> None:
        """Let go of the layout, a copy of the weight."""
        self._of: Tensor | None = None
        self._version = -1
        self._layout: Tensor | None = None

    def __call__(self, input: Tensor) -> Tensor:
        """The product of `input` [..., in]: [..., out]."""
        weight = self.module.weight
        with self._lock:
            if self._of is not weight or self._version != weight._version:
                self._layout = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), LAID_OUT_ROWS)
                self._of, self._version = weight, weight._version
            layout = self._layout
        product: Tensor = torch.ops.mkldnn._linear_pointwise(input, layout, self.module.bias, "none", [], "")
        return product


def lay_out(model: nn.Module) -> list[LaidOutForward]:
    """Let every `nn.Linear` of a model multiply by a weight that is laid out for oneDNN, where that works here.

    The modules, their hooks and their weights stay what they are. In float32 products differ from PyTorch's in the
    order of their additions.
    """
    if not _works_in(torch.float32):
        return []
    forwards = []
    for module in model.modules():
        if type(module) is nn.Linear:
            forward = LaidOutForward(module)
            module.forward = forward  # type: ignore[method-assign]
            forwards.append(forward)
    return forwards


def packable(weight: Tensor) -> bool:
    """Whether the packed product exists here: bfloat16 and float32 on a CPU, with oneDNN's kernels for them."""
    known = weight.dtype in (torch.bfloat16, torch.float32) and weight.device.type == "cpu"
    return known and weight.numel() > 0 and _works_in(weight.dtype)


@functools.cache
def _works_in(dtype: torch.dtype) -> bool:
    # The operators are not part of PyTorch's public interface: try them once, and do without when they are gone.
    x, weight = torch.ones(2, 32, dtype=dtype), torch.ones(32, 32, dtype=dtype)
    try:
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, 2)
        product = torch.ops.mkldnn._linear_pointwise(x, packed, None, "none", [], "")
        for name, algorithm in _FUSED.values():
            torch.ops.mkldnn._linear_pointwise(x, packed, None, name, [], algorithm)
        for operation in ("add", "mul"):
            torch.ops.mkldnn._linear_pointwise.binary(x, product, packed, None, operation)
        return torch.equal(product, F.linear(x, weight))
    except (AttributeError, RuntimeError, NotImplementedError):
        return False
