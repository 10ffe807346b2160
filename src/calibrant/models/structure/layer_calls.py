"""How a model calls its decoder layers: every argument, recorded once, so that layers can be run alone."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from calibrant.errors import InputError, reason_of
from calibrant.models.structure.decoder_layers import DecoderLayer

Allocate = Callable[..., Tensor]  # (shape, dtype=...) -> an empty tensor
HIDDEN = "hidden_states"  # only for layers that are called without positional arguments


@dataclass(frozen=True)
class LayerCall:
    """The arguments of one call of a decoder layer, without the hidden states."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    positional: bool  # the hidden states came as the first positional argument

    def run(self, module: nn.Module, hidden: Tensor) -> Tensor:
        """The layer's output hidden states [1, tokens, width]."""
        if self.positional:
            output = module(hidden, *self.args, **self.kwargs)
        else:
            output = module(*self.args, **{HIDDEN: hidden}, **self.kwargs)
        first: Tensor = output[0] if isinstance(output, tuple) else output
        return first


class _ReachedEndError(Exception):
    """The last decoder layer was reached; the rest of the model need not run."""


class _OtherConventionError(Exception):
    """The model does not hand a layer what the layer before it returned in this form."""


def record_calls(
    model: Any, layers: list[DecoderLayer], input_ids: Tensor, allocate: Allocate = torch.empty
) -> tuple[Tensor, list[list[LayerCall]]]:
    """Run the model up to its first decoder layer for each sequence, and record how it calls every layer.

    No layer computes anything: each only notes its arguments and hands its input on. So masks and
    positions that differ between layers (sliding windows, hybrid attention) come out as the model makes
    them, whatever they are called.

    Args:
        model: a causal language model whose parameters outside the decoder layers are loaded.
        layers: its decoder layers.
        input_ids: int64 [sequences, tokens].
        allocate: gives the tensor for the first layer's inputs, on the CPU.

    Returns:
        The first layer's inputs [sequences, tokens, width] on the CPU, and the calls: calls[layer][sequence].
        Sequences whose arguments are equal share one object.

    Raises:
        InputError: the model changes hidden states between layers, caches keys and values across calls, or does not run
            all of its layers on text alone.
    """
    device = next(p.device for p in model.base_model.parameters() if not p.is_meta)
    hidden: Tensor | None = None
    calls: list[list[LayerCall]] = [[] for _ in layers]
    wrap = False
    for index, row in enumerate(input_ids):
        ids = row[None].to(device)
        try:
            first, recorded = _record(model, layers, ids, wrap)
        except _OtherConventionError:
            if wrap or hidden is not None:
                raise _unfit(model) from None
            wrap = True
            try:
                first, recorded = _record(model, layers, ids, wrap)
            except _OtherConventionError:
                raise _unfit(model) from None
        if hidden is None:
            hidden = allocate((len(input_ids), *first.shape[1:]), dtype=first.dtype)
        hidden[index] = first[0]
        for of_layer, call in zip(calls, recorded, strict=True):
            shared = bool(of_layer) and _equal((of_layer[0].args, of_layer[0].kwargs), (call.args, call.kwargs))
            of_layer.append(of_layer[0] if shared else call)
    assert hidden is not None
    return hidden, calls


def _unfit(model: Any) -> InputError:
    return InputError(
        f"{type(model).__name__}: between two decoder layers it changes the hidden states or passes more than "
        "them, so its layers cannot be run one at a time"
    )


def _record(model: Any, layers: list[DecoderLayer], ids: Tensor, wrap: bool) -> tuple[Tensor, list[LayerCall]]:
    recorded: list[LayerCall] = []
    seen: list[Tensor] = []

    def stub(*args: Any, **kwargs: Any) -> Any:
        positional = HIDDEN not in kwargs
        received = args[0] if positional else kwargs.pop(HIDDEN)
        if seen and received is not seen[-1]:
            raise _OtherConventionError
        if received.ndim != 3:
            raise InputError(
                f"{type(model).__name__}: hands its decoder layers hidden states of {received.ndim} dimensions, not "
                "[batch, tokens, width], so its layers cannot be run one at a time and it cannot be pruned"
            )
        _refuse_cache(model, kwargs)
        seen.append(received)
        recorded.append(LayerCall(args[1:] if positional else args, kwargs, positional))
        if len(recorded) == len(layers):
            raise _ReachedEndError
        return (received,) if wrap else received

    try:
        with _replaced_forward(layers, stub), torch.no_grad():
            model.base_model(input_ids=ids, use_cache=False)
    except _ReachedEndError:
        return seen[0], recorded
    except InputError:
        raise
    except (TypeError, AttributeError, IndexError, ValueError) as error:  # a tuple where a tensor was expected, or so
        if recorded:
            raise _OtherConventionError from error
        raise InputError(f"{type(model).__name__}: cannot be run on text alone ({reason_of(error)})") from error
    raise InputError(
        f"{type(model).__name__}: runs {len(recorded)} of its {len(layers)} decoder layers on text alone, so the rest "
        "have no inputs to be pruned by"
    )


@contextmanager
def _replaced_forward(layers: list[DecoderLayer], stub: Any) -> Iterator[None]:
    """Swap only `forward`, so that models can still read the layers' other attributes."""
    for layer in layers:
        layer.module.forward = stub
    try:
        yield
    finally:
        for layer in layers:
            del layer.module.forward


def _refuse_cache(model: Any, kwargs: Mapping[str, Any]) -> None:
    from transformers.cache_utils import Cache

    for name, value in kwargs.items():
        if isinstance(value, Cache):
            raise InputError(
                f"{type(model).__name__}: passes a cache ({name}) to its layers although use_cache is off, "
                "so running a layer twice would give different results"
            )


def _equal(a: Any, b: Any) -> bool:
    """Whether two recorded arguments are the same, tensors by value."""
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        return isinstance(a, Tensor) and isinstance(b, Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, Mapping):
        return isinstance(b, Mapping) and a.keys() == b.keys() and all(_equal(a[key], b[key]) for key in a)
    if isinstance(a, tuple | list):
        return type(a) is type(b) and len(a) == len(b) and all(_equal(x, y) for x, y in zip(a, b, strict=True))
    return a is b or bool(a == b)
