"""Targets: every table and figure on any preset, compat sets, presets that extend others."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from calibrant.errors import InputError
from calibrant.reporting.pages.layouts import LAYOUTS
from calibrant.reporting.pages.target_page import chosen_layout
from calibrant.reporting.results.index import parse_index
from calibrant.study.config import resolve_config
from calibrant.study.config_layers import along_axes, layer_folder, presets
from calibrant.study.grid import calibration_sets, runs
from calibrant.study.report_index import study_index
from calibrant.study.report_inputs import report_files
from calibrant.study.study_file import load_config, load_preset
from calibrant.study.targets import PAPER, target_config, target_files

MODELS = ["dclm-7b", "llama-2-7b", "llama-2-13b", "llama-3-8b"]
SOURCES = ["c4", "wikipedia", "slimpajama", "dclm"]


def given(preset: str = "dclm-7b", **changes: Any) -> dict[str, Any]:
    return {"preset": preset, "experiment": "sources", **changes}


def methods_and_targets(config: dict[str, Any]) -> set[tuple[str, str]]:
    return {(run.method, run.target) for run in runs(config)}


def test_every_table_and_figure_is_a_target() -> None:
    wanted = [f"table{n}" for n in range(1, 8)] + [f"figure{n}" for n in range(1, 9)] + ["similarity"]
    assert list(target_files()) == wanted


@pytest.mark.parametrize("preset", ["dclm-7b", "smollm2-135m", "small", "tiny"])
def test_every_target_is_valid_on_every_preset_and_its_index_too(preset: str) -> None:
    for target in target_files():
        config = target_config(given(preset), target)
        index = parse_index(study_index(config, {"id": config["model"].get("id", preset)}))
        assert len(index.runs) == len(runs(config))
        assert set(index.layout.parameters if index.layout else {}) <= chosen_layout(index).parameters


@pytest.mark.parametrize("preset", MODELS)
def test_the_papers_settings(preset: str) -> None:
    config = resolve_config(given(preset))
    assert list(config["sources"]) == SOURCES
    assert (config["calibration"]["samples"], config["calibration"]["length"]) == (128, 2048)
    assert (config["seeds"], config["filter"]["drop"], config["generation"]["prefix_length"]) == (20, 0.2, 4)
    chosen = {key: config["generation"][key] for key in ("samples", "top_p", "top_k", "temperature")}
    assert chosen == {"samples": 5000, "top_p": 0.95, "top_k": 50, "temperature": 0.6}
    assert config["generation"]["repetition_penalty"] == 1.2
    tasks = ["boolq", "winogrande", "piqa", "hellaswag", "arc_easy", "arc_challenge", "mmlu"]
    assert list(config["tasks"]) == tasks
    assert config["evaluation"]["fewshot"]["mmlu"] == 5
    assert list(config["texts"]) == ["alpaca"]
    assert "revision" not in config["model"]
    assert config["trained_on"] == (["dclm"] if preset == "dclm-7b" else [])


def test_what_a_model_was_trained_on_is_not_said_of_another_model_or_of_other_sources() -> None:
    assert resolve_config(given(model={"path": "other"}))["trained_on"] == []
    assert resolve_config(given(sources={"mine": {"files": ["a"]}}))["trained_on"] == []
    with pytest.raises(InputError, match="trained_on is 'pile', which is no source"):
        resolve_config(given(trained_on=["pile"]))


def test_what_each_target_runs_on_the_papers_preset() -> None:
    """Counted by hand from the paper's tables and figures: methods × sparsities × kinds of text × 20 seeds."""
    three, sources, seeds, ratios = 3, 4, 20, 6
    expected = {
        "table1": three * sources * seeds + 1,
        "table2": three * sources * 2 * seeds + 1,
        "table3": 4 * (sources + 1) * seeds + 1,
        "table4": (6 + 1) * seeds + 1,
        "table5": three * sources * 2 * seeds + 1,
        "table6": three * (sources + 1) * seeds + 1,
        "table7": (sources + 1) * seeds + 1,
        "figure1": 2 * three * sources * seeds + 2 + 1,
        **{f"figure{n}": ratios * sources * seeds + ratios + 1 for n in (2, 6, 7, 8)},
        "figure3": 2 * 6 * sources * seeds + 1,
        "figure4": (12 + 1) * seeds + 1,
        "figure5": 0,
        "similarity": 0,
    }
    assert {t: len(runs(target_config(given(), t))) for t in target_files()} == expected
    assert len(calibration_sets(target_config(given(), "figure5"))) == (sources + 1) * seeds


def test_targets_share_every_run_that_two_of_them_ask_for() -> None:
    table2, table6, table7 = (set(runs(target_config(given(), t))) for t in ("table2", "table6", "table7"))
    assert table7 < table6 < table2
    assert set(runs(target_config(given(), "table1"))) < set(runs(target_config(given(), "figure1")))
    files = [report_files(target_config(given(), t))["evaluations"] for t in ("table2", "table6")]
    assert set(files[1]) < set(files[0])


@pytest.mark.parametrize("compat", ["paper", "authors"])
def test_the_page_of_all_targets_has_the_runs_of_each_once(compat: str) -> None:
    together = target_config(given(compat=compat), PAPER)
    each = [run for t in target_files() for run in runs(target_config(given(compat=compat), t))]
    assert set(runs(together)) == set(each)
    assert len(runs(together)) < len(each)
    index = parse_index(study_index(together, {"id": "m"}))
    assert [target.name for target in index.targets] == list(target_files())
    assert len(index.runs) == len(set(each))
    samples = next(value for name, value in index.study.settings if name == "Calibration sets")
    assert samples.startswith("64, 128, 256, 512, 1024, 2048 sequences")


def test_only_a_layout_that_reads_scores_has_them_computed() -> None:
    assert report_files(target_config(given(), "table2"))["scores"] == []
    assert len(report_files(target_config(given(), "figure5"))["scores"]) == 4 * 20 + 1
    assert len(report_files(target_config(given(), "similarity"))["similarity"]) == 4
    assert report_files(resolve_config(given("smollm2-135m")))["scores"] != []


def test_the_single_row_of_generated_text_is_of_syn_source() -> None:
    def written(config: dict[str, Any]) -> set[str]:
        return {key.source for key in calibration_sets(config) if key.origin == "synthetic"}

    assert written(target_config(given(), "table6")) == {"wikipedia"}
    assert written(target_config(given(syn_source="c4"), "table6")) == {"c4"}
    own = {"mine": {"files": ["a"]}, "ours": {"files": ["b"]}}
    assert written(target_config(given(sources=own), "table6")) == {"mine"}
    with pytest.raises(InputError, match=r"syn_source is 'c5'.*its sources: c4, wikipedia"):
        resolve_config(given(syn_source="c5"))


def test_a_presets_file_may_stand_for_the_configuration(tmp_path: Path) -> None:
    base = tmp_path / "config.yaml"
    base.write_text("preset: smollm2-135m\nexperiment: sources\n")
    path = layer_folder("preset") / "llama-2-7b.yaml"
    config = load_config(path, base, target="table5")
    assert config == target_config(given("llama-2-7b", extends="dclm-7b"), "table5")
    assert config["study"] == "llama-2-7b"


def test_a_presets_name_is_enough_and_config_yaml_lies_over_it(tmp_path: Path) -> None:
    base = tmp_path / "config.yaml"
    assert load_preset("tiny", base) == resolve_config(given("tiny"))
    assert load_preset("tiny", base, "figure4", {"seeds": 3}) == target_config(given("tiny", seeds=3), "figure4")
    base.write_text("preset: smollm2-135m\nexperiment: table3\nseeds: 5\n")
    assert load_preset("tiny", base) == resolve_config({"preset": "tiny", "experiment": "table3", "seeds": 5})
    with pytest.raises(InputError, match=r"^preset tinny: preset is 'tinny' \(did you mean tiny\?\)"):
        load_preset("tinny", tmp_path / "absent.yaml")


def test_presets_call_themselves_by_their_files_name() -> None:
    for path in layer_folder("preset").glob("*.yaml"):
        assert yaml.safe_load(path.read_text())["preset"] == path.stem


def test_gated_models_name_their_licence_page_and_the_token() -> None:
    for preset in MODELS[1:]:
        text = (layer_folder("preset") / f"{preset}.yaml").read_text()
        hub = presets(preset, "test")["model"]["hub"]
        assert f"https://huggingface.co/{hub}" in text
        assert "HF_TOKEN" in text


def test_axes_take_the_place_of_lists_and_of_nothing_else() -> None:
    grids = [{"methods": ["wanda"], "targets": ["0.6"], "samples": [64, 128]}, {"methods": ["dense"]}]
    found = along_axes(grids, {"samples": [2], "targets": ["0.5"], "drops": [0.1]})
    assert found == [{"methods": ["wanda"], "targets": ["0.6"], "samples": [2]}, {"methods": ["dense"]}]
    small = target_config(given("small"), "figure3")
    assert sorted({key.samples for key in calibration_sets(small)}) == [2, 4, 8, 16]
    own = {"methods": ["wanda"], "targets": ["0.6"], "samples": [3, 5]}
    assert {key.samples for key in calibration_sets(resolve_config(given("small", grids=[own])))} == {3, 5}


def test_what_cannot_be_drawn_is_refused_before_anything_runs() -> None:
    def grid(**keys: Any) -> list[dict[str, Any]]:
        return [{"methods": ["wanda"], "targets": ["0.6"], **keys}]

    with pytest.raises(InputError, match=r"grids\.0: prefix_lengths has 2048, but .* 2048 includes its prefix"):
        runs(resolve_config(given(grids=grid(prefix_lengths=[2048]))))
    new = {"length_means": "new"}
    assert runs(resolve_config(given(grids=grid(prefix_lengths=[2048]), generation=new)))
    with pytest.raises(InputError, match=r"a set of 4001 is drawn from 4000 generated samples"):
        runs(resolve_config(given(grids=grid(samples=[4001]))))
    assert runs(resolve_config(given(grids=grid(samples=[4000]))))
    assert runs(resolve_config(given(grids=grid(samples=[4001], origins=["real"]))))


AUTHORS = {
    ("calibration", "packing"): "document",
    ("calibration", "packing_of"): {"wikipedia": "stream"},
    ("generation", "length_means"): "new",
    ("generation", "end_of_text"): "stop",
    ("generation", "retokenise"): True,
    ("generation", "bos"): "always",
    ("generation", "prefix_length"): 1,
    ("scoring", "span"): "whole",
    ("evaluation", "text_average"): "document",
}


def test_compat_authors_switches_every_documented_difference() -> None:
    paper, authors = resolve_config(given()), resolve_config(given(compat="authors"))
    for (section, key), value in AUTHORS.items():
        assert authors[section][key] == value
        assert paper[section][key] != value
    assert list(authors["tasks"])[-1] == "mmlu_flan_n_shot_loglikelihood"
    assert authors["evaluation"]["fewshot"]["mmlu_flan_n_shot_loglikelihood"] == 0
    assert (paper["texts"]["alpaca"]["hub"], authors["texts"]["alpaca"]["hub"]) == (
        "tatsu-lab/alpaca",
        "vicgalle/alpaca-gpt4",
    )
    assert authors["texts"]["alpaca"]["max_documents"] == 10_000
    assert authors["pruning"]["options"] == {"dsnot.scope": "all"}
    assert resolve_config(given("llama-2-7b", compat="authors"))["pruning"]["options"] == {}
    seeds = {t: target_config(given(compat="authors"), t)["seeds"] for t in ("table1", "figure2", "table2", "figure3")}
    assert seeds == {"table1": 20, "figure2": 20, "table2": 5, "figure3": 5}


@pytest.mark.parametrize("preset", ["llama-2-7b", "llama-2-13b", "llama-2-70b", "llama-3-8b", "llama-3.1-405b"])
@pytest.mark.parametrize("compat", ["paper", "authors"])
def test_presets_of_llamas_follow_published_codes_in_what_texts_begin_with(preset: str, compat: str) -> None:
    """Windows without the token, self-generation with it; documents of Llama 2 joined as these sets always were."""
    config = resolve_config(given(preset, compat=compat))
    starts = {key: config[key]["bos"] for key in ("calibration", "scoring", "evaluation", "generation")}
    assert starts == {"calibration": "never", "scoring": "never", "evaluation": "never", "generation": "always"}
    assert config["calibration"]["joining"] == ("tokens" if "llama-2" in preset else "text")
    shown = {s["name"]: s["value"] for s in study_index(config, {"id": "m"})["study"]["settings"]}
    assert shown["Beginning-of-text token"].startswith("calibration never, generation always")


def test_what_a_text_begins_with_is_one_setting() -> None:
    for preset in ("smollm2-135m", "dclm-7b"):
        config = resolve_config(given(preset))
        assert {config[key]["bos"] for key in ("calibration", "scoring", "evaluation", "generation")} == {"auto"}
        shown = {s["name"] for s in study_index(config, {"id": "m"})["study"]["settings"]}
        assert "Beginning-of-text token" not in shown
    with pytest.raises(InputError, match=r"generation\.bos_in_prefix is no key any more; use generation\.bos: always"):
        resolve_config(given(generation={"bos_in_prefix": True}))
    grid = [{"methods": ["wanda"], "targets": ["0.6"], "prefix_lengths": [0]}]
    with pytest.raises(InputError, match=r"prefix_lengths has 0, the beginning-of-text token alone, and gen"):
        runs(resolve_config(given(grids=grid, generation={"bos": "never"})))
    assert runs(resolve_config(given(grids=grid)))
    grid[0]["prefix_lengths"] = [2047]
    assert runs(resolve_config(given(grids=grid)))
    with pytest.raises(InputError, match=r"prefix_lengths has 2047, but a sample of calibration\.length 2048"):
        runs(resolve_config(given(grids=grid, generation={"bos": "always"})))


def test_every_key_of_a_compat_set_can_be_set_and_the_report_says_which_was_used() -> None:
    config = resolve_config(given(compat="authors", scoring={"span": "continuation"}, seeds=3))
    assert (config["scoring"]["span"], config["seeds"], config["generation"]["retokenise"]) == ("continuation", 3, True)
    shown = {s["name"]: s["value"] for s in study_index(config, {"id": "m"})["study"]["settings"]}
    assert shown["Variant"].startswith("compat authors")
    assert "scored on the continuation" in shown["Filter"]
    assert "windows of single documents; wikipedia: windows of the concatenated documents" in shown["Sampler"]
    tiny = study_index(resolve_config(given("tiny", compat="authors")), {"id": "m"})["study"]["settings"]
    assert {"name": "Sampler", "value": "windows of single documents"} in tiny
    with pytest.raises(InputError, match=r"compat is 'author' \(did you mean authors\?\); allowed: authors, paper"):
        resolve_config(given(compat="author"))


def test_a_preset_with_its_own_text_keeps_it_under_either_compat() -> None:
    for compat in ("paper", "authors"):
        config = resolve_config(given("smollm2-135m", compat=compat))
        assert list(config["texts"]) == ["fiction"]
        assert list(config["tasks"]) == []


def test_an_unknown_target_or_layout_or_parameter_is_refused() -> None:
    with pytest.raises(InputError, match=r"no target table9 \(did you mean table7\?\); there are table1, table2"):
        target_config(given(), "table9")
    raw = study_index(target_config(given(), "figure5"), {"id": "m"})
    assert raw["layout"] == {"name": "figure5", "parameters": {"min_k": 50}}
    for layout, words in (
        ({"name": "table0"}, r"layout\.name is 'table0'; there are table1"),
        ({"name": "table1", "parameters": {"min_k": 5}}, "table1 takes no min_k"),
    ):
        with pytest.raises(InputError, match=words):
            chosen_layout(parse_index({**raw, "layout": layout}))
    assert set(target_files()) == set(LAYOUTS)


def test_runs_are_needed_without_a_layout_only() -> None:
    raw = study_index(target_config(given(), "similarity"), {"id": "m"})
    assert parse_index(raw).runs == ()
    del raw["layout"]
    with pytest.raises(InputError, match="runs is empty"):
        parse_index(raw)
