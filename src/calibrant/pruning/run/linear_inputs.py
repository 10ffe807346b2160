"""See the inputs of linear layers while a decoder layer runs."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from calibrant.models.structure.decoder_layers import Linear

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
    """Experts are no modules: their projections are calls of F.linear with a slice of the stacked parameter."""

    def __init__(self, linears: Mapping[str, Linear], seen: Seen) -> None:
        super().__init__()
        self._seen = seen
        self._names = {
            linear.parameter[linear.place.expert].data_ptr(): name
            for name, linear in linears.items()
            if linear.place is not None
        }

    def __torch_function__(  # type: ignore[no-untyped-def]
        self, func, types, args=(), kwargs=None
    ):
        if func is nn.functional.linear:
            name = self._names.get(args[1].data_ptr())
            if name is not None:
                self._seen(name, args[0])
        return func(*args, **(kwargs or {}))
