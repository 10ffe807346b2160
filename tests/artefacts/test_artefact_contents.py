"""An artefact is what its record says: every change of its bytes is noticed, or changes nothing that is read."""

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from artefact_files import with_metadata
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calibrant.artefacts.column_digests import ColumnDigests, column_digests
from calibrant.artefacts.contents import record
from calibrant.artefacts.parquet import read_metadata, read_table, table_writer, write_table
from calibrant.artefacts.provenance import read_described, sidecar, write_described
from calibrant.artefacts.tensor_files import TensorFile, write_tensors
from calibrant.artefacts.tensor_header import read_header
from calibrant.errors import InputError

TABLE = pa.table(
    {
        "id": pa.array([3, None, 5], pa.int32()),
        "ids": pa.array([[1, 2], [], None], pa.list_(pa.int32())),
        "text": ["a", None, "ü\0"],
        "names": pa.array([["x", ""], None, []], pa.list_(pa.string())),
        "value": [1.5, math.inf, -0.0],
        "flag": [True, None, False],
    }
)
METADATA = {"stage": "test", "settings": {"a": [1, 2.5, None], "ü": True}}
TENSORS = {"a": torch.arange(12, dtype=torch.bfloat16).reshape(3, 4), "b": torch.tensor([7], dtype=torch.uint8)}
few = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def changes(draw: st.DrawFn, data: bytes) -> bytes:
    """The bytes with one bit turned, a stretch replaced, or an end lost."""
    kind = draw(st.sampled_from(["bit", "bit", "bit", "stretch", "end"]))
    place = draw(st.integers(0, len(data) - 1))
    if kind == "end":
        return data[:place]
    if kind == "bit":
        return data[:place] + bytes([data[place] ^ 1 << draw(st.integers(0, 7))]) + data[place + 1 :]
    stretch = draw(st.binary(min_size=1, max_size=16))
    return data[:place] + stretch + data[place + len(stretch) :]


@settings(few, max_examples=60)
@given(data=st.data())
def test_a_changed_table_is_refused_or_reads_the_same(tmp_path: Path, data: st.DataObject) -> None:
    file = tmp_path / "t.parquet"
    write_table(file, TABLE, METADATA)
    file.write_bytes(data.draw(changes(file.read_bytes())))
    try:
        table, metadata = read_table(file)
    except InputError as error:
        said = str(error)
    else:
        said = str(file)
        assert str(table.to_pydict()) == str(TABLE.to_pydict())
        assert metadata in (METADATA, {})  # none when the key's own name is hit
    assert str(file) in said
    assert "\n" not in said


@settings(few, max_examples=60)
@given(data=st.data())
def test_changed_tensors_are_refused_or_read_the_same(tmp_path: Path, data: st.DataObject) -> None:
    file = tmp_path / "t.safetensors"
    write_tensors(file, TENSORS, METADATA)
    file.write_bytes(data.draw(changes(file.read_bytes())))
    try:
        opened = TensorFile(file, "tensors")
        found = {name: opened.get(name) for name in opened.entries}
    except InputError as error:
        said = str(error)
    else:
        said = str(file)
        assert set(found) == set(TENSORS)
        assert all(torch.equal(found[name], TENSORS[name]) for name in TENSORS)
        assert opened.metadata == METADATA
    assert str(file) in said
    assert "\n" not in said


@settings(few, max_examples=10)
@given(cuts=st.lists(st.integers(0, 3), max_size=3))
def test_digests_do_not_hang_on_pieces(cuts: list[int]) -> None:
    places = sorted([0, *cuts, 3])
    pieces = [TABLE.slice(a, b - a) for a, b in pairwise(places)]
    digests = ColumnDigests()
    for piece in pieces:
        digests.update(piece)
    assert digests.result() == column_digests(TABLE) == column_digests(pa.concat_tables(pieces))


@pytest.mark.parametrize("other", [[3, 4, 5], [3, None, 6], [None, 3, 5]])
def test_digests_tell_columns_apart(other: list[int | None]) -> None:
    digest = column_digests(TABLE)["id"]
    assert column_digests(pa.table({"id": pa.array(other, pa.int32())}))["id"] != digest
    assert column_digests(pa.table({"id": TABLE["id"].cast(pa.int64())}))["id"] != digest
    assert column_digests(pa.table({"name": TABLE["id"]}))["name"] != digest


def test_lists_are_told_from_other_divisions_of_their_items() -> None:
    digests = [
        column_digests(pa.table({"x": x}))["x"] for x in ([["a", "b"], ["c"]], [["a"], ["b", "c"]], [["ab", "c"], []])
    ]
    assert len(set(digests)) == 3


def test_a_table_written_in_pieces_is_compared_too(tmp_path: Path) -> None:
    file = tmp_path / "t.parquet"
    with table_writer(file, TABLE.schema, METADATA) as writer:
        for row in range(3):
            writer.write(TABLE.slice(row, 1))
    assert read_table(file)[0].to_pydict() == TABLE.to_pydict()
    assert read_metadata(file) == METADATA
    raw = pq.ParquetFile(file).metadata.metadata[b"calibrant"]
    pq.write_table(TABLE.slice(1).replace_schema_metadata({b"calibrant": raw}), file)
    for read in (read_table, read_metadata):
        with pytest.raises(InputError, match=r"column .* is not what it was made with: changed since, or damaged"):
            read(file)


def test_a_file_without_digests_says_that_it_is_of_an_earlier_version(tmp_path: Path) -> None:
    pq.write_table(TABLE.replace_schema_metadata({"calibrant": json.dumps(METADATA)}), tmp_path / "t.parquet")
    with pytest.raises(InputError, match="made by an earlier version of calibrant, or changed since; make it again"):
        read_table(tmp_path / "t.parquet")


@pytest.mark.parametrize(
    "raw", ["{oops", "[1]", "null", "5", '{"contents": 1}', '{"contents": {"parts": []}}', "NaN", "[" * 9999]
)
def test_metadata_that_are_no_record(tmp_path: Path, raw: str) -> None:
    pq.write_table(TABLE.replace_schema_metadata({"calibrant": raw}), tmp_path / "t.parquet")
    with pytest.raises(InputError, match=r"t\.parquet: its metadata"):
        read_table(tmp_path / "t.parquet")


@pytest.mark.parametrize("key", ["stage", "settings", "contents"])
def test_metadata_cannot_lose_or_change_a_key_unseen(tmp_path: Path, key: str) -> None:
    file = tmp_path / "t.safetensors"
    write_tensors(file, TENSORS, METADATA)
    for other in ({}, {key: {"parts": {}, "sha256": "0" * 64}}):
        with_metadata(
            file, tmp_path / "o.safetensors", lambda m, other=other: {k: v for k, v in m.items() if k != key} | other
        )
        for read in (TensorFile, read_header):
            with pytest.raises(InputError, match="make it again"):
                read(tmp_path / "o.safetensors", "tensors")


def test_only_what_is_read_is_compared(tmp_path: Path) -> None:
    """One layer of many is read without reading the others."""
    file = tmp_path / "t.safetensors"
    write_tensors(file, TENSORS, METADATA)
    data = file.read_bytes()
    file.write_bytes(data[:-1] + b"\0")  # of b, which lies last
    opened = TensorFile(file, "tensors")
    assert torch.equal(opened.get("a"), TENSORS["a"])
    for read in (opened.check, lambda: opened.get("b")):
        with pytest.raises(InputError, match="tensor b is not what it was made with"):
            read()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_numbers_that_are_not_finite_are_refused_where_that_is_asked(tmp_path: Path, value: float) -> None:
    write_tensors(tmp_path / "t.safetensors", {"a": torch.tensor([1.0, value])}, {})
    opened = TensorFile(tmp_path / "t.safetensors", "tensors")
    opened.get("a")
    with pytest.raises(InputError, match="tensor a holds NaN or infinite numbers"):
        opened.get("a", finite=True)


@pytest.mark.parametrize("changed", ["values", "sidecar", "no digest"])
def test_json_is_what_its_sidecar_says(tmp_path: Path, changed: str) -> None:
    file = tmp_path / "r.json"
    write_described(file, [{"value": 0.1}], {"model": "m"})
    assert read_described(file)[0] == [{"value": 0.1}]
    about: dict[str, Any] = json.loads(sidecar(file).read_text())
    if changed == "values":
        file.write_text('[{"value": 0.2}]')
    elif changed == "sidecar":
        sidecar(file).write_text(json.dumps({**about, "model": "n"}))
    else:
        sidecar(file).write_text('{"model": "m"}')
    with pytest.raises(InputError, match="make it again"):
        read_described(file)
    sidecar(file).unlink()  # then it says nothing
    assert read_described(file)[1] == {}


def test_a_record_is_read_as_it_was_written() -> None:
    written = record({"b": (1, 2), "a": {2: "x"}}, {"part": "0" * 64})
    assert json.loads(json.dumps(written)) == written
