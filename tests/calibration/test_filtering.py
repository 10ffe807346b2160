"""Filtering: exactly floor(k·n) rows of highest perplexity go, the rest is drawn without replacement."""

import json
from fractions import Fraction
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import load_from_disk
from hypothesis import given, settings
from hypothesis import strategies as st

from calibrant.artefacts.digest import sha256_file
from calibrant.artefacts.parquet import write_table
from calibrant.calibration.perplexity_filter import drop_count, filter_samples, take_samples
from calibrant.calibration.sample_set import SCHEMA, read_calibration_set, write_samples
from calibrant.cli.main import main
from calibrant.errors import InputError
from calibrant.scoring.score_table import SCORES
from calibrant.settings.text_settings import FilterSettings
from calibrant.stages.filtering import filter as filter_stage
from calibrant.study.row_counts import block_rows, kept


def make_table(n: int, length: int = 4) -> pa.Table:
    return pa.table(
        {
            "sample_id": pa.array(range(n), pa.int64()),
            "input_ids": pa.array([[i] * length for i in range(n)], pa.list_(pa.int32())),
            "text": [f"text é {i}" for i in range(n)],
            "source": ["tiny"] * n,
            "origin": ["synthetic"] * n,
            "doc_ids": pa.array([[f"d{i}"] for i in range(n)], pa.list_(pa.string())),
            "prefix_length": pa.array([1] * n, pa.int32()),
            "perplexity": pa.nulls(n, pa.float32()),
        }
    )


@given(st.integers(0, 99), st.integers(1, 500))
def test_drop_count_is_the_floor_of_the_exact_product(percent: int, n: int) -> None:
    assert drop_count(percent / 100, n) == int(Fraction(percent, 100) * n)


@given(st.lists(st.floats(1, 4).map(lambda x: round(x, 1)), min_size=1, max_size=40), st.integers(0, 99))
def test_filter_properties(values: list[float], percent: int) -> None:
    scores = dict(enumerate(values))
    result = filter_samples(make_table(len(values)), scores, percent / 100)
    kept = result.kept["sample_id"].to_pylist()
    dropped = result.dropped["sample_id"].to_pylist()
    assert kept == sorted(kept)
    assert sorted(kept + dropped) == list(range(len(values)))
    assert len(dropped) == int(Fraction(percent, 100) * len(values))
    assert all((scores[k], k) < (scores[d], d) for k in kept for d in dropped)
    assert result.kept["perplexity"].to_pylist() == pytest.approx([scores[i] for i in kept])
    again = filter_samples(result.kept, scores, 0)
    assert again.kept == result.kept
    assert again.dropped.num_rows == 0


def test_rows_in_any_order_give_the_same_result() -> None:
    table, scores = make_table(9), {i: float((i * 5) % 9) for i in range(9)}
    shuffled = table.take(pa.array([4, 2, 8, 0, 1, 7, 3, 6, 5]))
    assert filter_samples(table, scores, 0.5).kept == filter_samples(shuffled, scores, 0.5).kept


def test_what_is_not_a_number_goes_first() -> None:
    result = filter_samples(make_table(3), {0: float("nan"), 1: 9.0, 2: 3.0}, 0.4)
    assert result.dropped["sample_id"].to_pylist() == [0]
    assert result.dropped["reason"].to_pylist() == ["highest perplexity"]


@given(st.integers(1, 30), st.integers(1, 40), st.integers(0, 99))
def test_draws_are_without_replacement_and_seeded(n: int, take: int, seed: int) -> None:
    table = make_table(n)
    if take > n:
        with pytest.raises(InputError, match=f"only {n} samples are left"):
            take_samples(table, take, seed)
        return
    ids = take_samples(table, take, seed)["sample_id"].to_pylist()
    assert len(set(ids)) == take
    assert ids == take_samples(table, take, seed)["sample_id"].to_pylist()


def test_every_row_is_drawn_equally_often() -> None:
    table = make_table(10)
    counts = np.zeros(10)
    for seed in range(500):
        counts[take_samples(table, 3, seed)["sample_id"].to_numpy()] += 1
    assert abs(counts - 150).max() < 50  # five standard deviations of the binomial


def test_rows_of_different_lengths_name_the_way_out() -> None:
    rows = pa.array([[1, 2], [1, 2, 3]], pa.list_(pa.int32()))
    table = make_table(2).set_column(1, "input_ids", rows)
    with pytest.raises(InputError, match=r"2 to 3 tokens.*calibrant sample"):
        take_samples(table, 1, 0)


@pytest.mark.parametrize("drop", [-0.1, 1, 1.5])
def test_drop_out_of_range(drop: float) -> None:
    with pytest.raises(InputError, match="below 1"):
        FilterSettings(drop=drop)


def write_scores(path: Path, samples: Path, values: list[float]) -> None:
    rows = [
        {"sample_id": i, "perplexity": value, "min_k_plus_plus": 0.0, "tokens": 3} for i, value in enumerate(values)
    ]
    table = pa.Table.from_pylist(rows, SCORES.schema)
    write_table(path, table, {"inputs": {"samples": sha256_file(samples)}})


def test_stage_records_what_was_dropped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    samples, scores, output = tmp_path / "gen.parquet", tmp_path / "scores.parquet", tmp_path / "set.parquet"
    write_samples(samples, make_table(10), {"model": "tiny", "tokenizer_sha256": "7" * 64, "seed": 0})
    write_scores(scores, samples, [float(i) for i in range(10)])
    common = ["filter", "--samples", str(samples), "--output", str(output)]
    drawn = ["--drop", "0.25", "--take", "4", "--seed", "1", "--sets", "pool"]
    assert main([*common, "--scores", str(scores), *drawn]) == 0
    taken = read_calibration_set(output)
    assert len(taken) == 4
    assert taken.table.schema.remove_metadata() == SCHEMA
    assert taken.table["perplexity"].to_pylist() == taken.table["sample_id"].to_pylist()
    assert taken.metadata["tokenizer_sha256"] == "7" * 64
    assert taken.metadata["inputs"] == {"samples": sha256_file(samples), "scores": sha256_file(scores)}
    dropped = pq.read_table(tmp_path / "set.dropped.parquet")
    assert dropped["sample_id"].to_pylist() == [8, 9]
    assert dropped.column_names == [*SCHEMA.names, "reason"]

    assert taken.metadata["settings"] == {"drop": 0.25, "take": 4}
    assert "block" not in taken.metadata

    write_samples(samples, make_table(9), {})
    assert main([*common, "--scores", str(scores), "--drop", "0.2"]) == 2
    assert "score these samples again" in capsys.readouterr().err
    assert main([*common, "--drop", "0.2"]) == 2
    assert "needs --scores" in capsys.readouterr().err
    assert main([*common, "--drop", "0"]) == 0
    assert len(read_calibration_set(output)) == 9


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 9), st.integers(1, 4), st.sampled_from([0, 0.1, 0.2, 0.5, 0.9]), st.integers(0, 20), st.randoms())
def test_blocks_of_rows_are_filtered_each_by_itself(take: int, seeds: int, drop: float, more: int, rng: Random) -> None:
    size = block_rows(take, drop)
    assert kept(size, drop) == take < kept(size + 1, drop)
    rows = size * seeds + more
    values = [float(rng.randrange(20)) for _ in range(rows)]
    with TemporaryDirectory() as folder:
        samples, scores, output = (Path(folder) / f"{name}.parquet" for name in ("gen", "scores", "set"))
        write_samples(samples, make_table(rows), {})
        write_scores(scores, samples, values)
        for seed in range(seeds + more):
            filter_stage(samples, output, FilterSettings(drop=drop, take=take, seed=seed), scores=scores)
            found = read_calibration_set(output)
            ids = found.table["sample_id"].to_pylist()
            overlaps = (seed + 1) * size > rows
            if not overlaps:
                own = range(seed * size, (seed + 1) * size)
                assert ids == sorted(sorted(own, key=lambda i: (values[i], i))[:take])
            assert len(set(ids)) == take
            dropped = pq.read_table(output.with_suffix(".dropped.parquet"))
            assert dropped.num_rows == size - take
            assert not set(dropped["sample_id"].to_pylist()) & set(ids)
            assert found.metadata["settings"] == {"drop": drop, "take": take, "sets": "blocks"}
            assert found.metadata["block"] == {
                "number": seed,
                "rows": size,
                "available": rows,
                "overlaps_earlier": overlaps,
            }


def test_one_set_fits_where_filtering_leaves_just_its_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    samples, scores, output = tmp_path / "gen.parquet", tmp_path / "scores.parquet", tmp_path / "set.parquet"
    write_samples(samples, make_table(9), {})
    write_scores(scores, samples, [float(i) for i in range(9)])
    filter_stage(samples, output, FilterSettings(drop=0.2, take=8, seed=0), scores=scores)  # a block has 10 rows
    assert read_calibration_set(output).table["sample_id"].to_pylist() == list(range(8))
    assert capsys.readouterr().err == ""
    filter_stage(samples, output, FilterSettings(drop=0.2, take=8, seed=1), scores=scores)
    assert "note: --seed 1: 9 samples give 1 set of 9 without common ones" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"^--take 9: only 8 samples are left"):
        filter_stage(samples, output, FilterSettings(drop=0.2, take=9), scores=scores)


def test_another_programs_file_can_be_filtered(tmp_path: Path) -> None:
    samples, scores, output = tmp_path / "other.parquet", tmp_path / "scores.parquet", tmp_path / "set.parquet"
    pq.write_table(pa.table({"input_ids": pa.array([[1, 2]] * 4, pa.large_list(pa.int64()))}), samples)
    write_scores(scores, samples, [1.0, 4.0, 3.0, 2.0])
    command = ["filter", "--samples", str(samples), "--scores", str(scores), "--drop", "0.5", "--output", str(output)]
    assert main(command) == 0
    assert read_calibration_set(output).table["sample_id"].to_pylist() == [0, 3]


def test_export_is_read_by_json_and_datasets(tmp_path: Path) -> None:
    samples = tmp_path / "set.parquet"
    write_samples(samples, make_table(3), {})
    contents = []
    for name in ("first", "second"):
        assert main(["export", "--calibration", str(samples), "--output", str(tmp_path / name)]) == 0
        contents.append([p.read_bytes() for p in sorted((tmp_path / name).iterdir())])
    assert contents[0] == contents[1]
    rows = [json.loads(line) for line in (tmp_path / "first.jsonl").read_text().splitlines()]
    assert rows == read_calibration_set(samples).table.to_pylist()
    assert load_from_disk(str(tmp_path / "first")).to_list() == rows
