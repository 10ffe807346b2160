"""Perplexity and Min-K%++ of samples in one pass over the model, never holding a sequence's logits."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from calibrant.errors import InputError
from calibrant.models.decoders.packed_attention import PackedAttention
from calibrant.models.decoders.packed_llama import MOST_TOKENS, PackedLlama, packed_llama
from calibrant.scoring.min_k_plus_plus import min_k_plus_plus, token_statistics
from calibrant.scoring.perplexity import perplexity
from calibrant.settings.batches import SCORING_TOKENS

SPANS = ("continuation", "whole")
HEAD_CHUNK = 256  # positions whose logits exist at a time


@dataclass(frozen=True)
class Score:
    """How well a model knows one sample; `tokens` is the number of tokens that count."""

    perplexity: float
    min_k_plus_plus: float
    tokens: int


def first_scored(prefix_length: int | None, span: str) -> int:
    """The first position that counts. The very first token never does: nothing predicts it.

    `continuation` leaves the given prefix out (Section 4 filters what the model wrote); `whole` counts everything.
    """
    return max(1, prefix_length or 0) if span == "continuation" else 1


def check_settings(span: str, min_k: float) -> None:
    """Refuse settings that mean nothing.

    Raises:
        InputError: unknown span, or a percentage outside (0, 100].
    """
    if span not in SPANS:
        raise InputError(f"--span {span}: unknown; use {' or '.join(SPANS)}")
    if not 0 < min_k <= 100:
        raise InputError(f"--min-k {min_k:g}: must be a percentage above 0 and at most 100")


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
    equal length. Its last hidden states then go through the head in chunks of HEAD_CHUNK positions, so memory does not
    grow with the vocabulary times the length.

    Args:
        model: with `get_decoder()` (its base model) and `get_output_embeddings()` as transformers defines them.
        sequences: token ids, of any lengths.
        starts: the first position that counts in each, at least 1 (see `first_scored`).
        min_k: percentage of the least likely tokens that Min-K%++ averages.
        batch_tokens: bound on the tokens of a forward pass.
        progress: told the number of sequences just scored.

    Raises:
        InputError: a sequence has no token that counts.
    """
    for row, (ids, start) in enumerate(zip(sequences, starts, strict=True)):
        if len(ids) <= start:
            raise InputError(f"sample {row}: {len(ids)} tokens, of which the first {start} are given: none to score")
    if not sequences:
        return []
    packed = packed_llama(model)
    if packed is None:
        check_head(model, sequences[0])
    scores: dict[int, Score] = {}
    order = sorted(range(len(sequences)), key=lambda i: len(sequences[i]))
    lengths = [len(sequences[i]) for i in order]
    most = batch_tokens if packed is None else min(batch_tokens, MOST_TOKENS)
    position = 0
    for count in _groups(lengths, most, mixed=packed is not None):
        group = order[position : position + count]
        rows, first = [sequences[i] for i in group], [starts[i] for i in group]
        for index, score in zip(group, _score_batch(model, packed, rows, first, min_k), strict=True):
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
    model: Any, packed: PackedLlama | None, rows: Sequence[Sequence[int]], starts: Sequence[int], min_k: float
) -> list[Score]:
    if packed is None:
        ids = torch.tensor([list(row) for row in rows], device=next(model.parameters()).device)
        states = model.get_decoder()(ids, use_cache=False).last_hidden_state
        hidden = torch.cat([state[start - 1 : -1] for state, start in zip(states, starts, strict=True)])
        head = head_of(model)
    else:
        lengths = [len(row) for row in rows]
        offsets = itertools.accumulate([0, *lengths[:-1]])
        places = (range(o + s - 1, o + n - 1) for o, s, n in zip(offsets, starts, lengths, strict=True))
        hidden = packed(
            [token for row in rows for token in row],
            [place for length in lengths for place in range(length)],
            PackedAttention(lengths, packed.dtype),
            torch.tensor([place for part in places for place in part]),
        )
        head = packed.head
    counts = [len(row) - start for row, start in zip(rows, starts, strict=True)]
    targets = torch.tensor([t for row, s in zip(rows, starts, strict=True) for t in row[s:]], device=hidden.device)
    parts = [
        token_statistics(head(hidden[i : i + HEAD_CHUNK]), targets[i : i + HEAD_CHUNK])
        for i in range(0, len(hidden), HEAD_CHUNK)
    ]
    own, relative = (torch.split(torch.cat(columns).cpu(), counts) for columns in zip(*parts, strict=True))
    return [
        Score(perplexity(o), min_k_plus_plus(r, min_k), count)
        for o, r, count in zip(own, relative, counts, strict=True)
    ]


def head_of(model: Any) -> Callable[[Tensor], Tensor]:
    """Hidden states [n, hidden] to logits [n, vocabulary], with Gemma's soft cap where the config has one.

    Raises:
        InputError: the model has no output embeddings.
    """
    linear = model.get_output_embeddings()
    if linear is None:
        raise InputError(f"model {type(model).__name__}: has no output embeddings; give a causal language model")
    cap = getattr(model.config.get_text_config(), "final_logit_softcapping", None)
    if cap is None:
        return lambda hidden: linear(hidden)
    return lambda hidden: torch.tanh(linear(hidden) / cap) * cap


@torch.inference_mode()
def check_head(model: Any, ids: Sequence[int]) -> None:
    """Compare decoder and head, as scoring applies them, with the model's own logits on a few tokens.

    Some architectures scale or shift their logits after the matrix product; such a model is refused, not scored wrong.

    Raises:
        InputError: the logits differ by more than rounding.
    """
    tokens = torch.tensor([list(ids[:8])], device=next(model.parameters()).device)
    own = model(tokens, use_cache=False).logits.float()
    ours = head_of(model)(model.get_decoder()(tokens, use_cache=False).last_hidden_state).float()
    if not torch.allclose(own, ours, rtol=2e-2, atol=1e-2 * float(own.abs().max())):
        raise InputError(
            f"model {type(model).__name__}: changes its logits after the output embeddings, so that it cannot be "
            "scored in chunks"
        )


def to_table(sample_ids: Sequence[int], scores: Sequence[Score]) -> pa.Table:
    """Scores as a table: sample_id int64, perplexity and min_k_plus_plus float64, tokens int32."""
    return pa.table(
        {
            "sample_id": pa.array(list(sample_ids), pa.int64()),
            "perplexity": pa.array([s.perplexity for s in scores], pa.float64()),
            "min_k_plus_plus": pa.array([s.min_k_plus_plus for s in scores], pa.float64()),
            "tokens": pa.array([s.tokens for s in scores], pa.int32()),
        }
    )


def prefix_lengths(table: pa.Table) -> list[int | None]:
    """The `prefix_length` of every row; None where the column or the cell is missing."""
    if "prefix_length" not in table.column_names:
        return [None] * table.num_rows
    return list(table["prefix_length"].to_pylist())


def unique_ids(sample_ids: Sequence[int], where: str) -> None:
    """Refuse samples that cannot be told apart.

    Raises:
        InputError: a sample_id occurs twice.
    """
    values, counts = np.unique(np.asarray(sample_ids, dtype=np.int64), return_counts=True)
    if (counts > 1).any():
        raise InputError(f"{where}: sample_id {int(values[counts > 1][0])} occurs more than once")
