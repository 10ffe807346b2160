"""Nothing is calibrated on that judges: copies and quotations are removed, as a count by sets of tuples says."""

import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibrant.calibration.documents import Documents
from calibrant.calibration.judging_parts import HalfNeeds, chosen, judging_parts
from calibrant.errors import InputError
from calibrant.scoring.form_text import form_of, stretch_shingles
from calibrant.scoring.item_contamination import Items, compare_items
from calibrant.scoring.kept_out import REMOVED_SCHEMA, kept_out, near_duplicate_groups
from calibrant.scoring.shingle_index import shingle_index
from calibrant.scoring.shingles import shingles

CHINESE = "的一是不了人我在有他这中大来上个国到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可她里后小么心多天而能好都然没日于起还发成事只作当想看文无开手十用主行方又如前所本见经头面公同三已老从动两长知"  # noqa: E501
HEAD = "Below is a request that somebody has made of us. Write a reply that answers it in full and to the point."


def documents(texts: Sequence[str], source: str = "web") -> Documents:
    ids = [f"{source}-{i}" for i in range(len(texts))]
    return Documents(ids, list(texts), source, "a" * 64, path=f"{source}.jsonl")


def prose(seed: int, count: int = 60, vocabulary: int = 5000) -> str:
    drawn = random.Random(seed)
    return " ".join(f"w{drawn.randrange(vocabulary)}" for _ in range(count))


def chinese(seed: int, count: int = 80) -> str:
    return "".join(random.Random(seed).choices(CHINESE, k=count))


def changed(text: str, at: int = 30, word: str = "changed") -> str:
    words = text.split()
    return " ".join([*words[:at], word, *words[at + 1 :]])


def runs(text: str, n: int) -> set[tuple[str, ...]]:
    words = text.split()
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


def test_planted_texts_are_removed_and_others_are_not() -> None:
    selection = documents([prose(1), prose(2), "To be, or not?", chinese(3)], "selection")
    test = documents([prose(4), prose(5, 200)], "test")
    quoted = " ".join(prose(5, 200).split()[:100])
    pool = documents(
        [
            prose(10),
            changed(prose(1)),  # 45 of 53 runs of eight words
            f"{prose(11)} {quoted} {prose(12)}",  # half of another one: 93 of its 193 runs
            f"  {prose(2).upper().replace(' ', '  ')}\n",
            "TO BE,\n or NOT?",
            "To be, or what?",
            changed(chinese(3), 0, f"{chinese(3)[:40]}x{chinese(3)[41:]}"),
            chinese(9),
            " ".join(prose(4).split()[20:28]),  # one run of eight words, all of it
            f"{prose(13)} {' '.join(prose(4).split()[20:28])}",  # one of 53
        ]
    )
    found = kept_out(pool, [selection, test])
    assert [(r["doc_id"], r["judging_source"], r["judging_doc_id"], r["shared"]) for r in found.removed] == [
        ("web-1", "selection", "selection-0", 45),
        ("web-2", "test", "test-1", 93),
        ("web-3", "selection", "selection-1", 53),
        ("web-4", "selection", "selection-2", 0),
        ("web-6", "selection", "selection-3", 65 - 16),
        ("web-8", "test", "test-0", 1),
    ]
    assert [r["share"] for r in found.removed] == [
        pytest.approx(share) for share in (45 / 53, 93 / 193, 1, 1, 49 / 65, 1)
    ]
    assert {r["source"] for r in found.removed} == {"web"}
    assert list(found.removed[0]) == REMOVED_SCHEMA.names
    assert found.kept.ids == ["web-0", "web-5", "web-7", "web-9"]
    assert kept_out(pool, [selection, test], threshold=0.5).kept.ids == ["web-0", "web-2", "web-5", "web-7", "web-9"]
    assert kept_out(pool, []).kept == pool


SHORT = st.lists(st.lists(st.sampled_from("abcd"), min_size=1, max_size=12).map(" ".join), min_size=1, max_size=8)


@settings(max_examples=200, deadline=None)
@given(SHORT, SHORT, SHORT, st.integers(1, 4), st.sampled_from([0.2, 0.5, 1.0]))
def test_removed_are_those_that_sets_of_tuples_say(
    pool: list[str], first: list[str], second: list[str], n: int, threshold: float
) -> None:
    judging = [documents(first, "selection"), documents(second, "test")]
    others = [(f"selection-{i}", text) for i, text in enumerate(first)]
    others += [(f"test-{i}", text) for i, text in enumerate(second)]
    expected = []
    for i, text in enumerate(pool):
        best = (0.0, 0)
        for _, other in others:
            a, b = runs(text, n), runs(other, n)
            same = text.replace(" ", "") == other.replace(" ", "")
            if a & b or same:
                best = max(best, (len(a & b) / min(len(a), len(b)) if a & b else 1.0, len(a & b)))
        if best[0] >= threshold:
            expected.append((f"web-{i}", *best))
    left = [f"web-{i}" for i in range(len(pool)) if f"web-{i}" not in {name for name, _, _ in expected}]
    if not left:
        with pytest.raises(InputError, match="so 0 are left, but 1 are needed"):
            kept_out(documents(pool), judging, words=n, threshold=threshold)
        return
    found = kept_out(documents(pool), judging, words=n, threshold=threshold)
    assert [(r["doc_id"], r["share"], r["shared"]) for r in found.removed] == expected
    assert found.kept.ids == left
    texts = dict(others)
    for row in found.removed:
        a, b = runs(pool[int(row["doc_id"][4:])], n), runs(texts[row["judging_doc_id"]], n)
        assert len(a & b) == row["shared"]


def test_the_best_share_is_the_one_that_contamination_gives() -> None:
    judging = [prose(i, 30, 12) for i in range(25)]
    pool = [prose(100 + i, 20 + i, 12) for i in range(20)]
    found = kept_out(documents([*pool, "other"]), [documents(judging, "test")], words=3, threshold=1e-9)
    shares = []
    for text in pool:
        items = Items("test", "text", [str(i) for i in range(25)], [[each] for each in judging])
        shares.append(max(row["share"] for row in compare_items(documents([text]), [items], words=3)))
    assert [row["share"] for row in found.removed] == [share for share in shares if share]
    assert len(found.removed) > 10


def test_each_judging_document_is_compared_in_the_unit_of_its_script() -> None:
    """One in Chinese among many in English, of which a sentence is quoted, and the other way round."""
    judging = documents([*map(prose, range(20)), chinese(1)], "test")
    pool = documents([f"{chinese(8)}{chinese(1)[10:50]}", f"{chinese(9)} {prose(3)}", prose(50), chinese(10)])
    found = kept_out(pool, [judging])
    assert [(r["doc_id"], r["judging_doc_id"]) for r in found.removed] == [("web-0", "test-20"), ("web-1", "test-3")]


def test_the_form_of_documents_is_cut_out_of_what_is_compared() -> None:
    """All begin with the head of a prompt, as long as what follows it; one of them quotes another."""
    texts = [f"{HEAD}\n{prose(i, 22)}\nEnd." for i in range(60)]
    own = [*texts[40:], f"{HEAD}\n{' '.join(prose(7, 22).split()[:15])} {prose(99, 7)}\nEnd.", f"x {HEAD}"]
    found = kept_out(documents(own), [documents(texts[:20], "selection"), documents(texts[20:40], "test")])
    assert [(r["doc_id"], r["judging_doc_id"], r["shared"]) for r in found.removed] == [("web-20", "selection-7", 8)]
    assert found.removed[0]["share"] == pytest.approx(8 / 16)
    few = documents(texts[:20], "test")  # what twenty documents have is no form yet
    with pytest.raises(InputError, match="so 0 are left"):
        kept_out(documents(own), [few])
    bare = documents([HEAD, HEAD.upper(), HEAD[:-20], prose(77)])  # of nothing but the form: known by the whole text
    kept = kept_out(bare, [documents([*texts, HEAD], "test")]).kept
    assert kept.ids == ["web-2", "web-3"]


def test_a_form_is_what_many_documents_have() -> None:
    with_head = [[b"a", b"b", b"c", b"%d" % i, b"x"] for i in range(30)]
    form = form_of(with_head, 3, 0.1)
    assert form.runs == {b"a\x00b\x00c"}
    none = (with_head[:20], [*with_head, *[[b"%d" % i] for i in range(300)]], [])
    assert [form_of(documents, 3, 0.1).runs for documents in none] == [set()] * 3
    units = [b"q", b"r", b"s", b"t", b"a", b"b", b"c", b"u", b"v"]
    assert form.without(units) == [units[:4], units[7:]]
    assert form.without(units[:6]) == [units[:6]]
    assert form.without(units[4:7]) == []
    assert stretch_shingles(form.without(units), 2).tolist() == sorted(
        [*shingles(units[:4], 2).tolist(), *shingles(units[7:], 2).tolist()]
    )
    assert not len(stretch_shingles([], 2))


NUMBERS = st.lists(st.lists(st.integers(0, 12), unique=True, max_size=9), max_size=9)


@settings(max_examples=200, deadline=None)
@given(NUMBERS, st.lists(st.integers(0, 15), unique=True, max_size=9))
def test_an_index_counts_as_sets_do(sets: list[list[int]], found: list[int]) -> None:
    index = shingle_index([np.array(sorted(each), dtype=np.uint64) for each in sets])
    places, counts, shares = index.overlaps(np.array(sorted(found), dtype=np.uint64))
    common = {i: len(set(each) & set(found)) for i, each in enumerate(sets) if set(each) & set(found)}
    assert dict(zip(places.tolist(), counts.tolist(), strict=True)) == common
    assert shares.tolist() == [count / min(len(sets[i]), len(found)) for i, count in common.items()]


def test_fields_are_carried_and_too_few_documents_refused() -> None:
    texts = [prose(i) for i in range(4)]
    pool = Documents(
        list("abcd"), texts, "mine", "a" * 64, "synthetic", [[1], [2], [3], [4]], "b" * 64, "m.parquet", {"first": "1"}
    )
    judging = [documents(texts[1:2], "selection"), documents(texts[3:], "test")]
    kept = kept_out(pool, judging, needed=2).kept
    assert (kept.ids, kept.texts, kept.token_ids) == (["a", "c"], [texts[0], texts[2]], [[1], [3]])
    assert (kept.source, kept.sha256, kept.origin, kept.tokenizer_sha256) == ("mine", "a" * 64, "synthetic", "b" * 64)
    assert (kept.path, kept.generation_format) == ("m.parquet", {"first": "1"})
    with pytest.raises(InputError) as caught:
        kept_out(pool, judging, needed=3)
    assert str(caught.value) == (
        "documents m.parquet: 2 of 4 documents are in the text that judges (selection, test) or share 0.2 or more of "
        "their text with it, so 2 are left, but 3 are needed; give another text or a larger one"
    )
    with pytest.raises(InputError, match=r"4 of 4 documents .* so 0 are left, but 1 are needed"):
        kept_out(pool, [pool])


def test_near_duplicates_of_one_file_have_one_label() -> None:
    texts = [
        prose(1),
        prose(2),
        changed(prose(1)),
        changed(changed(prose(1)), 10),  # is of the first's group by the one before it
        prose(3, 20),
        changed(prose(3, 20), 10),  # 15 of 21 runs of three words
        "Yes, sir",
        "yes,   SIR\n",
        "No, sir",
        chinese(4, 100),
        f"{chinese(4, 100)[:50]}x{chinese(4, 100)[51:]}",
        chinese(5, 100),
        " ".join(prose(2).split()[:30]),  # a quotation is no copy
        f"\t{prose(2).upper()}",
    ]
    assert near_duplicate_groups(documents(texts)) == [0, 1, 0, 0, 4, 5, 6, 6, 8, 9, 9, 11, 12, 1]
    assert near_duplicate_groups(documents([])) == []


def test_texts_of_two_scripts_are_compared_whichever_unit_fits_them() -> None:
    """A quarter of the letters decides on the unit, which a word more or less can change."""
    text = f"{prose(1).replace('w', 'ab')} {chinese(1, 40)}"
    longer = changed(text, 5, "a" * 40)
    assert near_duplicate_groups(documents([text, longer])) == [0, 0]


VARIED = st.lists(
    st.tuples(st.integers(0, 3), st.lists(st.integers(0, 59), max_size=3)).map(
        lambda drawn: " ".join(
            "changed" if i in drawn[1] else word for i, word in enumerate(prose(drawn[0], 60, 40).split())
        )
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(VARIED, st.randoms(use_true_random=False))
def test_groups_are_the_components_of_exact_pairs_in_any_order(texts: list[str], shuffled: random.Random) -> None:
    def near(a: str, b: str) -> bool:
        return len(runs(a, 3) & runs(b, 3)) >= 0.8 * len(runs(a, 3) | runs(b, 3))

    expected = list(range(len(texts)))
    for _ in texts:
        expected = [min(expected[j] for j in range(len(texts)) if near(texts[i], texts[j])) for i in range(len(texts))]
    assert near_duplicate_groups(documents(texts)) == expected
    order = list(range(len(texts)))
    shuffled.shuffle(order)
    again = near_duplicate_groups(chosen(documents(texts), order))
    assert len(set(again)) == len({(a, expected[row]) for a, row in zip(again, order, strict=True)})
    assert len(set(again)) == len(set(expected))


def test_near_copies_are_a_group_and_what_most_documents_begin_with_makes_none() -> None:
    """A head of 300 words before 40 of one's own: by the whole, all would be nearly the same."""
    head = prose(1, 300)
    answers = [f"{head} {prose(i, 40)}" for i in range(2, 62)]
    assert near_duplicate_groups(documents([*answers, changed(answers[3], 320)])) == [*range(60), 3]
    copies = [f"{head} {i}" for i in range(60)]
    assert near_duplicate_groups(documents(copies)) == [0] * 60
    others = [prose(i, 40) for i in range(100, 170)]
    assert near_duplicate_groups(documents([*copies, *others])) == [*[0] * 60, *range(60, 130)]


def test_the_parts_of_a_text_keep_copies_together_and_its_own_part_is_a_pool() -> None:
    texts = [prose(i) for i in range(120)] + [changed(prose(i), 5 + i) for i in range(40)]
    text = documents(texts, "mine")
    parts = judging_parts(text, [60] * 160, near_duplicate_groups(text), HalfNeeds(1000), 1000)
    assert parts.own is not None
    for part in (parts.selection, parts.test, parts.own):
        rows = {int(name.split("-")[1]) for name in part.ids}
        assert all((i in rows) is (120 + i in rows) for i in range(40))
    assert kept_out(parts.own, [parts.selection, parts.test]).removed == []
