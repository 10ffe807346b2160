"""A progress bar that counts drawn tokens."""

import sys
from collections.abc import Sequence
from typing import Any

from calibrant.generation.generated_rows import Prompt


class Meter:
    """Counts drawn tokens and shows how many a second."""

    def __init__(self, prompts: Sequence[Prompt], show: bool) -> None:
        from tqdm import tqdm

        self.drawn = 0
        self.bar: Any = tqdm(
            total=sum(p.total - len(p.prefix) for p in prompts),
            unit=" tokens",
            desc="generate",
            mininterval=0.5 if sys.stderr.isatty() else 20.0,
            file=sys.stderr,
            disable=not show,
        )

    def add(self, count: int) -> None:
        """Tokens just drawn."""
        self.drawn += count
        self.bar.update(count)

    def skip(self, count: int) -> None:
        """Tokens that need not be drawn: kept from an interrupted run, or after the end of a row."""
        self.bar.total -= count
        self.bar.refresh()

    def close(self) -> None:
        """End the bar."""
        self.bar.close()
