"""Configurations: what is merged, what is refused, and in which words."""

import contextlib
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from calibrant.errors import InputError
from calibrant.pruning.methods.composition import METHODS, options_of
from calibrant.settings.method_targets import check_target
from calibrant.settings.target import parse_target
from calibrant.study.config import resolve_config
from calibrant.study.config_schema import config_schema
from calibrant.study.grid import runs
from calibrant.study.study_file import load_config
from calibrant.study.target_text import normal_target
from calibrant.study.yaml_mappings import merge

BASE: dict[str, Any] = {"preset": "smollm2-135m", "experiment": "sources"}


def config(**changes: Any) -> dict[str, Any]:
    return {**BASE, **changes}


def test_the_schema_knows_the_options_that_methods_have() -> None:
    """It stands apart from them, since reading a configuration must not take PyTorch's import."""
    methods = {}
    for name in METHODS:
        for target in map(parse_target, ("0.5", "2:4", "w4g64", "2:4+w4")):
            with contextlib.suppress(InputError):  # none of this method's
                check_target(name, target)
                methods |= {option.name: option for option in options_of(name, target)}
    known = config_schema()["properties"]["pruning"]["properties"]["options"]["properties"]
    assert set(known) == set(methods)
    for name, option in methods.items():
        if option.choices and not isinstance(option.default, bool):
            assert set(option.choices) <= set(known[name]["enum"])  # `unreached` has those of both kinds of targets
        else:
            assert known[name].get("minimum") == option.low


@pytest.mark.parametrize("tasks", [{"piqa": {}}, {"mmlu_anatomy": {"hub": True}}, {"lambada_openai": {}}])
def test_tasks_of_lm_eval_are_accepted(tasks: dict[str, Any]) -> None:
    assert set(tasks) <= set(resolve_config(config(tasks=tasks))["tasks"])


def test_default_study_is_valid_and_complete() -> None:
    resolved = resolve_config(BASE)
    assert resolved["study"] == "smollm2-135m"
    assert resolved["generation"]["temperature"] == 0.6
    assert resolved["filter"]["drop"] == 0.2
    assert {r.method for r in runs(resolved)} >= {"dense", "magnitude", "wanda"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"generaton": {}}, ["unknown key generaton", "did you mean generation?"]),
        ({"generation": {"top_kk": 3}}, ["unknown key generation.top_kk", "top_k", "allowed here"]),
        ({"generation": {"top_p": 1.5}}, ["generation.top_p is 1.5", "at most 1"]),
        ({"generation": {"end_of_text": "never"}}, ["generation.end_of_text", "'never'", "suppress, stop"]),
        ({"calibration": {"samples": 0}}, ["calibration.samples is 0", "at least 1"]),
        ({"calibration": {"samples": "many"}}, ["calibration.samples is 'many'", "integer"]),
        ({"filter": {"drop": 1}}, ["filter.drop is 1", "less than 1"]),
        ({"tasks": {"piqqa": {}}}, ["tasks.piqqa is no task of lm-eval", "did you mean piqa?", "files"]),
        ({"pruning": {"options": {"dsnot.scop": "all"}}}, ["pruning.options.dsnot.scop", "did you mean dsnot.scope?"]),
        ({"pruning": {"options": {"sequential": "each"}}}, ["pruning.options.sequential is 'each'", "layer, sublayer"]),
        ({"pruning": {"options": {"owl.lambda": -1}}}, ["pruning.options.owl.lambda is -1", "at least 0"]),
        ({"preset": "smolm"}, ["preset is 'smolm'", "smollm2-135m"]),
        ({"experiment": "nothing"}, ["experiment is 'nothing'", "sources"]),
        ({"grids": [{"methods": ["wandaa"], "targets": ["0.6"]}]}, ["grids.0.methods.0", "did you mean wanda?"]),
        ({"grids": [{"methods": ["wanda"], "targets": ["0.6"], "sources": ["c4"]}]}, ["'c4'", "its sources: "]),
        ({"model": {"hub": "a/b", "path": "c"}}, ["model has hub and path", "exactly one"]),
        ({"sources": {"mine": {"text_key": "text"}}}, ["sources.mine has none of them", "archive, files, hub"]),
        ({"sources": {"Mine": {"files": ["a"]}}}, ["Mine"]),
        ({"tasks": {"next_sentence_x": {"kind": "next_sentence", "source": "x"}}}, ["tasks.next_sentence_x.source"]),
    ],
)
def test_mistakes_name_key_value_and_what_is_allowed(changes: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        resolve_config(config(**changes), "my.yaml")
    message = str(caught.value)
    assert message.startswith("my.yaml: ")
    for word in words:
        assert word in message


def test_own_sources_replace_the_presets_and_the_tasks_built_from_them() -> None:
    resolved = resolve_config(config(sources={"mine": {"files": ["a.jsonl"]}}))
    assert list(resolved["sources"]) == ["mine"]
    assert resolved["tasks"] == {}


def test_a_task_for_every_source() -> None:
    tasks = {"next_sentence": {"kind": "next_sentence", "source": "all", "items": 9}}
    resolved = resolve_config(config(sources={"mine": {"files": ["a"]}, "ours": {"files": ["b"]}}, tasks=tasks))
    assert {name: spec["source"] for name, spec in resolved["tasks"].items()} == {
        "next_sentence_mine": "mine",
        "next_sentence_ours": "ours",
    }


def test_a_setting_is_merged_not_replaced() -> None:
    resolved = resolve_config(config(generation={"top_k": 10}))
    assert resolved["generation"]["top_k"] == 10
    assert resolved["generation"]["repetition_penalty"] == 1.2


def test_files_that_cannot_be_read(tmp_path: Any) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_config(tmp_path / "absent.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [1")
    with pytest.raises(InputError, match="cannot be read as YAML"):
        load_config(broken)
    broken.write_text("- a\n- b")
    with pytest.raises(InputError, match="not a mapping"):
        load_config(broken)


@pytest.mark.parametrize(
    ("value", "text"), [("0.60", "0.6"), (0.5, "0.5"), ("2:4", "2:4"), ("w04g064", "w4g64"), (".5+w4", "0.5+w4")]
)
def test_targets_have_one_spelling(value: Any, text: str) -> None:
    assert normal_target(value) == text


@pytest.mark.parametrize("value", ["1.2", "0", "-0.1", "5:4", "4:4", "0:4", "half", "1", "nan", "w4:4", "4bits"])
def test_impossible_targets_are_refused(value: str) -> None:
    with pytest.raises(InputError, match=r"0\.6|2:4"):
        normal_target(value)


def test_a_width_that_is_none_is_told_how_one_is_written() -> None:
    with pytest.raises(InputError, match=r"^grids\.0\.targets: int4: neither .* a width is written w4, or w4g64"):
        normal_target("int4", "grids.0.targets")
    with pytest.raises(InputError, match=r"^target: bits 9: must be 2 to 8$"):
        normal_target("w9")


def test_patterns_without_quotes_are_recognised() -> None:
    for pattern in ("2:4", "4:8", "1:4"):
        (value,) = yaml.safe_load(f"[{pattern}]")
        with pytest.raises(InputError, match=f'target: {value}: .* if {pattern} was meant, write "{pattern}"'):
            normal_target(value)
    with pytest.raises(InputError, match=r"such as 2:4$"):
        normal_target(50)


def test_every_run_is_made_once_and_has_its_own_name() -> None:
    grid = {"methods": ["wanda"], "targets": ["0.6"], "origins": ["real", "synthetic"], "seeds": 2}
    resolved = resolve_config(config(grids=[grid, {**grid, "targets": ["0.60", "2:4"]}]))
    found = runs(resolved)
    sources = len(resolved["sources"])
    assert len(found) == sources * 2 * 2 * 2
    assert len({run.name for run in found}) == len(found)


def test_a_grid_may_take_the_first_sources_whatever_their_names() -> None:
    grid = {"methods": ["wanda"], "targets": ["0.6"], "sources": 2, "origins": ["real"], "seeds": 1}
    found = runs(resolve_config(config(grids=[grid])))
    assert [run.calibration.source for run in found if run.calibration] == ["web", "wikipedia"]
    with pytest.raises(InputError, match=r"grids.0.sources is 2; the study has 1: give at most that"):
        resolve_config(config(grids=[grid], sources={"mine": {"files": ["a"]}}))


def test_a_method_without_target_is_refused() -> None:
    with pytest.raises(InputError, match="lacks the key targets"):
        runs(resolve_config(config(grids=[{"methods": ["wanda"]}])))


WIDTHS = {"methods": ["rtn", "gptq"], "targets": ["w4g64", "w3"], "origins": ["real"], "sources": ["web"], "seeds": 1}


def test_widths_and_sparsities_in_one_study() -> None:
    both = {**WIDTHS, "methods": ["sparsegpt"], "targets": ["2:4+w4g64", "0.5"]}
    found = runs(resolve_config(config(grids=[{"methods": ["dense"]}, WIDTHS, both])))
    assert [run.name for run in found] == [
        "none/dense-0",
        "none/rtn-w4g64",
        "none/rtn-w3",
        "web-real-n8-s0/gptq-w4g64",
        "web-real-n8-s0/gptq-w3",
        "web-real-n8-s0/sparsegpt-2of4+w4g64",
        "web-real-n8-s0/sparsegpt-0.5",
    ]


@pytest.mark.parametrize(
    ("methods", "targets", "said"),
    [
        (["gptq"], ["w4", "0.5"], "grids.1 at target 0.5: method gptq: quantizes, and 0.5 gives no width"),
        (["magnitude", "wanda"], ["w4"], "grids.1 at target w4: method magnitude: prunes, and w4 gives no sparsity"),
        (["sparsegpt", "owl"], ["0.5+w4"], "grids.1 at target 0.5+w4: method owl: does not quantize"),
        (["awq"], ["2:4+w4"], "grids.1 at target 2:4+w4: method awq: prunes nothing"),
    ],
)
def test_a_target_that_is_not_a_methods_names_grid_method_and_target(
    methods: list[str], targets: list[str], said: str
) -> None:
    grids = [{"methods": ["dense"]}, {"methods": methods, "targets": targets}]
    with pytest.raises(InputError) as caught:
        runs(resolve_config(config(grids=grids)))
    assert str(caught.value).startswith(said)
    assert str(caught.value).endswith("give others a grid of their own")


def test_older_names_of_targets_mean_the_same() -> None:
    grid = {"methods": ["wanda"], "origins": ["real"]}
    older = {"grids": [{**grid, "sparsities": ["0.5", "2:4"]}], "inspect": {"sparsity": "2:4"}}
    present = {"grids": [{**grid, "targets": ["0.5", "2:4"]}], "inspect": {"target": "2:4"}}
    assert resolve_config(config(**older)) == resolve_config(config(**present))
    chosen = {"for": {"fiction": {}}, "budget": [20]}
    found = [resolve_config(config(choose={**chosen, key: "0.60"})) for key in ("sparsity", "target")]
    assert found[0] == found[1]
    assert found[0]["choose"]["target"] == "0.6"
    axes = [resolve_config(config(experiment="table3", axes={key: ["0.5"]})) for key in ("sparsities", "targets")]
    assert axes[0] == axes[1]
    assert {tuple(grid.get("targets", ())) for grid in axes[0]["grids"]} == {(), ("0.5",)}


def test_a_key_under_both_names_is_refused() -> None:
    grid = {"methods": ["wanda"], "targets": ["0.5"], "sparsities": ["0.6"]}
    with pytest.raises(InputError, match=r"^my.yaml: grids.0 has targets and sparsities, which are two names"):
        resolve_config(config(grids=[grid]), "my.yaml")
    with pytest.raises(InputError, match=r"^my.yaml: inspect has target and sparsity"):
        resolve_config(config(inspect={"target": "0.5", "sparsity": "0.5"}), "my.yaml")


trees = st.recursive(
    st.integers(), lambda inner: st.dictionaries(st.sampled_from("abcd"), inner, max_size=3), max_leaves=8
).filter(lambda value: isinstance(value, dict))


@given(trees, trees)
def test_merging_keeps_all_of_the_higher_layer(low: dict[str, Any], high: dict[str, Any]) -> None:
    def contained(part: Any, whole: Any) -> bool:
        if isinstance(part, dict):
            return isinstance(whole, dict) and all(k in whole and contained(v, whole[k]) for k, v in part.items())
        return bool(part == whole)

    merged = merge(low, high)
    assert contained(high, merged)
    assert set(merged) == set(low) | set(high)
