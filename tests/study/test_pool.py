"""Pools that are large enough: against brute force and by hand."""

import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibrant.calibration.perplexity_filter import drop_count
from calibrant.calibration.set_blocks import block
from calibrant.errors import InputError
from calibrant.study.config import resolve_config
from calibrant.study.config_layers import preset_names
from calibrant.study.grid import calibration_sets, full_rows
from calibrant.study.pool import filtered_first
from calibrant.study.row_counts import block_rows, kept, rows_for
from calibrant.study.targets import target_config
from calibrant.study.work import counts, jobs, work

POOL = {"length": 512, "sets": "pool"}
GRID = {"methods": ["wanda"], "targets": ["0.6"], "origins": ["synthetic"], "samples": [8, 32], "drops": [0, 0.29]}


def study(**changes: Any) -> dict[str, Any]:
    given = {"preset": "smollm2-135m", "experiment": "sources", "seeds": 3, "grids": [GRID]}
    return {**given, "calibration": {"length": 512}, "generation": {"samples": "enough"}, **changes}


@given(needed=st.integers(1, 3000), drop=st.sampled_from([0.0, 0.01, 0.2, 0.29, 0.5, 0.97]))
def test_the_smallest_pool_of_which_enough_is_left(needed: int, drop: float) -> None:
    rows = rows_for(needed, drop)
    assert rows - drop_count(drop, rows) >= needed
    assert rows == 1 or (rows - 1) - drop_count(drop, rows - 1) < needed


@given(needed=st.integers(1, 3000), drop=st.sampled_from([0.0, 0.01, 0.2, 0.29, 0.5, 0.97]))
def test_a_block_drops_the_share_that_is_asked_for(needed: int, drop: float) -> None:
    rows = block_rows(needed, drop)
    assert kept(rows, drop) == needed < kept(rows + 1, drop)
    share = Decimal(str(drop))  # 0.29 * 3300 is a hair below 957
    assert share * (rows + 1) - 1 <= rows - needed <= share * rows  # to a row


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=3),
    drops=st.lists(st.sampled_from([0, 0.1, 0.29, 0.5, 0.9]), min_size=1, max_size=3),
    seeds=st.lists(st.integers(1, 6), min_size=1, max_size=2),
    end=st.sampled_from(["suppress", "stop"]),
)
def test_there_are_rows_for_the_blocks_of_all_seeds(
    sizes: list[int], drops: list[float], seeds: list[int], end: str
) -> None:
    grids = [{**GRID, "samples": sizes, "drops": drops, "seeds": count} for count in seeds]
    config = resolve_config(study(grids=grids, generation={"samples": "enough", "end_of_text": end}))
    rows = full_rows(config)
    needed = []
    for key in calibration_sets(config):
        if end == "stop":  # windows of the filtered pool, and a tenth more
            assert kept(rows, key.drop) >= 1.1 * (key.seed + 1) * key.samples
            needed.append(rows_for(math.ceil(1.1 * (key.seed + 1) * key.samples), key.drop))
        else:
            needed.append((key.seed + 1) * block_rows(key.samples, key.drop))
            assert not block(key.seed, block_rows(key.samples, key.drop), rows).overlaps
    assert rows == max(needed)


def test_pools_are_filtered_whole_unless_sets_are_blocks_of_their_rows() -> None:
    for changes, filtered in (
        ({}, False),
        ({"calibration": {"sets": "pool"}}, True),
        ({"generation": {"end_of_text": "stop"}}, True),
        ({"generation": {"retokenise": True}}, True),
    ):
        config = resolve_config({"preset": "smollm2-135m", "experiment": "sources", **changes})
        assert ("filter" in jobs(work([config]))) == filtered_first(config) == filtered


def test_who_draws_from_a_pool() -> None:
    sets = {
        name: resolve_config({"preset": name, "experiment": "sources"})["calibration"]["sets"]
        for name in preset_names()
    }
    blocks = {"smollm2-135m", "small", "tiny"}
    assert sets == {name: "blocks" if name in blocks else "pool" for name in sets}
    authors = resolve_config({"preset": "tiny", "experiment": "sources", "compat": "authors"})
    assert authors["calibration"]["sets"] == "pool"
    default = resolve_config({"preset": "smollm2-135m", "experiment": "sources"})
    assert default["generation"]["samples"] == 2 * 10  # of 10 rows 8 are left


def test_the_sets_of_all_seeds_fit_into_a_pool_side_by_side() -> None:
    config = resolve_config(study(calibration=POOL))
    by_hand = next(n for n in range(1, 1000) if n - drop_count(0.29, n) >= 3 * 32)
    assert (config["generation"]["samples"], config["generation"]["tokens"]) == (by_hand, 0)
    found = counts(work([config]))
    assert found["samples in each pool"] == by_hand
    assert found["tokens to generate"] == found["pools of generated samples"] * by_hand * 512
    for key in calibration_sets(config):
        assert kept(by_hand, key.drop) >= 3 * key.samples


def test_more_seeds_in_one_grid_and_several_grids() -> None:
    grids = [{**GRID, "drops": [0]}, {**GRID, "drops": [0], "samples": [4], "seeds": 5}]
    config = resolve_config(study(grids=grids, calibration=POOL))
    assert config["generation"]["samples"] == 3 * 32 + 2 * 4  # of seeds 3 and 4 there are only the small sets
    assert resolve_config(study(grids=grids))["generation"]["samples"] == 3 * 32  # blocks of 4 lie among those of 32


def test_rows_that_end_early_are_written_until_they_hold_enough_tokens() -> None:
    config = resolve_config(study(generation={"samples": "enough", "end_of_text": "stop"}))
    rows = next(n for n in range(1, 1000) if n - drop_count(0.29, n) >= 106)  # 3 sets of 32 and a tenth more
    assert config["generation"]["tokens"] == rows * 512
    assert config["generation"]["samples"] > 10 * rows
    assert full_rows(config) == rows
    assert counts(work([config]))["samples in each pool"] == rows


def test_a_study_without_generated_text_has_enough_for_a_target() -> None:
    config = resolve_config(study(grids=[{**GRID, "origins": ["real"]}]))
    assert config["generation"]["samples"] == 3 * 10  # 3 seeds of the preset's 8, of which a fifth is dropped
    assert counts(work([target_config(study(grids=[{**GRID, "origins": ["real"]}]), "table2")]))["masks"] > 0
    assert "samples in each pool" not in counts(work([config]))


def test_targets_share_the_studys_pools_and_say_when_these_are_too_small() -> None:
    large = study(grids=[{**GRID, "samples": [500]}])
    own = resolve_config(large)["generation"]["samples"]
    assert target_config(large, "table1")["generation"]["samples"] == own
    assert counts(work([target_config(large, "table2")]))["samples in each pool"] == own
    small = study(grids=[{**GRID, "samples": [1], "seeds": 1, "drops": [0]}])
    with pytest.raises(InputError, match=r"generation\.samples 1, of which"):
        work([target_config(small, "table2")])


def test_what_is_neither_a_number_nor_enough() -> None:
    with pytest.raises(InputError, match=r"samples is .many.; it must be of type integer of at least 1 or enough"):
        resolve_config(study(generation={"samples": "many"}))
    with pytest.raises(InputError, match="drawn from 2 generated samples"):
        work([resolve_config(study(generation={"samples": 5000, "tokens": 1024}))])
