"""From logits to the next token: repetition penalty, temperature, top-k, top-p, then inverse CDF.

The order, the ties and the float32 arithmetic are those of transformers' logits processors, so that the
distributions are the same; but only the few candidates that can survive top-k are ever converted, penalised
and sorted, never the whole vocabulary.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from calibrant.generation.generated_rows import Vocabulary
from calibrant.settings.text_settings import DecodingSettings

NEVER = -torch.inf
LEAST_GROUP = 8  # columns; smaller groups gain nothing over a selection from all columns
TIE_MARGIN = 16  # transformers keeps every token that ties with the k-th; bfloat16 logits tie often


@dataclass(frozen=True)
class Candidates:
    """The tokens that a draw can give, best first, with their probabilities [rows, c]; zero where cut off."""

    tokens: Tensor
    probabilities: Tensor


@dataclass(frozen=True)
class History:
    """The tokens of each row so far.

    `ids` [rows, n]: a row that is shorter is filled with its own first token. `first` [rows, n]: True where a
    token stands for the first time in its row (fillers are False). `special_seen` [rows, s]: whether the row holds
    each special token (only a prefix can).
    """

    ids: Tensor
    first: Tensor
    special_seen: Tensor


def _penalise(values: Tensor, penalty: float) -> Tensor:
    return torch.where(values < 0, values * penalty, values / penalty)


def _order(values: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Descending by value; among equal values the higher id first, as a stable ascending sort has it, reversed."""
    tokens, by_id = tokens.sort(dim=-1, descending=True)
    values, by_value = values.gather(-1, by_id).sort(dim=-1, descending=True, stable=True)
    return values, tokens.gather(-1, by_value)


def _cut(values: Tensor, tokens: Tensor, settings: DecodingSettings) -> Candidates:
    """Top-k and top-p on scores sorted in descending order [rows, c]."""
    if 0 < settings.top_k < values.shape[-1]:
        values = values.masked_fill(values < values[:, settings.top_k - 1 : settings.top_k], NEVER)
    if settings.top_p < 1:
        ascending = torch.softmax(values.flip(-1), dim=-1).cumsum(dim=-1)
        remove = (ascending <= 1 - settings.top_p).flip(-1)
        remove[:, 0] = False
        values = values.masked_fill(remove, NEVER)
    return Candidates(tokens, torch.softmax(values, dim=-1))


@dataclass(frozen=True)
class Choice:
    """What a draw can give. `without`: special tokens excluded, every row. `own`: the model's own distribution, only
    for the rows in `differs` (int64 indices), where a special token has a chance; elsewhere the two are the same."""

    without: Candidates
    own: Candidates
    differs: Tensor


def candidates(
    logits: Tensor, history: History, vocabulary: Vocabulary, settings: DecodingSettings, special: Tensor
) -> Choice:
    """The distribution over the next token without special tokens, and the model's own with them.

    Args:
        logits: [rows, vocabulary], any float type. Overwritten.
        history: the rows so far.
        vocabulary: ids beyond `vocabulary.size` have no probability in either distribution.
        settings: top-k, top-p, temperature, repetition penalty.
        special: `vocabulary.special` as an int64 tensor on the logits' device.
    """
    seen = logits.gather(1, history.ids).float()
    seen = _penalise(seen, settings.repetition_penalty) / settings.temperature
    plain = history.first
    if len(special):
        marks = logits.index_select(1, special).float()
        marks = torch.where(history.special_seen, _penalise(marks, settings.repetition_penalty), marks)
        marks = marks / settings.temperature
        plain = plain & ~torch.isin(history.ids, special)
    else:
        marks = logits.new_empty((len(logits), 0), dtype=torch.float32)
    seen = seen.masked_fill(~plain, NEVER)
    logits.scatter_(1, history.ids, NEVER)
    logits.index_fill_(1, special, NEVER)
    logits[:, vocabulary.size :] = NEVER

    width = settings.top_k + TIE_MARGIN if settings.top_k else logits.shape[1]
    while True:
        top, top_tokens = best(logits, min(width, logits.shape[1]))
        top = top.float() / settings.temperature
        without = _order(*_best(torch.cat([top, seen], 1), torch.cat([top_tokens, history.ids], 1), width))
        differs = _reached(marks, without[0], settings)
        ids = special.expand(len(differs), -1)
        values, tokens = (part[differs] for part in without)
        own = _order(*_best(torch.cat([values, marks[differs]], 1), torch.cat([tokens, ids], 1), width))
        if width >= logits.shape[1] or not (_tied(without[0], settings) or _tied(own[0], settings)):
            return Choice(_cut(*without, settings), _cut(*own, settings), differs)
        width *= 8


def _reached(marks: Tensor, values: Tensor, settings: DecodingSettings) -> Tensor:
    """The rows in which a special token is not below the k-th best of the others."""
    if not marks.shape[1]:
        return torch.zeros(0, dtype=torch.int64, device=marks.device)
    if not 0 < settings.top_k <= values.shape[1]:
        return torch.arange(len(marks), device=marks.device)
    return (marks.amax(1) >= values[:, settings.top_k - 1]).nonzero().flatten()


def best(values: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """The `width` largest of each row [rows, n] and their columns, in no order; which of equal ones is left open.

    On a CPU in two steps: only the groups of columns with the largest maxima can hold them, and maxima come at the
    speed of memory, which a selection from the whole vocabulary does not. In float32 a group is a run of columns; in
    bfloat16, of which PyTorch takes maxima along a row slowly, it is every so manieth column.
    """
    columns = values.shape[1]
    if values.device.type != "cpu":
        return torch.topk(values, width, dim=-1, sorted=False)
    if values.dtype == torch.bfloat16:
        return _best_strided(values, width)
    size = 1
    while (2 * size) ** 2 * width <= 2 * columns:  # about as many groups as there are columns in the chosen ones
        size *= 2
    if size < LEAST_GROUP:
        return torch.topk(values, width, dim=-1, sorted=False)
    whole = columns - columns % size
    maxima = values[:, :whole].view(len(values), -1, size).amax(-1)
    chosen = torch.topk(maxima, width, dim=-1, sorted=False).indices
    places = (chosen[:, :, None] * size + torch.arange(size)).flatten(1)
    rest = torch.arange(whole, columns).expand(len(values), -1)
    places = torch.cat([places, rest], 1) if whole < columns else places
    found, index = torch.topk(values.gather(1, places), width, dim=-1, sorted=False)
    return found, places.gather(1, index)


def _best_strided(values: Tensor, width: int) -> tuple[Tensor, Tensor]:
    rows, columns = values.shape
    groups = 1
    while columns % (2 * groups) == 0 and columns // (2 * groups) >= 8 * width:
        groups *= 2
    if groups < 4:
        return torch.topk(values, width, dim=-1, sorted=False)
    grouped = values.view(rows, groups, -1)
    chosen = torch.topk(grouped.amax(1), width, dim=-1, sorted=False).indices[:, None]
    where = chosen + torch.arange(groups)[:, None] * grouped.shape[2]
    inside = grouped.gather(2, chosen.expand(-1, groups, -1))
    values, index = _best_strided(inside.view(rows, -1), width)
    return values, where.view(rows, -1).gather(1, index)


def _best(values: Tensor, tokens: Tensor, width: int) -> tuple[Tensor, Tensor]:
    if width >= values.shape[1]:
        return values, tokens
    values, where = torch.topk(values, width, dim=-1, sorted=False)
    return values, tokens.gather(1, where)


def _tied(values: Tensor, settings: DecodingSettings) -> bool:
    """Whether more tokens than the margin holds may tie with the k-th."""
    if not settings.top_k or not len(values):
        return False
    last = values[:, -1]
    return bool(((last >= values[:, settings.top_k - 1]) & (last > NEVER)).any())


def draw(chosen: Candidates, uniform: Tensor) -> Tensor:
    """The token at which the cumulative probability passes `uniform` [rows] in [0, 1): int64 [rows]."""
    cumulative = chosen.probabilities.cumsum(dim=-1)
    target = uniform[:, None] * cumulative[:, -1:]
    # The last token with probability is the answer when rounding leaves the target at the very end.
    last = (chosen.probabilities > 0).sum(dim=-1, keepdim=True) - 1
    index = torch.minimum((cumulative <= target).sum(dim=-1, keepdim=True), last)
    return chosen.tokens.gather(1, index).squeeze(1)
