"""Linear layers of one input as one product, which follows their weights or takes them over."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from calibrant.models.decoders.laid_out_linear import LaidOutLinear, activated


@dataclass(frozen=True)
class Part:
    """Rows of a linear layer, or all of them."""

    module: nn.Module
    rows: tuple[int, int] | None = None

    @property
    def weight(self) -> Tensor:
        """A view [out, in]."""
        weight = self.module.weight
        assert isinstance(weight, Tensor)
        return self._of(weight)

    @property
    def bias(self) -> Tensor | None:
        """A view [out], where there is one."""
        bias = self.module.bias
        return self._of(bias) if isinstance(bias, Tensor) else None

    def _of(self, parameter: Tensor) -> Tensor:
        return parameter.detach()[slice(*self.rows)] if self.rows else parameter.detach()


class Product:
    """x -> the outputs of several linear layers, one after the other.

    A layout is a copy of the weights; without one, nothing is copied.
    """

    def __init__(self, parts: Sequence[Part], *, pack: bool) -> None:
        """`pack`: lay out a copy of the weights where that makes products faster; made anew when they change."""
        self.parts = list(parts)
        self.pack = pack
        self._versions: list[tuple[int, int]] = []
        self._maps: list[LaidOutLinear] = []
        self._taken = False

    def take_over(self) -> list[nn.Module]:
        """Lay out the weights for good, as one matrix; the modules whose weights are no longer needed here."""
        self._maps = [_joined(self.parts)]
        self._taken = True
        modules = [part.module for part in self.parts]
        self.parts = []
        return modules

    def __call__(self, x: Tensor, activation: str = "none") -> Tensor:
        """The product, in x's type; with an activation of `laid_out_linear`."""
        maps = self._current()
        if len(maps) == 1:
            return maps[0](x, activation)
        return activated(torch.cat([linear(x) for linear in maps], -1), activation)

    def plus(self, x: Tensor, other: Tensor) -> Tensor:
        """The product of x, plus `other`."""
        maps = self._current()
        return maps[0].plus(x, other) if len(maps) == 1 else other + self(x)

    def times(self, x: Tensor, other: Tensor) -> Tensor:
        """The product of x, times `other` element by element."""
        maps = self._current()
        return maps[0].times(x, other) if len(maps) == 1 else self(x) * other

    def _current(self) -> list[LaidOutLinear]:
        if self._taken:
            return self._maps
        parameters = [parameter for part in self.parts for parameter in part.module.parameters()]
        versions = [(parameter.data_ptr(), parameter._version) for parameter in parameters]
        if versions != self._versions:
            if self.pack:
                self._maps = [_joined(self.parts)]
            else:
                self._maps = [LaidOutLinear(part.weight, part.bias, pack=False) for part in self.parts]
            self._versions = versions
        return self._maps


def let_go(modules: Sequence[nn.Module]) -> None:
    """Free the weights of linear layers that products have taken over; the modules cannot be used afterwards."""
    for module in modules:
        weight = module.weight
        assert isinstance(weight, Tensor)
        module.weight = nn.Parameter(weight.new_empty(0), requires_grad=False)


def _joined(parts: Sequence[Part]) -> LaidOutLinear:
    weights = [part.weight for part in parts]
    biases = [
        part.weight.new_zeros(len(part.weight)) if part.bias is None else part.bias
        for part in parts
        if any(each.bias is not None for each in parts)
    ]
    weight = torch.cat(weights) if len(weights) > 1 else weights[0]
    return LaidOutLinear(weight, torch.cat(biases) if biases else None)
