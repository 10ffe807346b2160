"""Text to token ids and back, so that no text can smuggle in a special token."""

from collections.abc import Sequence
from typing import Any


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


def decode(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of token ids; special tokens (a leading document start) are left out."""
    text = tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return str(text)


def special_ids(tokenizer: Any) -> list[int]:
    """Ids of every special token: the named ones (bos, eos, unk, pad) and those added as special."""
    added = {int(i) for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    return sorted(added | {int(i) for i in tokenizer.all_special_ids})
