"""Perplexity and Min-K%++ of samples in one pass over the model, never holding a sequence's logits."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import torch
from torch import Tensor, nn

from calibrant.errors import InputError
from calibrant.models.decoders.decoder import MOST_TOKENS, Decoder
from calibrant.models.decoders.decoder_choice import fast_decoder
from calibrant.models.structure.logit_chunks import PositionLogits, chunked_logits, position_chunks
from calibrant.scoring.min_k_plus_plus import min_k_plus_plus, token_statistics
from calibrant.scoring.perplexity import perplexity
from calibrant.settings.batches import SCORING_TOKENS


@dataclass(frozen=True)
class Score:
    """How well a model knows one sample; `tokens` is the number of tokens that count."""

    perplexity: float
    min_k_plus_plus: float
    tokens: int


def first_scored(prefix_length: int | None, span: str, *, bos: bool = False) -> int:
    """The first position that counts. The very first token never does: nothing predicts it.

    `continuation` leaves the given prefix out (Section 4 filters what the model wrote); `whole` counts everything.
    `bos`: the row begins with a beginning-of-text token, which is none of the prefix.
    """
    return max(1, bos + (prefix_length or 0)) if span == "continuation" else 1


def score_sequences(
    model: nn.Module,
    sequences: Sequence[Sequence[int]],
    starts: Sequence[int],
    min_k: float = 50.0,
    batch_tokens: int = SCORING_TOKENS,
    progress: Callable[[int], None] = lambda count: None,
) -> list[Score]:
    """Score token sequences under a causal language model of transformers.

    Sequences share a forward pass of the decoder: of any lengths, without padding, for a Llama on CPU; else those of
    equal length. Logits exist of a chunk of positions at a time (`logit_chunks`), so memory does not grow with the
    vocabulary times the length.

    Args:
        model: with `get_output_embeddings()` as transformers defines it.
        sequences: token ids, of any lengths.
        starts: the first position that counts in each, at least 1 (see `first_scored`).
        min_k: percentage of the least likely tokens that Min-K%++ averages.
        batch_tokens: bound on the tokens of a forward pass.
        progress: told the number of sequences just scored.

    Raises:
        InputError: a sequence has no token that counts, or the model has no output head.
    """
    for row, (ids, start) in enumerate(zip(sequences, starts, strict=True)):
        if len(ids) <= start:
            raise InputError(f"sample {row}: {len(ids)} tokens, of which the first {start} are given: none to score")
    if not sequences:
        return []
    forward: Decoder | PositionLogits | None = fast_decoder(model, max(map(len, sequences)))
    if forward is None:
        forward = PositionLogits(model)
        forward.say()
    packed = isinstance(forward, Decoder)
    scores: dict[int, Score] = {}
    order = sorted(range(len(sequences)), key=lambda i: len(sequences[i]))
    lengths = [len(sequences[i]) for i in order]
    most = min(batch_tokens, MOST_TOKENS) if packed else batch_tokens
    position = 0
    for count in _groups(lengths, most, mixed=packed):
        group = order[position : position + count]
        rows, first = [sequences[i] for i in group], [starts[i] for i in group]
        for index, score in zip(group, _score_batch(forward, rows, first, min_k), strict=True):
            scores[index] = score
        progress(count)
        position += count
    return [scores[i] for i in range(len(sequences))]


def _groups(lengths: Sequence[int], tokens: int, mixed: bool) -> Iterator[int]:
    """How many sequences, one group after the other, share a forward pass: of equal length unless `mixed`."""
    count = size = 0
    for index, length in enumerate(lengths):
        if count and (size + length > tokens or not (mixed or length == lengths[index - 1])):
            yield count
            count = size = 0
        count += 1
        size += length
    yield count


@torch.inference_mode()
def _score_batch(
    forward: Decoder | PositionLogits, rows: Sequence[Sequence[int]], starts: Sequence[int], min_k: float
) -> list[Score]:
    counts = [len(row) - start for row, start in zip(rows, starts, strict=True)]
    targets = torch.tensor([token for row, start in zip(rows, starts, strict=True) for token in row[start:]])
    offsets = itertools.accumulate([0, *(len(row) for row in rows[:-1])])
    places = (range(o + s - 1, o + len(row) - 1) for o, s, row in zip(offsets, starts, rows, strict=True))
    logits = _logits(forward, rows, torch.tensor([place for part in places for place in part]))
    parts = [
        token_statistics(part, wanted.to(part.device))
        for part, wanted in zip(logits, position_chunks(targets), strict=True)
    ]
    own, relative = (torch.split(torch.cat(columns).cpu(), counts) for columns in zip(*parts, strict=True))
    return [
        Score(perplexity(o), min_k_plus_plus(r, min_k), count)
        for o, r, count in zip(own, relative, counts, strict=True)
    ]


def _logits(forward: Decoder | PositionLogits, rows: Sequence[Sequence[int]], keep: Tensor) -> Iterator[Tensor]:
    """Logits [positions, vocabulary], in chunks, at the positions `keep` of rows that lie one after the other."""
    if isinstance(forward, PositionLogits):
        device = next(forward.head.parameters()).device
        ids = torch.tensor([list(row) for row in rows], device=device)
        return forward({"input_ids": ids, "use_cache": False}, keep.to(device))
    lengths = [len(row) for row in rows]
    tokens = [token for row in rows for token in row]
    positions = [place for length in lengths for place in range(length)]
    return chunked_logits(forward.head, forward(tokens, positions, forward.attention(lengths), keep))


def prefix_lengths(table: pa.Table) -> list[int | None]:
    """The `prefix_length` of every row; None where the column or the cell is missing."""
    if "prefix_length" not in table.column_names:
        return [None] * table.num_rows
    return list(table["prefix_length"].to_pylist())
