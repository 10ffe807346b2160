"""The token that some tokenizers put before every text (bos), and whether windows and rows begin with it.

Models that were trained with it compute something else without it. It is no text: it counts neither as a token of a
prefix nor as one to predict.
"""

from collections.abc import Sequence
from typing import Any

from calibrant.errors import InputError


def first_token(tokenizer: Any, bos: str, vocabulary: int | None = None) -> int | None:
    """Id of the token at the head of every window and row, or None where there is none.

    Args:
        tokenizer: the model's.
        bos: `auto` (where the tokenizer itself puts one), `always`, `never`, or `named` (wherever it names one).
        vocabulary: the number of tokens that the model has; None where no model reads the token.

    Raises:
        InputError: `always`, and the tokenizer names no such token, or one that the model does not have.
    """
    own = tokenizer.bos_token_id
    if bos == "always" and own is None:
        raise InputError("--bos always: the model's tokenizer names no beginning-of-text token; use auto or never")
    wanted = own is not None and (bos in ("always", "named") or (bos == "auto" and puts_first_token(tokenizer)))
    if not wanted:
        return None
    if vocabulary is not None and own >= vocabulary:
        hint = "give a prefix of 1 token or more and" if bos == "named" else "use"
        raise InputError(
            f"model {tokenizer.name_or_path}: its tokenizer's beginning-of-text token has the id {own}, and the model "
            f"knows {vocabulary:,} ids; {hint} --bos never"
        )
    return int(own)


def puts_first_token(tokenizer: Any) -> bool:
    """Whether the tokenizer, left to itself, begins a text with its beginning-of-text token."""
    own = tokenizer.bos_token_id
    return own is not None and list(tokenizer("a", verbose=False)["input_ids"][:1]) == [own]


def begins(ids: Sequence[int], tokenizer: Any) -> bool:
    """Whether token ids begin with the tokenizer's beginning-of-text token, put there by whatever rule."""
    return tokenizer.bos_token_id is not None and list(ids[:1]) == [tokenizer.bos_token_id]
