"""See the inputs of linear layers while a decoder layer runs."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from calibrant.models.structure.decoder_layers import Linear

_BATCHED = (torch.bmm, Tensor.bmm)
_PRODUCTS = (nn.functional.linear, torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.mm, Tensor.mm)

Seen = Callable[[str, Tensor], None]  # (linear's name, its input)


@contextmanager
def watched(linears: Mapping[str, Linear], seen: Seen) -> Iterator[None]:
    """Call `seen` with the input of each of these linears, just before they compute."""

    def hook(name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        return lambda module, inputs: seen(name, inputs[0])

    handles = [
        linear.module.register_forward_pre_hook(hook(name)) for name, linear in linears.items() if linear.place is None
    ]
    try:
        # the mode slows every operation down a little
        with _WatchedExperts(linears, seen) if routed(linears) else nullcontext():
            yield
    finally:
        for handle in handles:
            handle.remove()


def routed(linears: Mapping[str, Linear]) -> bool:
    """Whether some of these linears are experts, which a sequence need not reach."""
    return any(linear.place for linear in linears.values())


class _WatchedExperts(TorchFunctionMode):
    """Experts are no modules: their projections are products with a slice of the stacked parameter, or with all of it.

    Llama 4 gives every expert every token, those of other experts as zeros. What an expert is given without a token
    is not seen.
    """

    def __init__(self, linears: Mapping[str, Linear], seen: Seen) -> None:
        super().__init__()
        self._seen = seen
        self._names: dict[int, str] = {}
        self._stacks: dict[int, dict[int, str]] = {}
        self._transposed = {name: linear.transposed for name, linear in linears.items()}
        for name, linear in linears.items():
            if linear.place is not None and linear.place.expert is not None:
                expert = linear.place.expert
                self._names[linear.parameter[expert].data_ptr()] = name
                self._stacks.setdefault(linear.parameter.data_ptr(), {})[expert] = name

    def __torch_function__(  # type: ignore[no-untyped-def]
        self, func, types, args=(), kwargs=None
    ):
        if func in _BATCHED:
            for expert, name in self._stacks.get(args[1].data_ptr(), {}).items():
                self._note(name, args[0][expert][args[0][expert].any(-1)], transposed=True)
        elif func in _PRODUCTS and args[1].ndim == 2 and args[1].data_ptr() in self._names:
            self._note(self._names[args[1].data_ptr()], args[0], transposed=func is not nn.functional.linear)
        return func(*args, **(kwargs or {}))

    def _note(self, name: str, inputs: Tensor, *, transposed: bool) -> None:
        assert transposed == self._transposed[name], f"{name}: its rows and columns lie otherwise than the model says"
        if len(inputs):
            self._seen(name, inputs)
