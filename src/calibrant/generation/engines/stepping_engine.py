"""The generation loop over any model that can be stepped: rows enter, grow by one token a step, and leave."""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from calibrant.generation.decoding import History, candidates, draw
from calibrant.generation.engine import Progress
from calibrant.generation.generated_rows import Generated, Prompt, Vocabulary
from calibrant.settings.text_settings import DecodingSettings


class Stepper(Protocol):
    """A model that reads prefixes and then one token a row at a time."""

    can_enter: bool  # whether rows can enter beside others that are under way
    device: torch.device

    def reset(self, rows: int, length: int) -> None:
        """Forget every row; make room for `rows` rows of `length` tokens."""
        ...

    def prefill(self, ids: Tensor) -> Tensor:
        """Enter rows [new, t] after those already there; the logits of their next token [new, vocabulary]."""
        ...

    def step(self, tokens: Tensor) -> Tensor:
        """Append a token to each row [rows]; the logits of the next [rows, vocabulary]."""
        ...

    def keep(self, rows: Tensor) -> None:
        """Keep only these rows (ascending indices)."""
        ...

    def row_bytes(self, length: int) -> int:
        """Bytes of key-value cache for one row."""
        ...


class _Batch:
    """The rows under way: their tokens, random numbers, and where each would first have ended."""

    def __init__(self, length: int, special: Tensor, device: torch.device) -> None:
        self.special = special
        self.device = device
        self.prompts: list[Prompt] = []
        self.lengths_here: list[int] = []  # `lengths` and the totals on the host: reading them off a GPU would wait
        self.totals: list[int] = []
        self.ids = torch.zeros((0, length), dtype=torch.int64, device=device)
        self.first = torch.zeros((0, length), dtype=torch.bool, device=device)
        self.uniform = torch.zeros((0, length), dtype=torch.float32, device=device)
        self.lengths = torch.zeros(0, dtype=torch.int64, device=device)
        self.given = torch.zeros(0, dtype=torch.int64, device=device)  # of them, those of the prefix
        self.special_seen = torch.zeros((0, len(special)), dtype=torch.bool, device=device)
        self.first_end = torch.zeros(0, dtype=torch.int64, device=device)  # -1: none so far

    def enter(self, prompts: Sequence[Prompt]) -> Tensor:
        """Add rows; their prefixes [new, t] (all of one length)."""
        length = self.ids.shape[1]
        prefix = torch.tensor([p.prefix for p in prompts], dtype=torch.int64, device=self.device)
        t = prefix.shape[1]
        ids = prefix[:, :1].expand(-1, length).clone()
        ids[:, :t] = prefix
        first = torch.zeros(ids.shape, dtype=torch.bool, device=self.device)
        for i, prompt in enumerate(prompts):
            seen: set[int] = set()
            for j, token in enumerate(prompt.prefix):
                first[i, j] = token not in seen
                seen.add(token)
        uniform = np.zeros((len(prompts), length), dtype=np.float32)
        for i, prompt in enumerate(prompts):
            uniform[i, : prompt.total] = row_uniforms(prompt.seed, prompt.total)
        self.prompts += prompts
        self.lengths_here += [t] * len(prompts)
        self.totals += [p.total for p in prompts]
        self.ids = torch.cat([self.ids, ids])
        self.first = torch.cat([self.first, first])
        self.uniform = torch.cat([self.uniform, torch.from_numpy(uniform).to(self.device)])
        self.lengths = torch.cat([self.lengths, self.lengths.new_full((len(prompts),), t)])
        self.given = torch.cat([self.given, self.given.new_full((len(prompts),), t)])
        self.first_end = torch.cat([self.first_end, self.first_end.new_full((len(prompts),), -1)])
        self.special_seen = torch.cat([self.special_seen, (prefix[:, :, None] == self.special).any(1)])
        return prefix

    def append(self, tokens: Tensor) -> None:
        """Append a token to each row [rows]."""
        rows = torch.arange(len(tokens), device=self.device)
        new = ~(self.ids[:, : self.longest()] == tokens[:, None]).any(1)  # fillers repeat a token of the row: no matter
        self.ids[rows, self.lengths] = tokens
        self.first[rows, self.lengths] = new
        self.lengths += 1
        self.lengths_here = [length + 1 for length in self.lengths_here]

    def note_ends(self, ends: Tensor) -> None:
        """Rows [rows] whose random number gives a special token at the next position."""
        self.first_end = torch.where(ends & (self.first_end < 0), self.lengths, self.first_end)

    def keep(self, rows: list[int]) -> None:
        """Keep only these rows."""
        for name in ("prompts", "lengths_here", "totals"):
            setattr(self, name, [getattr(self, name)[i] for i in rows])
        index = torch.tensor(rows, dtype=torch.int64, device=self.device)
        for name in ("ids", "first", "uniform", "lengths", "special_seen", "first_end", "given"):
            setattr(self, name, getattr(self, name)[index])

    def longest(self) -> int:
        return max(self.lengths_here)

    def history(self) -> History:
        longest = self.longest()
        return History(self.ids[:, :longest], self.first[:, :longest], self.special_seen)


def row_uniforms(seed: int, length: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """The random numbers of a row, one per position [length], float32 in [0, 1): a function of its seed alone."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed))).random(length, dtype=np.float32)


class SteppingEngine:
    """An engine made of a stepper and our sampler. Finished rows leave at once, waiting ones enter their places."""

    def __init__(self, name: str, stepper: Stepper) -> None:
        self.name = name
        self.stepper = stepper

    def row_bytes(self, length: int) -> int:
        """Bytes of key-value cache for one row."""
        return self.stepper.row_bytes(length)

    def knows_ends(self, settings: DecodingSettings) -> bool:
        """Always: our sampler sees both distributions."""
        return True

    @torch.inference_mode()
    def _advance(
        self, batch: _Batch, waiting: list[Prompt], logits: Tensor | None, batch_size: int
    ) -> tuple[Tensor, int]:
        """Logits for every row under way: of the next step, and of the rows that enter."""
        room = batch_size - len(batch.prompts)
        # A few at a time: a prefill of one row costs almost as much as one of eight.
        enters = waiting and (not batch.prompts or (self.stepper.can_enter and room >= max(1, batch_size // 8)))
        if not enters:
            assert logits is not None
            return logits, 0
        t = len(waiting[0].prefix)
        count = next((i for i, p in enumerate(waiting[:room]) if len(p.prefix) != t), min(room, len(waiting)))
        entering = self.stepper.prefill(batch.enter(waiting[:count]))
        return entering if logits is None else torch.cat([logits, entering]), count

    @torch.inference_mode()
    def _run(
        self,
        prompts: Sequence[Prompt],
        settings: DecodingSettings,
        vocabulary: Vocabulary,
        batch_size: int,
        progress: Progress,
    ) -> Iterator[list[Generated]]:
        device = self.stepper.device
        length = max(p.total for p in prompts)
        special = torch.tensor(vocabulary.special, dtype=torch.int64, device=device)
        batch_size = min(batch_size, len(prompts))
        batch = _Batch(length, special, device)
        self.stepper.reset(batch_size, length)
        waiting = list(prompts)
        logits: Tensor | None = None
        while waiting or batch.prompts:
            logits, entered = self._advance(batch, waiting, logits, batch_size)
            del waiting[:entered]
            choice = candidates(logits, batch.history(), vocabulary, settings, special)
            rows = torch.arange(len(batch.prompts), device=device)
            uniform = batch.uniform[rows, batch.lengths]
            tokens = draw(choice.without, uniform)
            free = tokens.index_copy(0, choice.differs, draw(choice.own, uniform[choice.differs]))
            ends = torch.isin(free, special)
            stopped = [False] * len(rows)
            if settings.end_of_text == "stop":
                # A row holds one new token at least: without any, there would be nothing to score.
                early = ends & (batch.lengths == batch.given)
                tokens, ends = torch.where(early, tokens, free), ends & ~early
                stopped = ends.tolist()
            batch.note_ends(ends)
            batch.append(tokens)
            progress(len(rows))
            full = [length >= total for length, total in zip(batch.lengths_here, batch.totals, strict=True)]
            if any(full) or any(stopped):
                yield _finish(batch, full, stopped)
                remaining = [i for i in range(len(full)) if not (full[i] or stopped[i])]
                batch.keep(remaining)
                index = torch.tensor(remaining, dtype=torch.int64, device=device)
                if remaining:
                    self.stepper.keep(index)
                elif waiting:
                    self.stepper.reset(batch_size, length)
                tokens = tokens[index]
            logits = self.stepper.step(tokens) if len(tokens) else None

    def generate(
        self,
        prompts: Sequence[Prompt],
        settings: DecodingSettings,
        vocabulary: Vocabulary,
        batch_size: int,
        progress: Progress,
    ) -> Iterator[Generated]:
        """Finish every prompt, in the order in which rows end."""
        for rows in self._run(prompts, settings, vocabulary, batch_size, progress):
            yield from rows


def _finish(batch: _Batch, full: list[bool], stopped: list[bool]) -> list[Generated]:
    rows = []
    ids, first_end = batch.ids.tolist(), batch.first_end.tolist()
    for i, prompt in enumerate(batch.prompts):
        if full[i] or stopped[i]:
            count = batch.lengths_here[i] - stopped[i]  # the special token that ended the row is not part of it
            reason = "end_of_text" if stopped[i] else "length"
            first = None if first_end[i] < 0 else first_end[i]
            rows.append(Generated(prompt.sample_id, tuple(ids[i][:count]), reason, first))
    return rows
