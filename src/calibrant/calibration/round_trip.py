"""Whether the text of a set, given to its tokenizer, gives the set's own ids: what tools that take text would see."""

from dataclasses import dataclass
from typing import Any

from calibrant.calibration.first_token import begins
from calibrant.calibration.following_text import joins_by_token
from calibrant.calibration.sample_set import SampleSet, bos_recorded

CUT = "a window may be cut inside a word or a character"
DRAWN = "a model's own tokens need not be those that the tokenizer makes of its text"
SPACED = "this tokenizer puts a space before a text"


@dataclass(frozen=True)
class RoundTrip:
    """What became of the rows whose text was tokenised once more.

    Attributes:
        rows: that have a text.
        differing: those of which the text gives other ids.
        reasons: why there may be any, in words.
    """

    rows: int
    differing: int
    reasons: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """The finding in a sentence, without its full stop."""
        if not self.differing:
            return f"The text of {'the row' if self.rows == 1 else f'all {self.rows:,} rows'} gives the same ids again"
        why = f", since {', or '.join(self.reasons)}" if self.reasons else ""
        return f"In {self.differing:,} of {self.rows:,} rows the text does not tokenise back to the same ids{why}"


def round_trip(samples: SampleSet, tokenizer: Any) -> RoundTrip | None:
    """Tokenise the text of each row as other tools do, and compare it with the row's ids; None where there is no text.

    A beginning-of-text token at the head of the ids is no text and is left aside; whether a tool puts one is its own
    rule. Where the set does not record it, the ids are asked. A special token that the text spells out is taken for
    that token, as tools do; `tokens.encode`, by which sets are made, takes it for text.

    Args:
        samples: the set.
        tokenizer: the one that its ids are of.
    """
    table = samples.table
    if "text" not in table.column_names:
        return None
    pairs = [
        (ids, text) for ids, text in zip(samples.sequences, table["text"].to_pylist(), strict=True) if text is not None
    ]
    if not pairs:
        return None
    led = bos_recorded(samples.metadata).get("bos", True)
    own = [ids[1:] if led and begins(ids, tokenizer) else list(ids) for ids, _ in pairs]
    again = tokenizer(
        [text for _, text in pairs], add_special_tokens=False, return_attention_mask=False, verbose=False
    )["input_ids"]
    differing = sum(ids != list(new) for ids, new in zip(own, again, strict=True))
    return RoundTrip(len(pairs), differing, _reasons(table, tokenizer))


def _reasons(table: Any, tokenizer: Any) -> tuple[str, ...]:
    origins = set(table["origin"].to_pylist()) if "origin" in table.column_names else {None}
    found = [CUT] if origins - {"synthetic"} else []
    found += [DRAWN] if "synthetic" in origins else []
    return (*found, *(() if joins_by_token(tokenizer) else (SPACED,)))
