"""What a generation run is asked to do, and the rows it gives back."""

from dataclasses import asdict, dataclass
from typing import Any

from calibrant.errors import InputError

END_OF_TEXT = ("suppress", "stop")
LENGTH_MEANS = ("total", "new")


@dataclass(frozen=True)
class Settings:
    """How tokens are drawn (Section 5.1 of the paper: 50, 0.95, 0.6, 1.2) and when a row ends.

    `end_of_text`: `suppress` never draws a special token, so that every row is full; `stop` ends a row where the
    model draws one, behind the first new token, which is never special.
    """

    top_k: int = 50
    top_p: float = 0.95
    temperature: float = 0.6
    repetition_penalty: float = 1.2
    end_of_text: str = "suppress"

    def __post_init__(self) -> None:
        if self.top_k < 0:
            raise InputError(f"--top-k {self.top_k}: must be 1 or more, or 0 to keep every token")
        if not 0 < self.top_p <= 1:
            raise InputError(f"--top-p {self.top_p}: must be above 0 and at most 1 (1 keeps every token)")
        if not self.temperature > 0:
            raise InputError(f"--temperature {self.temperature}: must be above 0")
        if not self.repetition_penalty > 0:
            raise InputError(f"--repetition-penalty {self.repetition_penalty}: must be above 0 (1 changes nothing)")
        if self.end_of_text not in END_OF_TEXT:
            raise InputError(f"--end-of-text {self.end_of_text}: unknown; use {' or '.join(END_OF_TEXT)}")

    def as_dict(self) -> dict[str, Any]:
        """Plain values for metadata."""
        return asdict(self)


@dataclass(frozen=True)
class Vocabulary:
    """Which ids a row may hold.

    `special`: ids that end a row (`stop`) or are never drawn (`suppress`). `size`: number of ids that the tokenizer
    can decode; embeddings are often padded beyond it, and those ids are never drawn.
    """

    special: tuple[int, ...]
    size: int


@dataclass(frozen=True)
class Prompt:
    """One row to write: `prefix` is given, `total` is the row's length when it ends full.

    `seed` alone decides the random numbers of the row, one per position, whatever else is in the batch.
    """

    sample_id: int
    prefix: tuple[int, ...]
    total: int
    seed: int
    doc_id: str
    prefix_length: int


@dataclass(frozen=True)
class Generated:
    """A finished row: its ids with the prefix, and why it ended.

    `finish_reason`: `length` (full) or `end_of_text` (the model drew a special token, which is not part of the row).
    `first_end`: the first position at which the row's random number would have drawn a special token, or None.
    """

    sample_id: int
    ids: tuple[int, ...]
    finish_reason: str
    first_end: int | None
