"""A window decodes to the text that it was cut from, whatever the tokenizer puts before a text."""

from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from like_tokenizers import byte_level, sentencepiece

from calibrant.calibration.document_tokens import encode_documents
from calibrant.calibration.documents import Documents
from calibrant.calibration.draws import generator
from calibrant.calibration.following_text import encode_following, joins_by_token
from calibrant.calibration.tokens import decode, encode
from calibrant.calibration.windows import sample_documents

KINDS = ("llama2", "metaspace", "gemma", "byte_level", "byte_level with a space")
SPACED = ("llama2", "metaspace", "byte_level with a space")  # they put a space before what they are given
texts = st.lists(
    st.text(st.sampled_from("Thewar 0.\n\t'\"é中🙂—"), min_size=1, max_size=30).filter(str.strip),
    min_size=1,
    max_size=6,
)
separators = st.sampled_from(["\n\n", " ", "\n", "", "—"])


@cache
def tokenizer(kind: str) -> Any:
    if kind.startswith("byte_level"):
        return byte_level(add_prefix_space=kind != "byte_level")
    return sentencepiece(kind)


def documents(found: list[str], rows: list[list[int]] | None = None) -> Documents:
    names = [str(i) for i in range(len(found))]
    return Documents(names, found, "made", "0" * 64, token_ids=rows, tokenizer_sha256=None if rows is None else "hash")


def stream(kind: str, found: Documents, separator: str) -> list[int]:
    """The tokens of which windows are cut, in the documents' own order."""
    between = encode_following(tokenizer(kind), [separator])[0]
    parts = [ids for _, ids in encode_documents(tokenizer(kind), "hash", found, range(len(found)), joined=True)]
    return [i for number, ids in enumerate(parts) for i in [*(between if number else ()), *ids]]


@pytest.mark.parametrize("kind", KINDS)
@given(texts, separators, st.integers(2, 9), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_a_window_is_a_part_of_the_joined_text(
    kind: str, found: list[str], separator: str, length: int, seed: int
) -> None:
    total = len(stream(kind, documents(found), separator))
    order = generator(seed).permutation(len(found))
    joined = separator.join(found[i] for i in order)
    if kind == "byte_level with a space":
        joined = " " + joined  # which is how it spells any text, from its beginning
    if total < length + 20:  # what is drawn from in another order is at most a few tokens shorter
        return
    table = sample_documents(
        documents(found), tokenizer(kind), "hash", samples=1, length=length, seed=seed, separator=separator
    )
    for row in table.to_pylist():
        assert len(row["input_ids"]) == length
        assert row["text"].strip("\ufffd") in joined  # characters of several bytes may be cut at either end


@pytest.mark.parametrize("kind", KINDS)
@given(texts, separators)
@settings(max_examples=40, deadline=None)
def test_all_windows_together_are_the_joined_text(kind: str, found: list[str], separator: str) -> None:
    own = tokenizer(kind)
    assert decode(own, stream(kind, documents(found), separator)) == decode(
        own, encode(own, [separator.join(found)])[0]
    )
    rows = [[1, *ids] for ids in encode(own, found)]  # as `generate` writes them
    read = [decode(own, ids) for ids in rows]
    assert decode(own, stream(kind, documents(read, rows), separator)) == separator.join(read)


@pytest.mark.parametrize("kind", ["llama2", "metaspace"])
def test_a_stream_has_the_tokens_of_the_joined_text(kind: str) -> None:
    """Those that evaluation, which joins texts first, asks about."""
    found = ["The river was wide.", "Evening fell.", "中 boats"]
    assert stream(kind, documents(found), "\n\n") == encode(tokenizer(kind), ["\n\n".join(found)])[0]


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_joined_as_before(kind: str) -> None:
    """`joining tokens`: documents and separators each by itself; with byte-level tokens the two are the same."""
    own, found = tokenizer(kind), ["The river was wide.", "Evening fell on boats over water.", "They spoke."]
    given = {"samples": 2, "length": 9, "seed": 4}
    before = sample_documents(documents(found), own, "hash", **given, joining="tokens")
    now = sample_documents(documents(found), own, "hash", **given)
    joined = [i for part in (encode(own, [text])[0] for text in "\n\n".join(found).partition("\n\n")) for i in part]
    assert joins_by_token(own) == (kind not in SPACED)
    assert (before == now) == joins_by_token(own)
    if kind == "llama2":
        assert decode(own, joined).count(". \n\n E") == 1  # what windows were cut from
        assert any(" \n" in text or "\n " in text for text in before["text"].to_pylist())
