"""Tokens of a text that follows other text.

SentencePiece-like tokenizers (Llama 2, Mistral 7B) put a space before whatever they are given. That is right at the
start of a text; behind other text the space is one that the text does not have.
"""

from collections.abc import Sequence
from typing import Any

from calibrant.calibration.tokens import decode, encode

# What a text is put behind, to be cut off again: the first that no token joins with the beginning of the text. The one
# for private use is in no vocabulary, so it comes as bytes or as the unknown token, which join with nothing.
BEFORE = ("\ue000", "\n", "x", "0")


def joins_by_token(tokenizer: Any) -> bool:
    """Whether the tokens of texts, one after the other, decode to the texts joined, as byte-level ones do."""
    first, second, both = encode(tokenizer, ["It.", "He", "It.He"])
    return decode(tokenizer, first + second) == decode(tokenizer, both)


def encode_following(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each text as what follows other text; those of the texts alone where that is the same."""
    if joins_by_token(tokenizer):
        return encode(tokenizer, texts)
    found: dict[int, list[int]] = {}
    for before in BEFORE:
        left = [i for i in range(len(texts)) if i not in found]
        head = encode(tokenizer, [before])[0]
        rows = encode(tokenizer, [before + texts[i] for i in left])
        found |= {i: ids[len(head) :] for i, ids in zip(left, rows, strict=True) if ids[: len(head)] == head}
    return [found[i] if i in found else encode(tokenizer, [text])[0] for i, text in enumerate(texts)]


def following(tokenizer: Any, ids: Sequence[int]) -> list[int]:
    """Token ids of a row as what follows other text: only a first token that brings a space of its own changes."""
    first = list(ids[:1])
    alone = decode(tokenizer, first)
    if decode(tokenizer, first * 2) == alone * 2:
        return list(ids)
    return encode_following(tokenizer, [alone])[0] + list(ids[1:])
