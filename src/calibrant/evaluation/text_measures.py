"""Measures of a text in one pass over a model: loss of every token, and divergence from the dense model beside it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from calibrant.errors import InputError
from calibrant.evaluation.evaluated_text import Windows
from calibrant.evaluation.likelihood.token_measures import OwnSide, divergence, joined, own_side
from calibrant.evaluation.likelihood.tree_scorer import Forward
from calibrant.evaluation.measure_table import AGREEMENT, DIVERGENCE, LOSS, UnitMeasures
from calibrant.models.compute.shelf import Shelf

CPU = torch.device("cpu")


@dataclass(frozen=True)
class DenseText:
    """The dense model's side of a text: all that its logits can be made of again, a vocabulary's size smaller.

    Attributes:
        hidden: what its head is given at each predicting position [n, width], in the model's number format.
        own: what it says of the n predicted tokens.
        shelf: where jobs of one model share the logits that are made of it; None where nothing is shared.
    """

    hidden: Tensor
    own: OwnSide
    shelf: Shelf | None = None


@dataclass(frozen=True)
class TokenMeasures:
    """Of the n predicted tokens of a text, in the order of its windows.

    Attributes:
        own: what the model says of them.
        divergence: from the dense model, float32 [n]; None without one.
    """

    own: OwnSide
    divergence: Tensor | None = None


def measure_tokens(
    forward: Forward,
    windows: Windows,
    batch_tokens: int,
    dense: DenseText | None = None,
    progress: Callable[[int], Any] | None = None,
) -> TokenMeasures:
    """What a model says of a text, and how far it is from the dense model, where that one's side is given.

    The dense model's logits are made of its hidden states by this model's head: compression leaves heads as they are.

    Args:
        forward: the model.
        windows: of the text.
        batch_tokens: of a forward pass, at most; results differ by rounding alone.
        dense: the dense model's side of the same windows.
        progress: called with the number of windows done.

    Raises:
        InputError: a loss is not finite.
    """
    order: list[int] = []
    sides: list[OwnSide] = []
    apart: list[Tensor] = []
    for places, hidden, targets in _hidden_states(forward, windows, batch_tokens, progress):
        order += places
        theirs = iter(()) if dense is None else _their_logits(forward, dense, places, hidden.device)
        for logits, wanted, here in _chunks(forward, hidden, targets, places):
            side = own_side(logits, wanted)
            sides.append(side.rows_on(CPU))
            if dense is not None:
                partition = dense.own.partition[here].to(logits.device)
                apart.append(divergence(logits, side.partition, next(theirs), partition).cpu())
    back = torch.argsort(torch.tensor(order))
    return TokenMeasures(_finite(joined(sides).rows(back)), torch.cat(apart)[back] if apart else None)


def dense_text(
    forward: Forward, windows: Windows, batch_tokens: int, progress: Callable[[int], Any] | None = None
) -> DenseText:
    """The dense model's side of a text, for `measure_tokens` of any number of compressed ones.

    Raises:
        InputError: a loss is not finite.
    """
    order: list[int] = []
    kept: list[Tensor] = []
    sides: list[OwnSide] = []
    for places, hidden, targets in _hidden_states(forward, windows, batch_tokens, progress):
        order += places
        kept.append(hidden.cpu())
        chunks = _chunks(forward, hidden, targets, places)
        sides += [own_side(logits, wanted).rows_on(CPU) for logits, wanted, _ in chunks]
    back = torch.argsort(torch.tensor(order))
    return DenseText(torch.cat(kept)[back], _finite(joined(sides).rows(back)))


def _hidden_states(
    forward: Forward, windows: Windows, batch_tokens: int, progress: Callable[[int], Any] | None
) -> Iterator[tuple[list[int], Tensor, Tensor]]:
    """Of each forward pass: which of the text's predicted tokens, what the head is given for them, and the tokens."""
    starts = [0, *accumulate(windows.counts)]
    for batch in forward.batches([request.inputs for request in windows.requests], batch_tokens):
        asked = [windows.requests[i] for i in batch]
        hidden = forward.hidden([request.inputs for request in asked], [len(request.targets) for request in asked])
        targets = torch.tensor([token for request in asked for token in request.targets])
        yield [place for i in batch for place in range(starts[i], starts[i + 1])], hidden, targets
        if progress:
            progress(len(batch))


def _their_logits(forward: Forward, dense: DenseText, places: Sequence[int], device: torch.device) -> Iterator[Tensor]:
    """The dense model's logits at these places, in chunks; they are made once for all jobs that share a model."""
    hidden = dense.hidden[places]
    if dense.shelf is None:
        return forward.of_hidden(hidden.to(device))
    # Sums within a product may be ordered by the number of threads.
    key = b"%d %s" % (torch.get_num_threads(), hidden.view(torch.uint8).numpy().tobytes())
    return dense.shelf.chunks(key, len(hidden), lambda: forward.of_hidden(hidden))


def _chunks(
    forward: Forward, hidden: Tensor, targets: Tensor, places: Sequence[int]
) -> Iterator[tuple[Tensor, Tensor, Sequence[int]]]:
    """Logits in chunks, with the tokens that they predict and these tokens' places."""
    seen = 0
    for logits in forward.of_hidden(hidden):
        here = slice(seen, seen + len(logits))
        yield logits, targets[here].to(logits.device), places[here]
        seen += len(logits)


def _finite(side: OwnSide) -> OwnSide:
    if not bool(torch.isfinite(side.loss).all()):
        raise InputError("the model's log-likelihoods are not finite; try --dtype float32")
    return side


def text_measures(
    name: str, windows: Windows, found: TokenMeasures, dense: DenseText | None = None
) -> list[UnitMeasures]:
    """Measures by document: the loss, and beside the dense model the divergence and the agreement."""
    values = {LOSS: found.own.loss.double()}
    if dense is not None and found.divergence is not None:
        values[DIVERGENCE] = found.divergence.double()
        values[AGREEMENT] = (found.own.top == dense.own.top).double()
    counts = [round(count) for count in windows.by_document([1.0] * len(found.own))]
    return [
        UnitMeasures(name, "text", windows.names, measure, windows.by_document(each.tolist()), counts)
        for measure, each in values.items()
    ]
