"""How many logits exist at a time: the one place that scoring and evaluation have them from.

A sequence's logits are its length times a vocabulary of up to 260,000, more than the rest of a forward pass.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from calibrant.models.compute.devices import on_gpu
from calibrant.models.structure.output_head import captured_hidden, given_hidden, head_is_last, output_head
from calibrant.settings.batches import HEAD_POSITIONS

log = logging.getLogger(__name__)

# Float32 logits that a CPU core's cache holds, so that every pass over them costs little. They are two since, with
# several threads, PyTorch adds up a row in an order that depends on how many rows there are: one would change results.
EVALUATION_CACHE = 1 << 18
SCORING_CACHE = 1 << 19


def position_chunks(rows: Tensor) -> tuple[Tensor, ...]:
    """Rows of positions [positions, ...] in parts of HEAD_POSITIONS."""
    return torch.split(rows, HEAD_POSITIONS)


def chunked_logits(head: Callable[[Tensor], Tensor], hidden: Tensor) -> Iterator[Tensor]:
    """Logits [rows, vocabulary] of hidden states [positions, width], HEAD_POSITIONS at a time."""
    return map(head, position_chunks(hidden))


def cache_rows(logits: Tensor, elements: int) -> int:
    """How many rows of logits [rows, vocabulary] to go over at a time: so many elements on a CPU, all on a GPU."""
    return len(logits) if on_gpu(logits.device) else max(1, elements // logits.shape[-1])


class PositionLogits:
    """Logits of a transformers model at the positions that are asked for, HEAD_POSITIONS at a time.

    Where the output head is the last thing, it is applied to the hidden states. Other models scale or cap their logits
    after it, so their own are taken: the first chunk in the pass itself, every further one in a pass over one token,
    whose hidden state the chunk takes the place of.

    Attributes:
        head: the output head.
        head_is_last: whether the model returns its output as it is.
    """

    def __init__(self, model: nn.Module) -> None:
        """Ask the model where its head is, and whether it is the last thing.

        Raises:
            InputError: it names none, or does not call it.
        """
        self.model = model
        self.head = output_head(model)
        self.head_is_last = head_is_last(model, self.head)

    def say(self) -> None:
        """Log that the model's own logits are taken, where they are."""
        if not self.head_is_last:
            log.warning("%s changes logits after its output head; its own are taken", type(self.model).__name__)

    @torch.no_grad()
    def __call__(self, inputs: Mapping[str, Any], keep: Tensor) -> Iterator[Tensor]:
        """Logits [rows, vocabulary] at the positions `keep` (int64 indices into the flattened batch), in chunks.

        Args:
            inputs: what the model is called with, `input_ids` [batch, length] among it.
            keep: at least one position, in the order of the rows.
        """
        if self.head_is_last:
            yield from self.of_hidden(self.hidden(inputs, keep))
            return
        first, *others = position_chunks(keep)
        with captured_hidden(self.head, keep=first) as captured:
            logits = self.model(**inputs).logits[0]
        yield logits
        for places in others:
            yield self._own(inputs["input_ids"][:1, :1], captured[0].flatten(0, 1)[places])

    @torch.no_grad()
    def hidden(self, inputs: Mapping[str, Any], keep: Tensor) -> Tensor:
        """What the head is given [rows, width] at the positions `keep`; `of_hidden` makes logits of it."""
        with captured_hidden(self.head) as captured:
            self.model(**inputs)
        return captured[0].flatten(0, 1)[keep]

    @torch.no_grad()
    def of_hidden(self, hidden: Tensor) -> Iterator[Tensor]:
        """Logits [rows, vocabulary] of hidden states [positions, width] that this model's head was given, in chunks."""
        if self.head_is_last:
            yield from chunked_logits(self.head, hidden)
            return
        token = torch.zeros(1, 1, dtype=torch.long, device=hidden.device)
        for part in position_chunks(hidden):
            yield self._own(token, part)

    def _own(self, token: Tensor, hidden: Tensor) -> Tensor:
        """The model's own logits [rows, vocabulary] of hidden states [rows, width], in a pass over `token` [1, 1]."""
        with given_hidden(self.head, hidden):
            logits: Tensor = self.model(input_ids=token, use_cache=False).logits[0]
        return logits
