"""A linear map whose weight is laid out once for the CPU's matrix units.

PyTorch's bfloat16 product on CPU rearranges the weight into blocks on every call, which costs as much as the product
itself when a few dozen rows are multiplied. oneDNN can keep the arrangement; the operators that do so are those that
TorchInductor uses when it freezes a model. The products are bit-identical. What follows a product (SiLU, a sum, an
element-wise product) is applied before it is rounded, which costs nothing and is closer to the exact value.
"""

import functools

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

_ROWS = 64  # for how many rows the layout is chosen: a batch of decoding


class Linear:
    """x -> x W^T + b for W [out, in]; x of any leading shape."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None, *, pack: bool = True) -> None:
        self.out_features = len(weight)
        self.bias = bias
        self.packed = pack and packable(weight)
        self.weight: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, _ROWS) if self.packed else weight

    def __call__(self, x: Tensor, activation: str = "none") -> Tensor:
        """The product, in x's type; `activation` "swish" applies SiLU to it."""
        if self.packed:
            product: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, activation, [], "")
            return product
        product = F.linear(x, self.weight, self.bias)
        return F.silu(product) if activation == "swish" else product

    def plus(self, x: Tensor, other: Tensor) -> Tensor:
        """The product of x, plus `other`; rounded once where packed."""
        return self._with(x, other, "add") if self.packed else other + self(x)

    def times(self, x: Tensor, other: Tensor) -> Tensor:
        """The product of x, times `other` element by element; rounded once where packed."""
        return self._with(x, other, "mul") if self.packed else self(x) * other

    def _with(self, x: Tensor, other: Tensor, operation: str) -> Tensor:
        result: Tensor = torch.ops.mkldnn._linear_pointwise.binary(x, other, self.weight, self.bias, operation)
        return result


def packable(weight: Tensor) -> bool:
    """Whether the packed product exists here: bfloat16 on a CPU with oneDNN's bfloat16 kernels."""
    return weight.dtype == torch.bfloat16 and weight.device.type == "cpu" and _works()


@functools.cache
def _works() -> bool:
    # The operators are not part of PyTorch's public interface: try them once, and do without when they are gone.
    x, weight = torch.ones(2, 32, dtype=torch.bfloat16), torch.ones(32, 32, dtype=torch.bfloat16)
    try:
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, 2)
        product = torch.ops.mkldnn._linear_pointwise(x, packed, None, "none", [], "")
        torch.ops.mkldnn._linear_pointwise(x, packed, None, "swish", [], "")
        for operation in ("add", "mul"):
            torch.ops.mkldnn._linear_pointwise.binary(x, product, packed, None, operation)
        return torch.equal(product, F.linear(x, weight))
    except (AttributeError, RuntimeError, NotImplementedError):
        return False
