"""When a study compares its sources: where it says what the model was trained on, and for the target that draws it."""

from typing import Any

import pytest

from calibrant.study.config import resolve_config
from calibrant.study.config_layers import preset_names
from calibrant.study.paths import StudyPaths
from calibrant.study.report_index import study_index
from calibrant.study.report_inputs import report_files
from calibrant.study.targets import target_config
from calibrant.study.work import jobs, work

PRESETS = preset_names()


def study(preset: str = "dclm-7b", **changes: Any) -> dict[str, Any]:
    return resolve_config({"preset": preset, "experiment": "sources", **changes})


def planned(config: dict[str, Any]) -> list[str]:
    """The references, after checking that index, inputs of the report and plan agree on them."""
    index, files = study_index(config, {"id": "m"}), report_files(config)["similarity"]
    assert index.get("similarity", []) == files
    assert jobs(work([config])).get("compare sources", 0) == len(files)
    folder = StudyPaths(config["study"]).similarity("*").removesuffix("*.parquet")
    return [file.removeprefix(folder).removesuffix(".parquet") for file in files]


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_plans_it_where_it_says_what_its_model_was_trained_on(preset: str) -> None:
    config = study(preset)
    assert planned(config) == config["trained_on"]


def test_presets_that_say_so() -> None:
    assert {preset for preset in PRESETS if planned(study(preset))} == {"dclm-7b", "tiny"}


def test_only_what_the_model_was_trained_on_is_a_reference_and_each_once() -> None:
    assert planned(study(trained_on=["dclm", "c4", "dclm"])) == ["c4", "dclm"]
    assert planned(study(trained_on=[])) == []
    assert planned(study("smollm2-135m", trained_on=["web"])) == ["web"]


def test_one_source_alone_is_compared_with_nothing() -> None:
    only = {"mine": {"files": ["a.jsonl"]}}
    assert planned(study("tiny", sources=only, trained_on=["mine"])) == []
    given = {"preset": "tiny", "experiment": "sources", "sources": only, "trained_on": ["mine"]}
    assert planned(target_config(given, "similarity")) == []


def test_targets_read_what_their_layout_says() -> None:
    given = {"preset": "dclm-7b", "experiment": "sources"}
    config = target_config(given, "similarity")
    assert planned(config) == list(config["sources"])
    assert planned(target_config(given, "table2")) == []
    together = jobs(work([study(), config, config]))
    assert together["compare sources"] == len(config["sources"]), "the study's own table is one of the target's"
