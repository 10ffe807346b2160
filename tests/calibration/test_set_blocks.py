"""Blocks: sets of different seeds share nothing while there is enough, and none depends on how many there are."""

from itertools import combinations, count
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import make_text

import calibrant as cal
from calibrant.calibration.documents import Documents
from calibrant.calibration.sample_set import read_samples, write_samples
from calibrant.calibration.set_blocks import block, overlap_note
from calibrant.calibration.shared_rows import shared_share
from calibrant.calibration.window_blocks import STRETCH, document_block, sample_block, stream_block, stretch_order
from calibrant.calibration.windows import Window
from calibrant.errors import InputError
from calibrant.models.checkpoint.loading import load_tokenizer

LENGTHS = st.lists(st.integers(0, 40), min_size=1, max_size=12)


def encoded(lengths: list[int]) -> list[tuple[int, list[int]]]:
    """Documents of which every token is another one."""
    return [(i, [1000 * i + j for j in range(size)]) for i, size in enumerate(lengths)]


def windows_of(packing: str, lengths: list[int], n: int, length: int, number: int) -> tuple[list[Window], bool, int]:
    if packing == "stream":
        windows, found = stream_block(encoded(lengths), [], n, length, number)
    else:
        windows, found = document_block(encoded(lengths), n, length, number)
    return windows, found.overlaps, found.available


def there_are(packing: str, lengths: list[int], length: int) -> int:
    return sum(lengths) // length if packing == "stream" else sum(size // length for size in lengths)


@given(st.integers(0, 10**12), st.integers(1, 50), st.integers(0, 200))
def test_a_block_has_its_rows_each_once_and_says_when_earlier_blocks_have_some(
    number: int, size: int, more: int
) -> None:
    found = block(number, size, size + more)
    assert len(set(found.places)) == len(found.places) == size
    assert set(found.places) <= set(range(size + more))
    assert found == block(number, size, size + more)
    earlier = {place for k in range(min(number, 60)) for place in block(k, size, size + more).places}
    if number <= 60:
        assert found.overlaps == bool(earlier & set(found.places))
    assert found.record == {
        "number": number,
        "rows": size,
        "available": size + more,
        "overlaps_earlier": (number + 1) * size > size + more,
    }


@given(st.integers(0, 9), st.integers(1, 9), st.integers(0, 100), st.integers(0, 100))
def test_more_rows_change_no_block_that_shares_none(number: int, size: int, more: int, later: int) -> None:
    rows = (number + 1) * size + more
    assert block(number, size, rows).places == block(number, size, rows + later).places


def test_a_block_that_does_not_fit_is_no_block() -> None:
    with pytest.raises(ValueError, match="a block of 5 rows does not fit into 4"):
        block(0, 5, 4)


@pytest.mark.parametrize("packing", ["stream", "document"])
@given(lengths=LENGTHS, n=st.integers(1, 4), length=st.integers(2, 9), seeds=st.integers(1, 6))
def test_sets_share_no_token_while_there_are_windows(
    packing: str, lengths: list[int], n: int, length: int, seeds: int
) -> None:
    available = there_are(packing, lengths, length)
    if available < n:
        with pytest.raises(InputError, match="too little text"):
            windows_of(packing, lengths, n, length, 0)
        return
    sets = [windows_of(packing, lengths, n, length, seed) for seed in range(seeds)]
    tokens = [[token for window in windows for token in window.ids] for windows, _, _ in sets]
    texts = [t for _, ids in encoded(lengths) for t in ids]
    for k, ((windows, overlaps, _), ids) in enumerate(zip(sets, tokens, strict=True)):
        assert len(windows) == n
        assert len(set(ids)) == len(ids) == n * length  # not within a set either
        assert overlaps == ((k + 1) * n > available)  # knowingly
        for window in windows:
            joined = texts if packing == "stream" else encoded(lengths)[window.documents[0]][1]
            start = joined.index(window.ids[0])
            assert window.ids == joined[start : start + length]
            assert window.documents == list(dict.fromkeys(token // 1000 for token in window.ids))
    free = [set(ids) for (_, overlaps, _), ids in zip(sets, tokens, strict=True) if not overlaps]
    assert not any(one & other for one, other in combinations(free, 2))


@pytest.mark.parametrize("packing", ["stream", "document"])
@given(lengths=LENGTHS, length=st.integers(2, 9))
def test_blocks_of_any_size_are_of_one_order(packing: str, lengths: list[int], length: int) -> None:
    available = there_are(packing, lengths, length)
    one_by_one = [windows_of(packing, lengths, 1, length, k)[0][0].ids for k in range(available)]
    for n in range(1, available + 1):
        for number in range(available // n):
            windows = windows_of(packing, lengths, n, length, number)[0]
            assert [window.ids for window in windows] == one_by_one[number * n : (number + 1) * n]


def test_a_text_is_read_only_as_far_as_the_block_lies() -> None:
    read = 0

    def endless():  # type: ignore[no-untyped-def]
        nonlocal read
        for i in count():
            read += 1
            yield i, [i, i]

    windows, found = stream_block(endless(), [], 4, 2, 3)
    assert (read, found.available, found.overlaps) == (STRETCH, STRETCH, False)
    late, found = stream_block(endless(), [], 4, 2, STRETCH // 4)  # the first block of the second stretch
    assert found.available == 2 * STRETCH
    assert {w.ids[0] for w in late} <= set(range(STRETCH, 2 * STRETCH))
    read = 0
    assert document_block(endless(), 4, 2, 3)[1].available == read == 16
    assert len(windows) == 4


def test_longer_texts_permute_their_first_stretches_alike() -> None:
    order = stretch_order(2 * STRETCH + 7)
    assert sorted(order) == list(range(2 * STRETCH + 7))
    assert list(order[:STRETCH]) == list(stretch_order(STRETCH))
    assert sorted(order[2 * STRETCH :]) == list(range(2 * STRETCH, 2 * STRETCH + 7))


@pytest.mark.parametrize("packing", ["stream", "document"])
def test_real_text_of_a_tokenizer(tiny_model_dir: Path, packing: str) -> None:
    tokenizer = load_tokenizer(tiny_model_dir)
    documents = Documents([f"d{i}" for i in range(30)], [make_text(60 + 7 * i, i) for i in range(30)], "tiny", "0" * 64)
    tables = [
        sample_block(documents, tokenizer, "h", samples=6, length=48, number=k, packing=packing, first=first)[0]
        for k, first in ((0, None), (1, None), (0, None), (0, 1))
    ]
    assert tables[0] == tables[2]
    assert not set(tables[0]["text"].to_pylist()) & set(tables[1]["text"].to_pylist())
    assert [len(row) for row in tables[0]["input_ids"].to_pylist()] == [48] * 6
    assert all(row[0] == 1 and len(row) == 48 for row in tables[3]["input_ids"].to_pylist())
    for row in tables[0].to_pylist():
        assert row["text"].strip() in "\n\n".join(documents.texts[int(name[1:])] for name in row["doc_ids"])


def write_rows(path: Path, rows: list[list[int]]) -> Path:
    write_samples(
        path,
        pa.table(
            {
                "sample_id": pa.array(range(len(rows)), pa.int64()),
                "input_ids": pa.array(rows, pa.list_(pa.int32())),
                **{name: pa.nulls(len(rows), pa.string()) for name in ("text", "source", "origin")},
                "doc_ids": pa.nulls(len(rows), pa.list_(pa.string())),
                "prefix_length": pa.array([0] * len(rows), pa.int32()),
                "perplexity": pa.nulls(len(rows), pa.float32()),
            }
        ),
        {},
    )
    return path


def test_the_share_of_rows_that_sets_have_in_common(tmp_path: Path) -> None:
    sets = [
        write_rows(tmp_path / f"{i}.parquet", rows)
        for i, rows in enumerate([[[1, 2], [3, 4], [5, 6], [7, 8]], [[3, 4], [9, 9], [7, 8], [8, 7]], [[0, 1], [1, 2]]])
    ]
    assert shared_share([]) == shared_share(sets[:1]) == 0.0
    assert shared_share(sets[:2]) == 2 / 4
    assert shared_share([sets[0], sets[0]]) == 1.0
    assert shared_share(sets[1:]) == 0.0
    assert shared_share([sets[0], sets[2]]) == pytest.approx((1 / 4 + 1 / 2) / 2)
    assert shared_share(sets) == pytest.approx((2 * 2 / 4 + 1 / 4 + 1 / 2) / 6)


def test_the_stage_records_blocks_and_says_which_share_windows(
    tiny_model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "corpus.txt"
    text.write_text(make_text(300, 1))
    sets = [tmp_path / f"{seed}.parquet" for seed in range(40)]
    found = []
    for seed, path in enumerate(sets):
        found.append(cal.sample(text, tiny_model_dir, path, cal.SampleSettings(samples=4, length=16, seed=seed)))
        note = "note: --seed" in capsys.readouterr().err
        assert note == found[-1]["block"]["overlaps_earlier"]
    fit = found[0]["block"]["available"] // 4
    assert 1 < fit < 40
    assert [each["block"]["overlaps_earlier"] for each in found] == [False] * fit + [True] * (40 - fit)
    assert shared_share(sets[:fit]) == 0.0
    assert shared_share(sets) > 0.0
    metadata = read_samples(sets[3]).metadata
    assert metadata["settings"]["sets"] == "blocks"
    assert metadata["block"] == {
        "number": 3,
        "rows": 4,
        "available": found[0]["block"]["available"],
        "overlaps_earlier": False,
    }
    pool = cal.sample(text, tiny_model_dir, sets[0], cal.SampleSettings(samples=4, length=16, sets="pool"))
    assert "block" not in pool
    assert "sets" not in pool["settings"]


def test_a_note_says_what_there_is() -> None:
    assert overlap_note(block(1, 8, 20), "samples", "generate more") == ""
    assert overlap_note(block(2, 8, 20), "samples", "generate more") == (
        "note: --seed 2: 20 samples give 2 sets of 8 without common ones, so this set shares some with those of "
        "earlier seeds; generate more"
    )
