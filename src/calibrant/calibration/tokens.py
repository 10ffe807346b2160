"""Text to token ids and back, so that no text can smuggle in a special token."""

from collections.abc import Sequence
from typing import Any

from calibrant.errors import InputError


def encode(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each text, without special tokens.

    A text that spells out a special token (`<|im_end|>` in a web page) is split into ordinary tokens: what a
    document says is never an instruction to the model.
    """
    if not texts:
        return []
    encoded = tokenizer(
        list(texts), add_special_tokens=False, split_special_tokens=True, return_attention_mask=False, verbose=False
    )
    return [list(ids) for ids in encoded["input_ids"]]


def encode_with_offsets(tokenizer: Any, text: str) -> tuple[list[int], list[int]]:
    """Token ids of a text, as `encode` gives them, and the character at which each begins.

    Raises:
        InputError: the tokenizer does not tell where tokens begin (only those of the library tokenizers do).
    """
    if not getattr(tokenizer, "is_fast", False):
        raise InputError(
            f"model {tokenizer.name_or_path}: its tokenizer does not tell which document a token is of; use "
            "--text-average apart, which tokenises each document by itself"
        )
    encoded = tokenizer(
        text,
        add_special_tokens=False,
        split_special_tokens=True,
        return_attention_mask=False,
        return_offsets_mapping=True,
        verbose=False,
    )
    return list(encoded["input_ids"]), [start for start, _ in encoded["offset_mapping"]]


def decode(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of token ids; special tokens (a leading document start) are left out."""
    text = tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return str(text)


def special_ids(tokenizer: Any) -> list[int]:
    """Ids of every special token: the named ones (bos, eos, unk, pad) and those added as special."""
    added = {int(i) for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    return sorted(added | {int(i) for i in tokenizer.all_special_ids})
