import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibrant.artefacts.digest import canonical_json, check_sha256, sha256_bytes, sha256_file, sha256_json
from calibrant.artefacts.parquet import read_table, write_table
from calibrant.artefacts.provenance import read_provenance, sidecar, write_provenance
from calibrant.errors import InputError
from calibrant.version import __version__

TABLE = pa.table({"id": pa.array(range(5000), pa.int64()), "ids": [[i, i + 1] for i in range(5000)]})
METADATA = {"seed": 3, "model": "tiny", "settings": {"b": 1, "a": None}}


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(InputError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_table_and_metadata_come_back(tmp_path: Path) -> None:
    write_table(tmp_path / "t.parquet", TABLE, METADATA)
    table, metadata = read_table(tmp_path / "t.parquet")
    assert table.equals(TABLE)
    assert metadata == METADATA
    chosen, metadata = read_table(tmp_path / "t.parquet", ["ids"])
    assert chosen.column_names == ["ids"]
    assert metadata == METADATA
    # any other reader sees plain Parquet with one sorted JSON text
    raw = pq.read_schema(tmp_path / "t.parquet").metadata
    assert set(raw) == {b"calibrant"}
    assert canonical_json(json.loads(raw[b"calibrant"])).encode() == raw[b"calibrant"]
    assert json.loads(raw[b"calibrant"]).items() > METADATA.items()


def test_same_content_same_bytes_however_it_lies_in_memory(tmp_path: Path) -> None:
    pieces = pa.concat_tables([TABLE.slice(0, 17), TABLE.slice(17, 3000), TABLE.slice(3017)])
    assert pieces["id"].num_chunks == 3
    write_table(tmp_path / "a.parquet", TABLE, METADATA)
    write_table(tmp_path / "b.parquet", pieces, dict(reversed(METADATA.items())))
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_metadata_of_another_program(tmp_path: Path) -> None:
    pq.write_table(TABLE, tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet")[1] == {}
    pq.write_table(TABLE.replace_schema_metadata({"calibrant": "not json"}), tmp_path / "t.parquet")
    assert "its metadata key calibrant is not JSON" in refusal(lambda: read_table(tmp_path / "t.parquet"))


@pytest.mark.parametrize("keep", [0.0, 0.2, 0.5, 0.9, 0.999])
def test_truncated_parquet(tmp_path: Path, keep: float) -> None:
    file = tmp_path / "t.parquet"
    write_table(file, TABLE, METADATA)
    data = file.read_bytes()
    file.write_bytes(data[: int(keep * len(data))])
    assert f"{file}: cannot be read as Parquet, perhaps truncated or damaged (" in refusal(lambda: read_table(file))


@pytest.mark.parametrize("place", [300, 5000, 10000])
def test_one_flipped_bit_in_the_data_is_noticed(tmp_path: Path, place: int) -> None:
    file = tmp_path / "t.parquet"
    write_table(file, TABLE, METADATA)
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.write_bytes(data)
    assert "cannot be read as Parquet" in refusal(lambda: read_table(file))


def test_not_parquet_at_all(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_text("text, text, text")
    assert "cannot be read as Parquet" in refusal(lambda: read_table(tmp_path / "t.parquet"))
    assert "cannot be read as Parquet" in refusal(lambda: read_table(tmp_path))
    assert "no such file" in refusal(lambda: read_table(tmp_path / "u.parquet"))


def test_missing_columns_are_named_with_those_that_exist(tmp_path: Path) -> None:
    write_table(tmp_path / "t.parquet", TABLE, {})
    message = refusal(lambda: read_table(tmp_path / "t.parquet", ["id", "text", "source"]))
    assert message.endswith("has no column text, source; its columns are id, ids")


def test_wrong_checksum_says_expected_and_found(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"abc")
    right = hashlib.sha256(b"abc").hexdigest()
    check_sha256(file, right)
    assert sha256_file(file) == sha256_bytes(b"abc") == right
    message = refusal(lambda: check_sha256(file, "0" * 64))
    assert message == f"{file}: wrong checksum: expected sha256 {'0' * 64}, found {right}"


def test_files_that_cannot_be_hashed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert "no such file" in refusal(lambda: sha256_file(tmp_path / "a"))
    assert "is a folder" in refusal(lambda: sha256_file(tmp_path))
    assert "cannot be read" in refusal(lambda: sha256_file(tmp_path / "file" / "below"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.text(), JSON, min_size=2, max_size=5))
def test_hash_of_a_value_ignores_the_order_of_keys_only(value: dict[str, Any]) -> None:
    assert sha256_json(dict(reversed(value.items()))) == sha256_json(value)
    key = next(iter(value))
    assert sha256_json({**value, key: [value[key]]}) != sha256_json(value)


def test_canonical_json_is_one_text() -> None:
    assert canonical_json({"b": [1, "ü"], "a": {"d": None, "c": True}}) == '{"a":{"c":true,"d":null},"b":[1,"ü"]}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"a": float("inf")})


def test_provenance_of_files_and_folders(tmp_path: Path) -> None:
    assert sidecar(tmp_path / "results.json") == tmp_path / "results.provenance.json"
    assert read_provenance(tmp_path / "results.json") == {}
    write_provenance(tmp_path / "results.json", {"sha256": "ab"})
    assert read_provenance(tmp_path / "results.json") == {"sha256": "ab", "library_version": __version__}
    write_provenance(tmp_path, {"id": "owner/name"})
    assert (tmp_path / "provenance.json").exists()
    assert read_provenance(tmp_path)["id"] == "owner/name"
