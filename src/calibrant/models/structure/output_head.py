"""A language model's output head, apart from the model: it is needed at few positions and costs much."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from calibrant.errors import InputError


def output_head(model: nn.Module) -> nn.Module:
    """The module that turns hidden states into logits.

    Raises:
        InputError: the model names none.
    """
    getter = getattr(model, "get_output_embeddings", None)
    head = getter() if getter else None
    if not isinstance(head, nn.Module):
        raise InputError(
            f"model {type(model).__name__} names no output head (get_output_embeddings), so it has no logits"
        )
    return head


def head_is_last(model: nn.Module, head: nn.Module) -> bool:
    """Whether the model returns its head's output as it is (some scale or cap the logits after it).

    Raises:
        InputError: the model does not call its head.
    """
    device = next(head.parameters()).device
    with torch.no_grad(), captured_hidden(head, torch.arange(4, device=device)) as captured:
        logits = model(input_ids=torch.arange(4, device=device)[None], use_cache=False).logits
    if not captured:
        raise InputError(f"model {type(model).__name__} does not call its output head, so its logits cannot be chosen")
    with torch.no_grad():
        return torch.equal(head(captured[0]).float(), logits.float())  # another number format is no other number


@dataclass
class _Capture:
    """A forward pre-hook of the output head: remembers its input and lets only some positions through."""

    hidden: list[torch.Tensor]
    keep: torch.Tensor | None

    def __call__(self, module: nn.Module, arguments: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        hidden = arguments[0]  # [batch, length, width]
        self.hidden.append(hidden)
        keep = slice(0, 1) if self.keep is None else self.keep
        # Contiguous, or PyTorch multiplies by a copy of the head for each row.
        return (hidden.flatten(0, 1)[keep][None].contiguous(), *arguments[1:])


@contextlib.contextmanager
def captured_hidden(head: nn.Module, keep: torch.Tensor | None = None) -> Iterator[list[torch.Tensor]]:
    """The hidden states [batch, length, width] of calls inside the context.

    The model's own logits are then those of the positions `keep` of the flattened batch; None: of one position, for
    callers that apply the head themselves.
    """
    capture = _Capture([], keep)
    handle = head.register_forward_pre_hook(capture)
    try:
        yield capture.hidden
    finally:
        handle.remove()


@contextlib.contextmanager
def given_hidden(head: nn.Module, hidden: torch.Tensor) -> Iterator[None]:
    """Inside the context the head is applied to `hidden` [positions, width], whatever the model computed."""
    handle = head.register_forward_pre_hook(lambda module, arguments: (hidden[None], *arguments[1:]))
    try:
        yield
    finally:
        handle.remove()
