"""Parts of a judging text, pools without it, and how many sets a candidate has text for."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from support import make_text

from calibrant.choice.entries import entries
from calibrant.choice.judging_files import write_parts
from calibrant.choice.pool_record import given_pool, read_pool
from calibrant.choice.pools import write_pool
from calibrant.errors import InputError
from calibrant.study.choose_section import text_settings
from calibrant.study.config import resolve_config

STUDY: dict[str, Any] = {
    "preset": "tiny",
    "experiment": "sources",
    "study": "race",
    "sources": {"web": {"files": ["web.jsonl"]}, "wiki": {"files": ["wiki.jsonl"]}},
    "texts": {"use": {"files": ["use.jsonl"]}},
    "tasks": {},
    "calibration": {"samples": 4, "length": 32},
    "grids": [],
}


def study(**choose: Any) -> dict[str, Any]:
    return resolve_config({**STUDY, "choose": {"for": {"use": {}}, "tokens": 400, **choose}})


def write(path: Path, count: int, seed: int, words: int = 60) -> list[str]:
    texts = [make_text(words, 1000 * seed + i) for i in range(count)]
    path.write_text("".join(json.dumps({"id": str(i), "text": text}) + "\n" for i, text in enumerate(texts)))
    return texts


def texts_of(path: Path) -> list[str]:
    found: list[str] = pq.read_table(path)["text"].to_pylist()
    return found


@pytest.fixture
def divided(tmp_path: Path, tiny_model_dir: Path) -> Path:
    write(tmp_path / "use.jsonl", 90, 1)
    write_parts(tmp_path / "use.jsonl", tiny_model_dir, "use", text_settings(study()), tmp_path)
    return tmp_path


def test_parts_share_no_document_and_hold_all(divided: Path) -> None:
    parts = [texts_of(divided / f"{part}.parquet") for part in ("selection", "test", "own")]
    assert sum(map(len, parts)) == 90
    assert len(set().union(*parts)) == 90
    assert all(len(part) >= 20 for part in parts)


def test_a_text_too_small_to_judge_by_is_refused_by_name(tmp_path: Path, tiny_model_dir: Path) -> None:
    write(tmp_path / "use.jsonl", 30, 1)
    with pytest.raises(InputError, match=r"use, which is to judge: .*too little text to judge by"):
        write_parts(tmp_path / "use.jsonl", tiny_model_dir, "use", text_settings(study()), tmp_path)


def test_without_room_for_a_third_the_own_text_is_out_and_says_why(tmp_path: Path, tiny_model_dir: Path) -> None:
    write(tmp_path / "use.jsonl", 45, 1)
    config = study()
    config["calibration"]["samples"] = 40
    write_parts(tmp_path / "use.jsonl", tiny_model_dir, "use", text_settings(config), tmp_path)
    pool = write_pool(tmp_path / "own.parquet", "own_use", tiny_model_dir, [], tmp_path / "pool.parquet", config)
    assert pool.refusal(entries(config)["your own text"], config).startswith("the text is too small to be divided")


def test_what_judges_is_taken_out_and_sets_are_counted(divided: Path, tiny_model_dir: Path) -> None:
    own = write(divided / "web.jsonl", 20, 2)
    judging = texts_of(divided / "test.parquet")[0]
    with (divided / "web.jsonl").open("a") as file:
        file.write(json.dumps({"id": "copied", "text": judging.upper()}) + "\n")
    config, output = study(), divided / "pool.parquet"
    halves = [divided / "selection.parquet", divided / "test.parquet"]
    found = write_pool(divided / "web.jsonl", "web", tiny_model_dir, halves, output, text_settings(config))
    assert texts_of(output) == own
    assert [row["doc_id"] for row in found.removed] == ["copied"]
    assert read_pool(output) == found
    named = entries(config)
    assert found.available(named["web"], config) == found.tokens // 128
    assert found.available(named["web (self-generated)"], config) == 20 // 5  # 4 rows are left of 5


def test_text_for_less_than_two_sets_or_none_is_out_with_the_amounts(divided: Path, tiny_model_dir: Path) -> None:
    config = study()
    write(divided / "web.jsonl", 1, 2, words=40)
    pool = write_pool(divided / "web.jsonl", "web", tiny_model_dir, [], divided / "pool.parquet", config)
    named = entries(config)
    assert "and 2 are needed: about 256 tokens; it has" in pool.refusal(named["web"], config)
    assert "10 documents for the model to begin with; it has 1" in pool.refusal(named["web (self-generated)"], config)
    (divided / "web.jsonl").write_text('{"text": "a"}\n{')
    pool = write_pool(divided / "web.jsonl", "web", tiny_model_dir, [], divided / "pool.parquet", config)
    assert "web.jsonl" in pool.refusal(named["web"], config)
    assert texts_of(divided / "pool.parquet") == []


def test_a_set_that_exists_is_one_set_of_whatever_size(tmp_path: Path, tiny_model_dir: Path) -> None:
    import calibrant as cal
    from calibrant.settings.text_settings import SampleSettings

    write(tmp_path / "web.jsonl", 20, 2)
    set_file = tmp_path / "today.parquet"
    cal.sample(tmp_path / "web.jsonl", tiny_model_dir, set_file, SampleSettings(samples=3, length=16))
    config = study(reference=str(set_file))
    pool = given_pool(set_file)
    assert (pool.tokens, pool.available(entries(config)["today"], config)) == (48, 1)
    assert not pool.refusal(entries(config)["today"], config)
