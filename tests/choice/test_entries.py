"""Who races in a study, what their files are called, and what a study may not ask for."""

from typing import Any

import pytest

from calibrant.choice.entries import baseline, entries, reference_name, variant_options
from calibrant.errors import InputError
from calibrant.stages.study_check import check_study
from calibrant.study.choose_section import document_tokens, first_sample, pool_and_block, set_samples
from calibrant.study.config import resolve_config

STUDY: dict[str, Any] = {
    "preset": "tiny",
    "experiment": "sources",
    "study": "race",
    "sources": {"web": {"files": ["web.jsonl"]}, "wiki": {"files": ["wiki.jsonl"]}},
    "texts": {"use": {"files": ["use.jsonl"]}, "tales": {"files": ["tales.jsonl"]}},
    "tasks": {"piqa": {}},
    "grids": [],
}


def study(choose: dict[str, Any], **others: Any) -> dict[str, Any]:
    config = resolve_config({**STUDY, **others, "choose": {"for": {"use": {}}, **choose}})
    check_study(config, "config.yaml")
    return config


def test_every_source_races_real_and_written_and_so_does_ones_own_text() -> None:
    config = study({"target": "2:4"})
    found = entries(config)
    assert list(found) == ["web", "wiki", "web (self-generated)", "wiki (self-generated)", "your own text"]
    assert [found[name].run(config, 3).name for name in ("web", "web (self-generated)", "your own text")] == [
        "web-real-n4-s3/wanda-2of4",
        "web-p4-d0.2-n4-s3/wanda-2of4",
        "own_use-real-n4-s3/wanda-2of4",
    ]
    assert baseline(config).name == "none/magnitude-2of4"


def test_every_combination_of_options_is_a_candidate_of_its_own() -> None:
    options = {"owl.lambda": [0.05, 0.08], "owl.criterion": ["wanda", "sparsegpt"]}
    config = study({"method": "owl", "origins": ["real"], "own": False, "options": options, "target": 0.6})
    found = entries(config)
    assert len(found) == 8
    name = "web (owl.criterion=sparsegpt, owl.lambda=0.08)"
    run = found[name].run(config, 0)
    assert run.name == "web-real-n4-s0/owl-0.6-o4"
    assert variant_options(config, run.variant) == {"owl.lambda": "0.08", "owl.criterion": "sparsegpt"}


def test_the_reference_is_a_candidate_or_a_set_that_exists() -> None:
    config = study({"reference": "wiki"})
    assert reference_name(config, entries(config)) == "wiki"
    config = study({"reference": "sets/today.parquet"})
    name = reference_name(config, entries(config))
    assert name == "today"
    assert entries(config)[name].run(config, 0).calibration.origin == "given"  # type: ignore[union-attr]
    options = {"options": {"owl.m": [5, 6]}, "method": "owl", "reference": "wiki"}
    config = study(options)
    assert reference_name(config, entries(config)) == "wiki (owl.m=5)"


def test_a_half_is_read_from_twenty_documents_at_least() -> None:
    assert document_tokens(study({"tokens": 4000})) == 200
    assert document_tokens(study({"tokens": 200})) == 16


def test_the_model_writes_for_the_first_round_and_then_for_one_set_at_a_time() -> None:
    config = study({})
    assert set_samples(config) == 5  # of which 4 are left
    assert [pool_and_block(config, number) for number in range(5)] == [(0, 0), (0, 1), (1, 0), (2, 0), (3, 0)]
    assert [first_sample(config, pool) for pool in range(4)] == [0, 10, 15, 20]


@pytest.mark.parametrize(
    ("choose", "others", "said"),
    [
        ({"for": {"usee": {}}}, {}, "choose.for has usee, which is no text or task of this study (did you mean use?)"),
        ({"guard": ["use"]}, {}, "choose.guard has use, which judges already"),
        ({"guard": ["story"]}, {}, "choose.guard has story"),
        ({"method": "magnitude"}, {}, "choose.method is magnitude, which reads no text"),
        ({"target": "1.5"}, {}, "choose.target"),
        ({"target": "w4"}, {}, "choose: method wanda: prunes, and w4 gives no sparsity"),
        ({"method": "rtn", "target": "w4"}, {}, "choose.method is rtn, which reads no text"),
        ({"budget": [8, 8]}, {}, "choose.budget is [8, 8]: it must grow"),
        ({"budget": [2]}, {}, "choose.budget.0"),
        ({"budget": [8]}, {}, "choose.budget is [8]: too small for 5 candidates, of which each needs 2 sets"),
        ({"reference": "books"}, {}, "choose.reference is books, which is no candidate; there are web, wiki"),
        ({"options": {"owl.lambda": ["0.05"]}}, {}, "choose.options: option owl.lambda"),
        ({"options": {"owl.lambda": ["much"]}, "method": "owl"}, {}, "choose.options: option owl.lambda=much"),
        ({}, {"calibration": {"sets": "pool"}}, "calibration.sets is pool: a race takes sets that are blocks"),
        ({}, {"generation": {"end_of_text": "stop"}}, "generation.end_of_text is stop"),
        ({}, {"sources": {"reference": {"files": ["x"]}}}, "sources.reference: in a study that chooses"),
    ],
)
def test_what_no_race_can_do_is_refused(choose: dict[str, Any], others: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as error:
        study(choose, **others)
    assert said in str(error.value)
    assert str(error.value).startswith("config.yaml: ")


def test_a_presets_race_is_of_its_own_texts() -> None:
    own: dict[str, Any] = {"preset": "smollm2-135m", "experiment": "sources"}
    assert resolve_config(own)["choose"]["for"] == {"fiction": {"weight": 1}}
    for other in ("texts", "sources", "grids"):
        assert "choose" not in resolve_config({**own, other: STUDY[other], "tasks": {}})
    assert "choose" not in resolve_config({**own, "compat": "authors"})
    assert "choose" not in resolve_config({**own, "preset": "small"})
