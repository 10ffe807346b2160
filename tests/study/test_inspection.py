"""Which masks a study looks into, and what is held out from them."""

from typing import Any

import pytest

from calibrant.errors import InputError
from calibrant.study.config import resolve_config
from calibrant.study.grid import SetKey, calibration_sets
from calibrant.study.inspected_masks import compared, heldout_set, inspections
from calibrant.study.report_index import study_index
from calibrant.study.report_inputs import report_files

FILES: dict[str, Any] = {"archive": {"file": "x.zip", "sha256": "0" * 64, "member": "x"}}
GRIDS = [{"methods": ["dense"]}, {"methods": ["magnitude", "wanda", "dsnot"], "targets": ["0.6", "2:4"]}]


def study(**changes: Any) -> dict[str, Any]:
    sources = dict.fromkeys(("web", "news", "speech"), FILES)
    base = {"preset": "smollm2-135m", "experiment": "sources", "sources": sources, "grids": GRIDS, "seeds": 2}
    return resolve_config({**base, **changes})


def test_the_first_method_and_target_of_every_text() -> None:
    found = inspections(study())
    assert [i.run.name for i in found] == [
        f"{source}-{middle}-n8-s0/wanda-0.6" for source in ("web", "news", "speech") for middle in ("real", "p4-d0.2")
    ]
    assert [i.heldout.name if i.heldout else "" for i in found] == [
        i.run.name.split("/")[0].replace("-s0", "-s1") for i in found
    ]


def test_what_is_asked_for_is_looked_into() -> None:
    chosen = {"method": "dsnot", "target": "2:4", "seed": 1, "origins": ["synthetic"]}
    found = inspections(study(inspect=chosen))
    assert {i.run.name for i in found} == {f"{s}-p4-d0.2-n8-s1/dsnot-2of4" for s in ("web", "news", "speech")}
    assert {i.heldout.seed for i in found if i.heldout} == {0}
    target_only = inspections(study(inspect={"target": 0.60}))
    assert {(i.run.method, i.run.target) for i in target_only} == {("wanda", "0.6")}


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"method": "owl"}, "inspect.method is 'owl'; the study's masks that are made on text have wanda, dsnot"),
        ({"method": "magnitude"}, "inspect.method is 'magnitude'"),
        ({"target": "0.7"}, "inspect.target is '0.7'; the study's masks that are made on text have 0.6, 2:4"),
        ({"seed": 7}, "inspect.seed is 7; the study's masks that are made on text have 0, 1"),
        ({"target": "dense"}, "inspect.target: dense: neither a number nor N:M"),
    ],
)
def test_masks_that_the_study_has_not(chosen: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        inspections(study(inspect=chosen))


@pytest.mark.parametrize(
    "changes", [{"inspect": {"sequences": 0}}, {"grids": [{"methods": ["dense", "magnitude"], "targets": ["0.5"]}]}]
)
def test_nothing_to_look_into(changes: dict[str, Any]) -> None:
    config = study(**changes)
    assert inspections(config) == []
    assert report_files(config)["inspections"] == report_files(config)["overlap"] == []
    assert "inspections" not in study_index(config, {})


def test_results_of_a_width_alone_are_looked_into_but_have_no_pruned_positions_to_compare() -> None:
    found = study(grids=[{"methods": ["gptq"], "targets": ["w4g64"]}])
    assert {each.run.target for each in inspections(found)} == {"w4g64"}
    assert compared(found) == report_files(found)["overlap"] == []
    both = study(grids=[{"methods": ["sparsegpt"], "targets": ["2:4+w4g64"]}])
    assert {run.target for run in compared(both)} == {"2:4+w4g64"}


def test_with_one_seed_the_next_source_is_held_out() -> None:
    config = study(seeds=1)
    sets = calibration_sets(config)
    for origin in ("real", "synthetic"):
        names = [key for key in sets if key.origin == origin]
        assert [heldout_set(key, sets) for key in names] == [*names[1:], names[0]]
    assert {run.calibration.seed for run in compared(config) if run.calibration} == {0}
    assert len(compared(config)) == 6


def test_a_set_alone_has_nothing_held_out() -> None:
    key = SetKey("web", "real", 8, 0)
    assert heldout_set(key, [key, SetKey("web", "synthetic", 8, 0, 4, 0.2), SetKey("web", "real", 16, 1)]) is None


def test_seeds_and_sources_are_compared() -> None:
    config = study()
    names = {run.name for run in compared(config)}
    assert names == {
        f"{s}-{m}-n8-s{k}/wanda-0.6" for s in config["sources"] for m in ("real", "p4-d0.2") for k in (0, 1)
    }


def test_the_index_names_the_files_that_the_report_needs() -> None:
    config = study()
    index, needed = study_index(config, {}), report_files(config)
    assert [entry["path"] for entry in index["inspections"]["layers"]] == needed["inspections"]
    assert [index["inspections"]["overlap"]["path"]] == needed["overlap"]
    assert {mask["name"] for mask in index["inspections"]["overlap"]["masks"]} == {r.name for r in compared(config)}
