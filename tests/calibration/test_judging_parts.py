"""A text that judges is divided by document: into thirds or halves, evenly, and the same in whatever order it is."""

from collections.abc import Sequence
from itertools import product
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibrant.calibration.documents import Documents
from calibrant.calibration.judging_parts import LEAST_DOCUMENTS, HalfNeeds, JudgingParts, chosen, judging_parts
from calibrant.errors import InputError


def documents(texts: Sequence[str]) -> Documents:
    ids = [f"d{i}" for i in range(len(texts))]
    return Documents(ids, list(texts), "mine", "a" * 64, path="mine.jsonl")


def numbered(count: int) -> Documents:
    return documents([f"text {i}" for i in range(count)])


def held(parts: JudgingParts) -> list[list[str]]:
    return [each.ids for each in (parts.selection, parts.test, parts.own) if each is not None]


def refusal(sizes: Sequence[int], half: HalfNeeds, groups: Sequence[int] | None = None) -> str:
    with pytest.raises(InputError) as caught:
        judging_parts(numbered(len(sizes)), sizes, groups or range(len(sizes)), half, 1)
    assert "\n" not in str(caught.value)
    return str(caught.value)


ANY = HalfNeeds(1, 1)
SIZES = st.lists(st.integers(1, 100), min_size=2, max_size=60)
GROUPED = SIZES.flatmap(
    lambda sizes: st.tuples(
        st.just(sizes), st.lists(st.integers(0, len(sizes)), min_size=len(sizes), max_size=len(sizes))
    )
)


@settings(max_examples=300, deadline=None)
@given(GROUPED, st.integers(1, 300), st.none() | st.integers(1, 50), st.randoms(use_true_random=False))
def test_parts_share_nothing_lose_nothing_split_no_group_and_know_no_order(
    grouped: tuple[list[int], list[int]], own: int, most: int | None, shuffled: Random
) -> None:
    sizes, groups = grouped
    text, half = numbered(len(sizes)), HalfNeeds(30, 3, most)
    try:
        parts = judging_parts(text, sizes, groups, half, own)
    except InputError:
        return
    names = held(parts)
    assert sorted(name for part in names for name in part) == sorted(text.ids)
    group_of, size_of = dict(zip(text.ids, groups, strict=True)), dict(zip(text.ids, sizes, strict=True))
    labels = [{group_of[name] for name in part} for part in names]
    assert sum(map(len, labels)) == len(set(groups))
    for part, label in zip(names[:2], labels[:2], strict=True):
        assert len(label) >= 3
        assert sum(min(size_of[name], most or 100) for name in part) >= 30
    assert (parts.own is None) is bool(parts.why_no_own)
    assert parts.own is None or sum(size_of[name] for name in parts.own.ids) >= own

    order = list(range(len(sizes)))
    shuffled.shuffle(order)
    relabelled = [-groups[row] for row in order]
    again = judging_parts(chosen(text, order), [sizes[row] for row in order], relabelled, half, own)
    assert held(again) == names
    assert again.why_no_own == parts.why_no_own


@settings(max_examples=200, deadline=None)
@given(SIZES)
def test_parts_differ_by_no_more_than_their_largest_document(sizes: list[int]) -> None:
    if 2 * max(sizes) > sum(sizes):
        return
    size_of = {f"d{i}": size for i, size in enumerate(sizes)}
    for own in (1, 10**6):
        parts = judging_parts(numbered(len(sizes)), sizes, range(len(sizes)), ANY, own)
        tokens = [sum(size_of[name] for name in part) for part in held(parts)]
        assert max(tokens) - min(tokens) <= max(sizes)
        assert len(tokens) == 2 or own == 1


def test_small_documents_are_divided_almost_exactly() -> None:
    sizes = [50 + 7 * i % 40 for i in range(300)]
    for own, count in ((1000, 3), (10**6, 2)):
        parts = held(judging_parts(numbered(300), sizes, range(300), HalfNeeds(1000), own))
        tokens = [sum(sizes[int(name[1:])] for name in part) for part in parts]
        assert len(tokens) == count
        assert max(tokens) - min(tokens) <= min(sizes)


def test_which_part_has_the_largest_document_depends_on_the_text() -> None:
    sizes, found = [30, *[10] * 59], set()
    for turn in range(30):
        text = documents([f"{turn} {i}" for i in range(60)])
        parts = held(judging_parts(text, sizes, range(60), ANY, 1))
        found.add(next(number for number, part in enumerate(parts) if "d0" in part))
    assert found == {0, 1, 2}


@pytest.mark.parametrize(
    ("half", "own", "why"),
    [
        (HalfNeeds(300), 300, ""),
        (HalfNeeds(300), 301, "the own part has 300 tokens of 301"),
        (HalfNeeds(301), 300, "the selection part has 30 documents and 300 tokens of 20 and 301; the test part has"),
        (HalfNeeds(1, 31), 300, "the selection part has 31 documents and 310 tokens"),
        (HalfNeeds(151, document_tokens=5), 300, "the selection part has 30 documents and 150 tokens of 20 and 151"),
        (HalfNeeds(150, document_tokens=5), 300, ""),
    ],
)
def test_thirds_if_each_has_enough_else_halves(half: HalfNeeds, own: int, why: str) -> None:
    parts = judging_parts(numbered(90), [10] * 90, range(90), half, own)
    if half.documents == 31:  # the own part gives way, but then has too little
        why = "the own part has 280 tokens of 300"
    assert [len(part) for part in held(parts)] == ([30] * 3 if not why else [45] * 2)
    assert why in parts.why_no_own
    assert not why or parts.why_no_own.startswith("the text is too small to be divided in three: ")


def test_a_half_gets_its_documents_though_one_document_is_large() -> None:
    """41 documents: the half that has the large one gets 19 small ones beside it."""
    parts = judging_parts(numbered(41), [380, *[10] * 40], range(41), HalfNeeds(200), 10**6)
    assert sorted(map(len, held(parts))) == [20, 21]
    assert LEAST_DOCUMENTS == 20


def test_what_a_document_counts_at_most_makes_a_book_one_document_of_many() -> None:
    sizes = [100_000, *[500] * 99]
    with pytest.raises(InputError, match="more than half"):
        judging_parts(numbered(100), sizes, range(100), HalfNeeds(1000), 1)
    parts = judging_parts(numbered(100), sizes, range(100), HalfNeeds(1000, document_tokens=500), 1)
    assert sorted(map(len, held(parts))) == [33, 33, 34]


def test_groups_count_as_one_document() -> None:
    half = HalfNeeds(100)
    groups = [0] * 10 + list(range(1, 39))
    said = refusal([10] * 48, half, groups)
    assert "it has 39 documents (48, those that are nearly the same counted once) and 480 tokens, and two" in said
    assert judging_parts(numbered(49), [10] * 49, [*groups, 39], half, 1).own is None


def test_fields_are_carried() -> None:
    text = Documents(
        [f"d{i}" for i in range(9)], [f"text {i}" for i in range(9)], "mine", "a" * 64, "synthetic",
        [[i, i] for i in range(9)], "b" * 64, "mine.parquet", {"first": "1"},
    )  # fmt: skip
    parts = judging_parts(text, [2] * 9, range(9), ANY, 1)
    for part in (parts.selection, parts.test, parts.own):
        assert part is not None
        assert part.token_ids == [[int(name[1:])] * 2 for name in part.ids]
        assert part.texts == [f"text {name[1:]}" for name in part.ids]
        assert (part.source, part.sha256, part.origin) == ("mine", "a" * 64, "synthetic")
        assert (part.tokenizer_sha256, part.path, part.generation_format) == ("b" * 64, "mine.parquet", {"first": "1"})
    assert chosen(numbered(3), [2, 0]).token_ids is None


def test_the_same_text_twice_is_divided_in_any_order() -> None:
    for order in product((0, 1), repeat=3):
        text = documents(["same", "same", "other", "another"])
        rows = sorted(range(4), key=lambda row: order[row % 3])
        parts = judging_parts(chosen(text, rows), [5] * 4, [[7, 7, 1, 2][row] for row in rows], ANY, 10**6)
        assert ["d0", "d1"] in held(parts)


def test_refusals_say_what_there_is_and_what_is_needed() -> None:
    assert refusal([10] * 30, HalfNeeds(1000)) == (
        "documents mine.jsonl: too little text to judge by: it has 30 documents and 300 tokens, and two halves need 40 "
        "and 2,000; divided, the selection part has 15 documents and 150 tokens of 20 and 1,000; the test part has 15 "
        "documents and 150 tokens of 20 and 1,000; give more text"
    )
    assert "it has 60 documents and 300 tokens (at most 5 of a document), and" in refusal(
        [10] * 60, HalfNeeds(1000, document_tokens=5)
    )
    assert "it has 0 documents and 0 tokens, and two halves need 2 and 2" in refusal([], ANY)
    assert refusal([50], ANY) == (
        "documents mine.jsonl: document d0 holds 50 of the 50 tokens to judge by, more than half, so no other half is "
        "as large; divide it into documents, such as its paragraphs, or give more text"
    )
    assert "document d0 holds 51 of the 100 tokens" in refusal([51, *[7] * 7], ANY)
    said = refusal([20, 20, 20, *[1] * 50], HalfNeeds(1, 1), [0, 0, 0, *range(1, 51)])
    assert "and 2 that are nearly the same hold 60 of the 110 tokens to judge by, more than half" in said
    assert said.endswith("; leave out what is repeated, such as a head that all documents have, or give more text")
    assert "and 1 that is nearly the same hold 40 of" in refusal([20, 20, 1], ANY, [0, 0, 1])


def test_labels_and_sizes_are_one_for_each_document() -> None:
    assert judging_parts(numbered(2), [5, 5], [0, 1], ANY, 9).why_no_own
    for sizes, groups in (([5], [0, 1]), ([5, 5], [0])):
        with pytest.raises(ValueError, match="one for each"):
            judging_parts(numbered(2), sizes, groups, ANY, 9)


def test_halves_alone_are_to_be_had() -> None:
    texts = [f"document {i} " * 30 for i in range(60)]
    documents = Documents([str(i) for i in range(60)], texts, "text", "0" * 64)
    found = judging_parts(documents, [90] * 60, list(range(60)), HalfNeeds(tokens=900), None)
    assert (len(found.selection), len(found.test), found.own) == (30, 30, None)
    assert found.why_no_own == "no own part was asked for"
