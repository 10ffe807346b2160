"""The interface of generation engines: an engine turns prompts into finished rows.

Two of them step a model token by token under our own sampler (`stepping_engine`): `native`, our own decoder for
the families that are declared, and `transformers`, for any causal language model. An engine that samples by itself
only has to implement `Engine`, as `vllm` does.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from calibrant.generation.generated_rows import Generated, Prompt, Vocabulary
from calibrant.settings.text_settings import DecodingSettings

Progress = Callable[[int], None]  # told the number of tokens just drawn


class Engine(Protocol):
    """Writes rows."""

    name: str

    def generate(
        self,
        prompts: Sequence[Prompt],
        settings: DecodingSettings,
        vocabulary: Vocabulary,
        batch_size: int,
        progress: Progress,
    ) -> Iterator[Generated]:
        """Finish every prompt, in any order; at most `batch_size` rows are written at a time."""
        ...

    def row_bytes(self, length: int) -> int:
        """Bytes of key-value cache that one row of `length` tokens needs."""
        ...

    def knows_ends(self, settings: DecodingSettings) -> bool:
        """Whether the rows' `first_end` is known under these settings."""
        ...
