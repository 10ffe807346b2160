"""Rows of one seed in several files: a race has the model write no more than its next round needs."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support import make_text

import calibrant as cal
from calibrant.settings.text_settings import GenerateSettings


@pytest.mark.parametrize("first", [0, 2, 5])
def test_rows_are_the_same_in_whichever_file_they_are_written(tmp_path: Path, tiny_model_dir: Path, first: int) -> None:
    documents = tmp_path / "web.jsonl"
    documents.write_text("".join(json.dumps({"text": make_text(30, i)}) + "\n" for i in range(12)))
    rows = {}
    for name, begin, count in (("whole", 0, 8), ("part", first, 3)):
        settings = GenerateSettings(samples=count, first=begin, length=20, batch_size=2, quiet=True, dtype="float32")
        cal.generate(documents, tiny_model_dir, tmp_path / f"{name}.parquet", settings)
        rows[name] = pq.read_table(tmp_path / f"{name}.parquet").to_pylist()
    assert rows["part"] == rows["whole"][first : first + 3]
    assert [row["sample_id"] for row in rows["part"]] == [first, first + 1, first + 2]
