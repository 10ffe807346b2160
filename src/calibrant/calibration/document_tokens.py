"""The tokens of documents, one document after the other."""

from collections.abc import Iterator, Sequence
from typing import Any

from calibrant.calibration.documents import Documents
from calibrant.calibration.following_text import encode_following, following, joins_by_token
from calibrant.calibration.tokens import encode, special_ids
from calibrant.errors import InputError

_CHUNK = 256  # documents tokenised per call: bounds memory, keeps the fast tokenizer busy


def encode_documents(
    tokenizer: Any, tokenizer_hash: str, documents: Documents, order: Sequence[int], *, joined: bool = False
) -> Iterator[tuple[int, list[int]]]:
    """Yield (document index, token ids) in `order`, tokenised chunk by chunk.

    Rows that already are token sequences of this tokenizer keep their tokens (re-tokenising generated text drifts),
    without special tokens. With `joined` every document but the first is what follows other text, so that the tokens
    decode to the documents joined.

    Raises:
        InputError: the rows were tokenised with another tokenizer.
    """
    behind = joined and not joins_by_token(tokenizer)
    begun = False
    if documents.token_ids is not None and documents.tokenizer_sha256 is not None:
        if documents.tokenizer_sha256 != tokenizer_hash:
            raise InputError(
                f"documents {documents.path}: tokenised with tokenizer sha256 {documents.tokenizer_sha256[:12]}, "
                f"but the model's tokenizer is {tokenizer_hash[:12]}; use the model that the rows were made with"
            )
        special = set(special_ids(tokenizer))
        for index in order:
            ids = [i for i in documents.token_ids[index] if i not in special]
            yield index, following(tokenizer, ids) if behind and begun else ids
            begun |= bool(ids)
        return
    for start in range(0, len(order), _CHUNK):
        chunk = list(order[start : start + _CHUNK])
        texts = [documents.texts[i] for i in chunk]
        for index, ids in zip(chunk, (encode_following if behind else encode)(tokenizer, texts), strict=True):
            yield index, ids if begun or not behind else encode(tokenizer, [documents.texts[index]])[0]
            begun |= bool(ids)
