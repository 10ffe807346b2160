"""What stands in the cells of sets and scores is checked by one description, whoever wrote the file."""

import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calibrant.artefacts.contents import record
from calibrant.artefacts.parquet import read_table, write_table
from calibrant.calibration.sample_set import SAMPLES, check_vocabulary, read_calibration_set, read_samples
from calibrant.cli.main import main
from calibrant.errors import InputError
from calibrant.scoring.score_table import SCORES, read_scores

ROWS = 4
GOOD: dict[str, Any] = {
    "sample_id": [10, 11, 12, 13],
    "input_ids": [[5, 6, 7]] * ROWS,
    "text": ["a", "b", None, ""],
    "doc_ids": [["x"], [], None, ["y", "z"]],
    "prefix_length": [0, 3, None, 1],
    "perplexity": [1.5, None, 2.0, 3.0],
}
OTHER_KINDS = {  # types that hold the same, which other programs write
    "sample_id": [pa.int32(), pa.uint64()],
    "input_ids": [pa.list_(pa.int64()), pa.large_list(pa.uint16()), pa.list_(pa.int32(), 3)],
    "text": [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())],
    "doc_ids": [pa.large_list(pa.large_string())],
    "prefix_length": [pa.int64(), pa.uint8()],
    "perplexity": [pa.float64()],
}
BAD_CELLS: dict[str, list[Any]] = {
    "sample_id": [None],
    "input_ids": [None, [], [5, None, 7], [5, -1, 7], [5, 2**31, 7], [-(2**40), 1, 1]],
    "doc_ids": [[None], ["x", None]],
    "prefix_length": [-1, 4, 2**40],
    "perplexity": [-0.5, math.nan, -math.inf],
}
BAD_TYPES: dict[str, list[pa.Array]] = {
    "sample_id": [pa.array(["a", "b", "c", "d"]), pa.array([0.5, 1.5, 2.5, 3.5])],
    "input_ids": [pa.array([1, 2, 3, 4]), pa.array([["5"]] * 4), pa.array([[5.0]] * 4), pa.array(["5 6"] * 4)],
    "text": [pa.array([1, 2, 3, 4]), pa.array([["a"]] * 4), pa.array([b"a"] * 4)],
    "doc_ids": [pa.array(["x"] * 4), pa.array([[1]] * 4)],
    "prefix_length": [pa.array(["0"] * 4), pa.array([0.0] * 4)],
    "perplexity": [pa.array(["1"] * 4), pa.array([True] * 4)],
}
many = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


def column(name: str, cells: list[Any]) -> pa.Array:
    wide = {"input_ids": pa.list_(pa.int64()), "prefix_length": pa.int64(), "perplexity": pa.float64()}
    return pa.array(cells, wide.get(name, SAMPLES.schema.field(name).type))


def foreign(path: Path, **columns: pa.Array) -> Path:
    pq.write_table(pa.table({name: column(name, cells) for name, cells in GOOD.items()} | columns), path)
    return path


@many
@given(st.data())
def test_a_bad_cell_is_refused_by_its_sample(tmp_path: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(BAD_CELLS)))
    row = data.draw(st.integers(0, ROWS - 1))
    cells = list(GOOD[name])
    cells[row] = data.draw(st.sampled_from(BAD_CELLS[name]))
    file = foreign(tmp_path / "s.parquet", **{name: column(name, cells)})
    with pytest.raises(InputError) as caught:
        read_samples(file)
    said = str(caught.value)
    assert said.startswith(f"{file}: {'row' if name == 'sample_id' else 'sample_id'} ")
    assert name in said
    assert name == "sample_id" or f"sample_id {10 + row}: " in said
    assert "\n" not in said


@pytest.mark.parametrize("name", GOOD)
def test_kinds_of_columns(tmp_path: Path, name: str) -> None:
    wanted = read_samples(foreign(tmp_path / "s.parquet")).table
    for kind in OTHER_KINDS[name]:
        cells = GOOD[name] if kind != pa.list_(pa.int32(), 3) else [[5, 6, 7]] * ROWS
        as_strings = pa.types.is_dictionary(kind)
        array = pa.array(cells, pa.string()).cast(kind) if as_strings else pa.array(cells, kind)
        found = read_samples(foreign(tmp_path / "s.parquet", **{name: array})).table
        assert found[name].type == SAMPLES.schema.field(name).type
        assert found.to_pydict() == wanted.to_pydict()
    for array in BAD_TYPES[name]:
        with pytest.raises(InputError, match=rf"column {name} is .*; it must be "):
            read_samples(foreign(tmp_path / "s.parquet", **{name: array}))


def test_samples_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="sample_id 7 occurs more than once"):
        read_samples(foreign(tmp_path / "s.parquet", sample_id=pa.array([7, 8, 7, 9])))
    twice = pa.Table.from_arrays([column("input_ids", GOOD["input_ids"])] * 2, names=["input_ids"] * 2)
    pq.write_table(twice, tmp_path / "t.parquet")
    with pytest.raises(InputError, match="two columns called input_ids"):
        read_samples(tmp_path / "t.parquet")


def test_ids_beyond_a_vocabulary_name_the_sample(tmp_path: Path) -> None:
    file = foreign(
        tmp_path / "s.parquet", input_ids=column("input_ids", [[1, 2, 3], [1, 2, 3], [1, 99, 2], [98, 1, 1]])
    )
    check_vocabulary(file, read_samples(file), 100)
    with pytest.raises(InputError, match="sample_id 12: token id 99 is outside the model's vocabulary of 99"):
        check_vocabulary(file, read_samples(file), 99)


def scores(path: Path, metadata: dict[str, Any] | None = None, **columns: pa.Array) -> Path:
    good = {"sample_id": [0, 1], "perplexity": [1.0, 2.0], "min_k_plus_plus": [0.0, -1.0], "tokens": [3, 3]}
    write_table(path, pa.table(good | columns), {"stage": "score"} if metadata is None else metadata)
    return path


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"perplexity": pa.array([1.0, None])}, "sample_id 1: perplexity is empty"),
        ({"perplexity": pa.array([-5.0, 1.0])}, "sample_id 0: perplexity is -5.0; it must be at least 0"),
        ({"perplexity": pa.array(["x", "y"])}, "column perplexity is string; it must be numbers"),
        ({"sample_id": pa.array([3, 3])}, "sample_id 3 occurs more than once"),
        ({"sample_id": pa.array([3, None])}, "row 1: sample_id is empty"),
        ({"tokens": pa.array([0, 3])}, "sample_id 0: tokens is 0; it must be from 1 to"),
    ],
)
def test_scores_are_numbers_of_samples(tmp_path: Path, columns: dict[str, pa.Array], message: str) -> None:
    assert read_scores(scores(tmp_path / "s.parquet"))[0].schema.remove_metadata() == SCORES.schema
    with pytest.raises(InputError, match=message):
        read_scores(scores(tmp_path / "s.parquet", **columns))


@many
@given(st.data())
def test_metadata_of_other_types_are_refused(tmp_path: Path, data: st.DataObject) -> None:
    """Even where the digests are right: then our own program wrote what it should not have."""
    keys = ("model", "model_sha256", "tokenizer_sha256", "settings", "inputs", "stage", "source")
    key = data.draw(st.sampled_from(keys))
    value = data.draw(st.sampled_from([5, True, [1], [], "", "x\ny", {"a": 1}, -1.5]))
    fits = isinstance(value, dict) if key in ("settings", "inputs") else isinstance(value, str)
    fits = fits and key not in ("model_sha256", "tokenizer_sha256", "stage")
    file = tmp_path / "s.parquet"
    table = pa.table({"input_ids": column("input_ids", GOOD["input_ids"])})
    write_table(file, table, {key: value})
    assert read_table(file)[1] == {key: value}
    if fits:
        assert read_samples(file).metadata == {key: value}
    else:
        with pytest.raises(InputError, match=f"key {key} is |was made by calibrant"):
            read_samples(file)


def test_another_artefact_says_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="by calibrant 'score'; a calibration set is made by `calibrant sample`"):
        read_samples(scores(tmp_path / "s.parquet"))
    write_table(tmp_path / "t.parquet", pa.table({"sample_id": [1], "perplexity": [1.0]}), {"stage": "generate"})
    with pytest.raises(InputError, match="by calibrant 'generate'; a file of scores is made by `calibrant score`"):
        read_scores(tmp_path / "t.parquet")
    with pytest.raises(InputError, match="has no metadata of calibrant; a file of scores is made by `calibrant score`"):
        read_scores(foreign(tmp_path / "f.parquet"))


@pytest.mark.parametrize("name", ["docs.jsonl", "notes.txt", "docs.jsonl.gz", "set.parquet"])
def test_text_is_told_from_a_damaged_set(tmp_path: Path, name: str) -> None:
    import gzip

    text = (json.dumps({"text": "ü" * 3000}, ensure_ascii=False) + "\n").encode()
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    with pytest.raises(InputError, match=rf"is text.*`calibrant sample --documents .*{name} --model MODEL`"):
        read_calibration_set(tmp_path / name)
    (tmp_path / name).write_bytes(b"PAR1" + bytes(range(256)) * 9)
    with pytest.raises(InputError, match="perhaps truncated or damaged"):
        read_calibration_set(tmp_path / name)


def test_a_set_of_ours_without_digests_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = pa.table({"input_ids": column("input_ids", GOOD["input_ids"])})
    known = {"tokenizer_sha256": "f" * 64}
    for metadata in (known, record(known, {"input_ids": "0" * 64})):
        pq.write_table(table.replace_schema_metadata({"calibrant": json.dumps(metadata)}), tmp_path / "s.parquet")
        assert main(["export", "--calibration", str(tmp_path / "s.parquet"), "--output", str(tmp_path / "o")]) == 2
        assert "make it again" in capsys.readouterr().err
    pq.write_table(table, tmp_path / "s.parquet")  # another program's
    assert main(["export", "--calibration", str(tmp_path / "s.parquet"), "--output", str(tmp_path / "o")]) == 0


def test_what_json_cannot_hold_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for extra in (pa.array([b"x"] * ROWS), pa.array([1.0, math.inf, 1.0, 1.0])):
        file = foreign(tmp_path / "s.parquet", extra=extra)
        assert main(["export", "--calibration", str(file), "--jsonl", str(tmp_path / "o.jsonl")]) == 2
        assert "cannot be written as JSON" in capsys.readouterr().err
        assert not (tmp_path / "o.jsonl").exists()
