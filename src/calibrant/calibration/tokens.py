"""Text to token ids and back, so that no text can smuggle in a special token."""

from collections.abc import Iterator, Sequence
from typing import Any

from calibrant.calibration.documents import Documents
from calibrant.errors import InputError

_CHUNK = 256  # documents tokenised per call: bounds memory, keeps the fast tokenizer busy


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


def bos_id(tokenizer: Any) -> int:
    """Id of the token that starts a text.

    Raises:
        InputError: the tokenizer has none.
    """
    if tokenizer.bos_token_id is None:
        raise InputError("tokenizer: it names no beginning-of-text token; use --prefix-length 1 or more without --bos")
    return int(tokenizer.bos_token_id)


def encode_documents(
    tokenizer: Any, tokenizer_hash: str, documents: Documents, order: Sequence[int]
) -> Iterator[tuple[int, list[int]]]:
    """Yield (document index, token ids) in `order`, tokenised chunk by chunk.

    Rows that already are token sequences of this tokenizer keep their tokens (re-tokenising generated text drifts),
    without special tokens.

    Raises:
        InputError: the rows were tokenised with another tokenizer.
    """
    if documents.token_ids is not None and documents.tokenizer_sha256 is not None:
        if documents.tokenizer_sha256 != tokenizer_hash:
            raise InputError(
                f"documents {documents.path}: tokenised with tokenizer sha256 {documents.tokenizer_sha256[:12]}, "
                f"but the model's tokenizer is {tokenizer_hash[:12]}; use the model that the rows were made with"
            )
        special = set(special_ids(tokenizer))
        for index in order:
            yield index, [i for i in documents.token_ids[index] if i not in special]
        return
    for start in range(0, len(order), _CHUNK):
        chunk = list(order[start : start + _CHUNK])
        yield from zip(chunk, encode(tokenizer, [documents.texts[i] for i in chunk]), strict=True)
