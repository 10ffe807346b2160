"""The paper's published numbers: complete, consistent with themselves, and with the text of the paper where it lies."""

import re
from itertools import pairwise

import polars as pl
import pytest
from support import ROOT

from calibrant.reporting.results.published import published_tables as published

PAPER = ROOT.parent / "shared" / "paper" / "beware-of-calibration-data.md"
TASKS = ["boolq", "winogrande", "piqa", "hellaswag", "arc_easy", "arc_challenge", "mmlu"]
KEYS = ["table", "method", "source", "origin"]
MODELS = {
    "1": "apple/DCLM-7B",
    "2": "apple/DCLM-7B",
    "5": "meta-llama/Llama-2-7b-hf",
    "6": "meta-llama/Llama-2-13b-hf",
    "7": "meta-llama/Meta-Llama-3-8B",
}

# Averages that are not the rounded mean of the seven published cells; (table, method, source, origin): last digit.
# Averaging before rounding explains each: the cells of a row can move the mean by half a digit, its own rounding by
# another half. None is further off, so none is a typo or damage.
ONE_DIGIT_OFF = {
    ("2", "wanda", "c4", "synthetic"): -1,
    ("2", "owl", "wikipedia", "synthetic"): -1,
    ("2", "owl", "slimpajama", "synthetic"): 1,
    ("2", "owl", "dclm", "synthetic"): -1,
    ("5", "dsnot", "slimpajama", "synthetic"): 1,
    ("5", "owl", "c4", "real"): 1,
    ("6", "dsnot", "c4", "real"): -1,
    ("6", "dsnot", None, "synthetic"): -1,
    ("7", None, "slimpajama", "real"): -1,
}


def averages() -> pl.DataFrame:
    """Published average and mean of the seven cells, by row of a table."""
    frame = published.tables().filter(pl.col("table") != "1")
    cells = frame.filter(pl.col("metric").is_null()).group_by(KEYS).agg(pl.col("mean").mean().alias("recomputed"))
    stated = frame.filter(pl.col("task") == "average").select(*KEYS, pl.col("mean").alias("stated"))
    return stated.join(cells, on=KEYS, nulls_equal=True, validate="1:1")


@pytest.mark.parametrize(
    ("table", "rows", "cells"), [("1", 12, 1), ("2", 24, 9), ("5", 24, 9), ("6", 15, 9), ("7", 5, 8)]
)
def test_every_row_and_column_is_there(table: str, rows: int, cells: int) -> None:
    frame = published.tables().filter((pl.col("table") == table) & (pl.col("task") != "change"))
    assert frame.select(KEYS).unique().height == rows
    assert frame.group_by(KEYS).len()["len"].to_list() == [cells] * rows
    assert frame.select(*KEYS, "task", "metric").is_duplicated().sum() == 0
    assert frame["model"].unique().to_list() == [MODELS[table]]
    assert frame["mean"].null_count() == 0
    assert frame["sd"].null_count() == (0 if table == "1" else frame.height)


def test_tasks_are_those_of_the_library() -> None:
    accuracies = published.tables().filter(pl.col("metric").is_null())
    assert accuracies["task"].unique(maintain_order=True).to_list() == TASKS
    assert accuracies["mean"].is_between(20, 85).all()


def test_averages_follow_from_the_cells() -> None:
    frame = averages()
    assert frame.height == 68
    off = {}
    for *key, stated, recomputed in frame.iter_rows():
        assert abs(stated - recomputed) <= 0.01, key  # what rounding alone can do
        if digit := round(100 * (stated - round(recomputed + 1e-9, 2))):
            off[tuple(key)] = digit
    assert off == ONE_DIGIT_OFF


@pytest.mark.parametrize("table", ["2", "5"])
def test_changes_follow_from_the_averages(table: str) -> None:
    frame = published.tables().filter((pl.col("table") == table) & (pl.col("metric") == "mean"))
    wide = frame.with_columns(pl.concat_str("task", pl.lit("-"), "origin").alias("what"))
    wide = wide.pivot("what", index=["method", "source"], values="mean")
    assert wide.height == 12
    recomputed = wide["average-synthetic"] - wide["average-real"]
    assert wide["change-synthetic"].to_list() == pytest.approx(recomputed.to_list(), abs=1e-9)
    assert "change-real" not in wide.columns


def test_what_the_text_says_follows_from_the_tables() -> None:
    """Where prose and table speak of the same runs; the prose's roundings, and one range that is too narrow."""
    stated = {row["id"]: (row["low"], row["high"]) for row in published.numbers().iter_rows(named=True)}
    table1 = published.tables().filter(pl.col("table") == "1").pivot("source", index="method", values="mean")
    behind = table1["dclm"] - table1["wikipedia"]
    low, high = stated["wikipedia_behind_dclm"]
    assert (low, high) == (1.3, 1.8)
    assert (behind.min(), behind.max()) == pytest.approx((low, high), abs=0.08)
    changes = published.tables().filter((pl.col("table") == "2") & (pl.col("task") == "change"))
    by_source = {s: changes.filter(pl.col("source") == s)["mean"].to_list() for s in changes["source"].unique()}
    assert max(by_source["wikipedia"]) == stated["largest_gain"][1] == 2.68
    assert stated["gain_wikipedia"] == (2.2, 2.6)  # the table reaches 2.68
    assert min(by_source["wikipedia"]) == pytest.approx(2.2, abs=0.05)
    others = by_source["c4"] + by_source["slimpajama"]
    assert (min(others), max(others)) == pytest.approx(stated["gain_c4_slimpajama"], abs=0.08)
    assert (min(by_source["dclm"]), max(by_source["dclm"])) == pytest.approx(stated["gain_over_training"], abs=0.08)
    means = published.tables().filter(
        (pl.col("table") == "2")
        & (pl.col("task") == "average")
        & (pl.col("origin") == "real")
        & (pl.col("method") == "wanda")
    )["mean"]
    assert max(means) - min(means) == pytest.approx(stated["spread_60"][0], abs=0.051)


def test_published_numbers_stand_only_beside_their_model() -> None:
    assert set(published.published_for("apple/DCLM-7B")["table"]) == {"1", "2"}
    assert set(published.published_for("meta-llama/Llama-2-7b-hf")["table"]) == {"5"}
    assert set(published.published_for("meta-llama/llama-2-13b-hf")["table"]) == {"6"}
    assert set(published.published_for("meta-llama/Llama-3-8B")["table"]) == {"7"}
    for other in ("SmolLM2-135M-Instruct", "meta-llama/Llama-2-70b-hf", "./Llama-2-7b-hf", "DCLM-7B-gguf", ""):
        assert published.published_for(other).is_empty()


def test_what_is_missing_is_listed_and_empty() -> None:
    assert [(table, cell) for table, cell, _ in published.damaged()] == [
        ("2", "Pretrain of C4 and SlimPajama"),
        ("6", "source of Syn"),
        ("7", "method"),
        ("7", "source of Syn"),
    ]
    frame = published.tables()
    assert frame.filter(pl.col("table") == "7")["method"].null_count() == 40
    unknown = frame.filter(pl.col("source").is_null())
    assert set(unknown["origin"]) == {"synthetic"}
    assert set(unknown["table"]) == {"6", "7"}


@pytest.fixture(scope="module")
def paper() -> str:
    if not PAPER.exists():
        pytest.skip("the text of the paper is not beside the repository (../shared/paper)")
    return PAPER.read_text(encoding="utf-8")


def test_every_number_of_the_wide_tables_stands_in_the_paper_in_this_order(paper: str) -> None:
    """Each row's cells, as printed, stand side by side in the paper; rows follow each other within a table."""
    rows = published.tables().filter((pl.col("task") != "change") & (pl.col("table") != "1"))
    plain = re.sub(r"[ \t]+", " ", paper)
    places: dict[str, list[int]] = {}
    for key, group in rows.group_by(KEYS, maintain_order=True):
        printed = " ".join(f"{value:.2f}" for value in group["mean"])
        assert plain.count(printed) == 1, key
        places.setdefault(str(key[0]), []).append(plain.index(printed))
    for positions in places.values():
        assert all(a < b for a, b in pairwise(positions))


def test_first_table_and_changes_stand_in_the_paper(paper: str) -> None:
    for mean, sd in published.tables().filter(pl.col("table") == "1").select("mean", "sd").iter_rows():
        assert f"{mean:.2f}_{{{sd:.2f}}}" in paper.replace(" ", "")
    printed = [f"{float(x):.2f}" for x in re.findall(r"\$\+(\d\.\d\d)\$", paper)]
    kept = published.tables().filter(pl.col("task") == "change").sort("table", maintain_order=True)
    assert sorted(printed) == sorted(f"{x:.2f}" for x in kept["mean"])


@pytest.mark.parametrize(
    ("name", "phrase"),
    [
        ("spread_below_50", r"less than 0.1%"),
        ("spread_60", r"a 0.5% difference at 50% sparsity to 2.3% at 60%"),
        ("spread_structured", r"reaching 1.5% to 1.8%"),
        ("amount_fluctuation", r"fluctuations of only 0.1%-0.2%"),
        ("wikipedia_behind_dclm", r"falling short of DCLM by 1.3% to 1.8%"),
        ("jaccard_c4", r"between C4 and DCLM is 0.070, SlimPajama is 0.016, and Wikipedia is 0.008"),
        ("gain_wikipedia", r"average of 2.2% to 2.6%"),
        ("gain_wikipedia_over_c4", r"average increase of 0.8% to 1.2%"),
        ("gain_c4_slimpajama", r"yields a 0.9-1.5% improvement"),
        ("gain_llama", r"approximately 0.9% to 1.1%"),
        ("gain_llama_over_c4", r"about 0.3% to 0.5%"),
        ("gain_over_training", r"average improvement of 0.3% to 0.7%"),
        ("gain_patterns", r"approximately 0.8% in the two semi-structured"),
        ("best_prefix", r"using 1 to 4 tokens as a"),
        ("best_filter", r"at a filtering rate of 10%-20%"),
    ],
)
def test_numbers_of_the_text_stand_in_the_paper(paper: str, name: str, phrase: str) -> None:
    assert phrase in paper
    row = published.numbers().filter(pl.col("id") == name).row(0, named=True)
    numbers = [float(x) for x in re.findall(r"\d+(?:\.\d+)?", phrase)]
    assert row["high"] in numbers
    assert row["low"] is None or row["low"] in numbers


def test_settings_are_those_of_the_paper(paper: str) -> None:
    given = published.settings()
    assert f"sample {given['samples']} sequences with {given['length']} tokens" in paper
    assert f"the calibration data sampling {given['seeds']} times" in paper
    assert "64, 128, 256, 512, 1024, and 2048 samples" in paper
    assert given["amounts"] == [64, 128, 256, 512, 1024, 2048]
    assert f"the temperature to {given['temperature']}" in paper
