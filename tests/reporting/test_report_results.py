"""The index: what is accepted, what is refused and in which words; the tidy results."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from artefact_files import write_mask_file
from scipy import stats

from calibrant.artefacts.digest import sha256_file
from calibrant.artefacts.parquet import read_table, write_table
from calibrant.errors import InputError
from calibrant.reporting.inference.generated_claims import gains
from calibrant.reporting.inference.scope import Scope
from calibrant.reporting.results import cells
from calibrant.reporting.results.index import Study, Task, parse_index, read_index
from calibrant.reporting.results.measures import find_measures, in_sentence
from calibrant.reporting.results.outcome import choose_outcome
from calibrant.reporting.results.readable import default_label
from calibrant.reporting.results.records import brief
from calibrant.reporting.results.result_frame import COLUMNS, achieved_sparsity, collect, read_evaluation, write_results
from calibrant.reporting.results.samples import check_scores
from calibrant.reporting.results.study_results import StudyResults


def test_tidy_rows(study: Any, tmp_path: Path) -> None:
    index = read_index(study.write())
    frame = collect(index.runs)
    assert frame.columns == list(COLUMNS)
    # 1 dense + 2 sparsities x (magnitude + 4 sources x 2 origins x 2 seeds), each 1 text + 3 tasks x 2 metrics
    assert len(frame) == (1 + 2 * (1 + 16)) * 7
    entry = next(r for r in study.runs if (r["source"], r["origin"], r["sparsity"], r["seed"])
                 == ("news", "synthetic", "0.6", 1))  # fmt: skip
    direct = {(r["task"], r["metric"]): r["value"] for r in json.loads(Path(entry["evaluation"]).read_text())}
    chosen = frame.filter(
        (pl.col("source") == "news") & (pl.col("origin") == "synthetic") & (pl.col("sparsity") == "0.6")
        & (pl.col("seed") == 1)
    )  # fmt: skip
    assert {(r["task"], r["metric"]): r["value"] for r in chosen.iter_rows(named=True)} == direct
    assert chosen["achieved_sparsity"].unique().to_list() == [pytest.approx(0.6001)]
    write_results(tmp_path / "out", frame, index)
    table, metadata = read_table(tmp_path / "out" / "results.parquet")
    assert pl.DataFrame(table).equals(frame)
    assert len(metadata["inputs"]) == len(index.runs)
    assert pl.read_csv(tmp_path / "out" / "results.csv")["value"].to_list() == frame["value"].to_list()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda i: i["study"].update(nmae="x"), "unknown key study.nmae"),
        (lambda i: i.pop("study"), "lacks the key study"),
        (lambda i: i["runs"][1].update(sparsity="1.2"), r"runs.1.sparsity is '1.2'"),
        (lambda i: i["runs"][1].update(sparsity="5:4"), r"runs.1.sparsity: 5:4: N must be at least 1 and below M"),
        (lambda i: i["runs"][2].update(origin="real "), r"runs.2.origin is 'real '.*did you mean real"),
        (lambda i: i["runs"][2].update(source=None), r"runs.2 .*source is None and origin 'real'; wanda needs both"),
        (lambda i: i["runs"][0].update(source="web"), r"runs.0 .*dense has neither source nor origin"),
        (lambda i: i["runs"][0].update(sparsity="0.5"), "method dense goes with sparsity 0"),
        (lambda i: i["runs"].append(i["runs"][3]), r"runs.35 .*is the same run as runs.3"),
        (lambda i: i["runs"][4].update(model="other"), r"of model 'other' and runs.0 of 'SmolLM2"),
        (lambda i: i.update(runs=[]), "runs is empty"),
    ],
)
def test_a_wrong_index_is_refused(study: Any, change: Callable[[dict[str, Any]], Any], message: str) -> None:
    index = study.index()
    change(index)
    with pytest.raises(InputError, match=message):
        parse_index(index)


def test_index_that_is_no_object(tmp_path: Path) -> None:
    (tmp_path / "index.json").write_text("[]")
    with pytest.raises(InputError, match=r"index.json: holds list; an index is an object"):
        read_index(tmp_path / "index.json")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({}, "must hold a list"),
        ([], "at least one entry"),
        ([{"task": "a"}], "entry 0, metric is missing"),
        ([{"task": "a", "metric": "acc", "value": "0.5"}], "entry 0, value is .0\\.5.; it must be a finite number"),
        ([{"task": "a", "metric": "acc", "value": float("nan")}], "entry 0, value is NaN; it must be a finite number"),
        (
            [{"task": "a", "metric": "acc", "value": 1, "n": "many"}],
            "n is .many.; it must be a whole number",
        ),
        ([{"task": "a", "metric": "acc", "value": 1}] * 2, "entry 1 repeats task a, metric acc"),
    ],
)
def test_a_wrong_evaluation_is_refused(tmp_path: Path, rows: Any, message: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps(rows))
    with pytest.raises(InputError, match=message) as caught:
        read_evaluation(path)
    assert str(path) in str(caught.value)


def test_missing_stderr_stays_missing(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps([{"task": "a", "metric": "acc", "value": 0.5, "stderr": "N/A"}]))
    assert read_evaluation(path)[0]["stderr"] is None


def test_masks_of_another_program(study: Any, tmp_path: Path) -> None:
    path = tmp_path / "masks.safetensors"
    index = study.index()
    index["runs"][1]["masks"] = str(path)
    run = parse_index(index).runs[1]
    with pytest.raises(InputError, match="no such file"):
        achieved_sparsity(run)
    path.write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    with pytest.raises(InputError, match="no file of calibrant; masks are made by `calibrant prune`"):
        achieved_sparsity(run)


def test_masks_that_the_library_writes(study: Any, tmp_path: Path) -> None:
    """The header is read without PyTorch; it must agree with the module that writes it."""
    import torch

    path = tmp_path / "masks.safetensors"
    write_mask_file(path, {"layer": torch.tensor([[True, False, True, True]])})
    index = study.index()
    index["runs"][1]["masks"] = str(path)
    assert achieved_sparsity(parse_index(index).runs[1]) == 0.25


def frame_of(rows: list[tuple[str, str, int]]) -> pl.DataFrame:
    return pl.DataFrame([{"task": t, "metric": m, "n": n, "chance": None} for t, m, n in rows])


def test_one_metric_stands_for_each_task() -> None:
    rows = [(t, m, 1200) for t in ("hellaswag", "piqa", "mmlu", "mmlu_law") for m in ("acc", "acc_norm")]
    perplexities, accuracies = find_measures(frame_of([("tales", "perplexity", 9), *rows]))
    assert [m.task for m in perplexities] == ["tales"]
    assert [(m.task, m.metric) for m in accuracies] == [("hellaswag", "acc_norm"), ("piqa", "acc"), ("mmlu", "acc")]
    assert {m.decimals for m in accuracies} == {2}
    perplexities, accuracies = find_measures(frame_of(rows), [Task("piqa", metric="acc_norm", chance=0.4, label="P")])
    assert (accuracies[0].label, accuracies[0].metric, accuracies[0].chance) == ("P", "acc_norm", 0.4)
    with pytest.raises(InputError, match="task piqa: its results have no metric f1"):
        find_measures(frame_of(rows), [Task("piqa", metric="f1")])
    with pytest.raises(InputError, match="none of its metrics"):
        find_measures(frame_of([("x", "brier", 10)]))
    assert find_measures(frame_of([("piqa", "acc", 200)]))[1][0].decimals == 1


def test_labels_in_sentences() -> None:
    assert [in_sentence(x) for x in ("Fiction", "C4", "ARC-e", "Grimm tales")] == [
        "fiction", "C4", "ARC-e", "grimm tales",
    ]  # fmt: skip


def test_targets_of_runs() -> None:
    targets = ["w4g64", "2:4", "w2", "0.6", "0", "0.5+w4", "0.5", "4:8", "w4"]
    assert cells.in_order(targets[:4] + targets[5:]) == ["0.5", "0.6", "4:8", "2:4", "w4g64", "w4", "w2", "0.5+w4"]
    labels = ["4 bits, group 64", "2:4", "2 bits", "60 %", "dense", "50 % and 4 bits"]
    assert [cells.target_label(t) for t in targets[:6]] == labels
    assert [cells.baseline_cell(t).method for t in ("0.6", "w4", "0.5+w4")] == ["magnitude", "rtn", "magnitude"]
    assert cells.targets_told(["0.5", "2:4"]) == "50 % and 2:4 sparsity"
    assert cells.targets_told(["0.5", "w4"]) == "50 % and 4 bits"
    assert [cells.kind_of(each) for each in (["0.5", "2:4"], ["0.5", "0.5+w4"])] == ["sparsity", "target"]
    assert [t for t in targets if t != "0" and cells.sparsity_of(t)] == ["2:4", "0.6", "0.5", "4:8"]


def test_the_index_takes_widths(study: Any) -> None:
    index = study.index()
    index["runs"] = index["runs"][:2]
    index["runs"][1] |= {"method": "rtn", "sparsity": "w04g064"}
    assert [run.target for run in parse_index(index).runs] == ["0", "w4g64"]
    index["runs"][1]["sparsity"] = "w9"
    with pytest.raises(InputError, match=r"runs.1.sparsity: bits 9: must be 2 to 8"):
        parse_index(index)


def test_without_an_error_the_number_of_items_tells_what_is_chance(study: Any) -> None:
    """MMLU evaluated on one question of each subject: a mean of 57 results that have no error."""
    frame, whole = collect(read_index(study.write()).runs), Study("s", "m", tasks=(Task("piqa"),))
    piqa = pl.col("task") == "piqa"
    for items, chance in ((57, True), (100_000, False), (None, False)):  # of 51 % right
        no_error = frame.with_columns(
            pl.when(piqa).then(None).otherwise(pl.col("stderr")).alias("stderr"),
            pl.when(piqa).then(pl.lit(items, pl.Int64)).otherwise(pl.col("n")).alias("n"),
        )
        assert ("piqa" in [m.task for m in StudyResults(no_error, whole).at_chance]) == chance


def test_results_order_sparsities_and_average_tasks(study: Any) -> None:
    frame = collect(read_index(study.write()).runs)
    data = StudyResults(frame, Study("s", "m", tasks=(Task("piqa"),)))
    assert data.targets == ["0.5", "0.6"]
    assert data.accuracies[0].task == "piqa"
    assert [m.task for m in data.at_chance] == ["piqa"]
    average = data.averages[0]
    cell = data.at("wanda", "0.6", "web", "real")
    direct = (
        frame.filter((pl.col("source") == "web") & (pl.col("origin") == "real") & (pl.col("sparsity") == "0.6")
                     & (pl.col("metric") == "acc"))
        .group_by("seed", maintain_order=True).agg(pl.col("value").mean() * 100)
    )  # fmt: skip
    assert data.values(cell, average) == {r["seed"]: pytest.approx(r["value"]) for r in direct.iter_rows(named=True)}
    # The average needs every task: a run without one has none.
    incomplete = frame.filter(~((pl.col("task") == "piqa") & (pl.col("source") == "web") & (pl.col("seed") == 1)))
    assert list(StudyResults(incomplete, Study("s", "m")).values(cell, average)) == [0]
    assert data.values(data.at("wanda", "0.7", "web", "real"), average) == {}


def test_differences_take_every_set_of_both_texts(study: Any) -> None:
    """Sets of different texts are independent: Welch's t, and a set counts though the other text lacks its seed."""
    frame = collect(read_index(study.write()).runs)
    data = StudyResults(frame, Study("s", "m"))
    perplexity = data.perplexities[0]
    real, synthetic = (
        [-100 * math.log(v) for v in data.values(data.at("wanda", "0.6", "web", origin), perplexity).values()]
        for origin in ("real", "synthetic")
    )
    found = gains(Scope(data, perplexity), "0.6", "wanda")["web"].estimate
    expected = stats.ttest_ind(synthetic, real, equal_var=False)
    assert (found.mean, found.n) == (pytest.approx(sum(synthetic) / 2 - sum(real) / 2), 4)
    assert (found.low, found.p) == pytest.approx((expected.confidence_interval(0.95).low, expected.pvalue))
    keep = ~((pl.col("origin") == "real") & (pl.col("source") == "web") & (pl.col("seed") == 0))
    fewer = gains(Scope(StudyResults(frame.filter(keep), Study("s", "m")), perplexity), "0.6", "wanda")["web"].estimate
    assert (fewer.mean, fewer.n) == (pytest.approx(sum(synthetic) / 2 - real[1]), 3)
    assert (fewer.low, fewer.p) == (None, None)  # one set of real text has no spread


def test_an_average_is_not_mistaken_for_another(study: Any) -> None:
    """Scores of the average of all tasks and of those above chance, in either order; the outcome is one of them."""
    frame = collect(read_index(study.write()).runs)
    for turn in (1, -1):
        data = StudyResults(frame, Study("s", "m"))
        cell = data.at("wanda", "0.6", "web", "real")
        outcome = choose_outcome(data)
        assert outcome is not None
        assert (outcome.key, outcome.members) == (data.averages[1].key, data.averages[1].members)
        assert outcome.name == "mean accuracy over 2 tasks above chance"
        for average in [data.averages[0], outcome][::turn]:
            assert data.scores(cell, average) == data.values(cell, average)
        assert data.scores(cell, data.averages[0]) != data.scores(cell, outcome)


def test_chance_is_what_the_evaluations_record(study: Any) -> None:
    """Then what the study says, then the best constant answer of the task's whole split."""
    index = study.index()
    index["study"]["tasks"][0]["chance"] = 0.3
    measures = StudyResults(collect(parse_index(index).runs), parse_index(index).study).accuracies
    assert [m.chance for m in measures] == [0.3, 0.25, 928 / 1838]
    for run in index["runs"]:
        path = Path(run["evaluation"])
        rows = [
            {**row, "chance": None if row["metric"] == "perplexity" else 0.4} for row in json.loads(path.read_text())
        ]
        path.write_text(json.dumps(rows))
    frame = collect(parse_index(index).runs)
    assert frame.filter(pl.col("metric") == "acc")["chance"].unique().to_list() == [0.4]
    assert frame.filter(pl.col("metric") == "perplexity")["chance"].unique().to_list() == [None]
    assert {m.chance for m in StudyResults(frame, parse_index(index).study).accuracies} == {0.4}
    rows[1]["chance"] = 1.5
    path.write_text(json.dumps(rows))
    with pytest.raises(InputError, match=r"entry 1, chance is 1\.5"):
        read_evaluation(path)


def test_runs_that_vary_something_else_are_cells_of_their_own(study: Any) -> None:
    index = study.index()
    plain = StudyResults(collect(parse_index(index).runs), Study("s", "m"))
    index["runs"].append({**index["runs"][2], "samples": 64})
    data = StudyResults(collect(parse_index(index).runs), Study("s", "m"))
    assert (plain.varied, data.varied) == ([], ["samples"])
    assert data.values_of("samples") == [16, 64]
    assert data.main_cells == plain.main_cells  # what tables show: the setting of most runs
    cell, perplexity = data.at("wanda", "0.5", "web", "real"), data.perplexities[0]
    assert data.values(cell, perplexity) == plain.values(cell, perplexity)
    assert list(data.values(cell._replace(samples=64), perplexity)) == [0]


def test_records_in_brief() -> None:
    archive = {
        "origin": {"package": "evals", "version": "3.0", "file": None, "sha256": "ab", "member": "a.jsonl"},
        "licence": "MIT", "note": "n",
        "name": "web",
    }  # fmt: skip
    found = brief("source", "web", archive)
    assert (found.name, found.origin, found.sha256, found.licence) == ("web", "evals 3.0: a.jsonl", "ab", "MIT")
    assert json.loads(found.json) == archive
    hub = brief("model", "model", {"hub": "a/b", "revision": "f00", "id": "a/b@f00", "files": {"x": "y"}})
    assert (hub.name, hub.origin, hub.sha256) == ("a/b@f00", "hub: a/b @ f00", "")
    one = brief("text", "t", {"origin": {"files": [{"name": "x.txt", "sha256": "cd"}]}})
    assert (one.origin, one.sha256) == ("x.txt", "cd")
    two = brief("text", "t", {"origin": {"files": [{"name": "x.txt", "sha256": "cd"}, "y.txt"]}})
    assert (two.origin, two.sha256) == ("x.txt, y.txt", "")
    assert brief("model", "model", {"path": "llama", "id": "llama"}).origin == "llama"
    assert brief("task", "piqa", {"origin": "the hub", "name": "piqa"}).origin == "the hub"
    assert brief("task", "piqa", {}).origin == ""


def test_scores_of_other_samples_are_refused(study: Any) -> None:
    index = parse_index(study.index())
    check_scores(index)  # the fake scores do not say what they were made from
    table, _ = read_table(index.scores[0].path)
    write_table(index.scores[0].path, table, {"inputs": {"samples": sha256_file(index.samples[0].path)}})
    check_scores(index)
    write_table(index.scores[0].path, table, {"inputs": {"samples": sha256_file(index.samples[2].path)}})
    with pytest.raises(InputError, match=r"was made from samples with sha256 .* which is not .*; score those samples"):
        check_scores(index)


@pytest.mark.parametrize(
    ("name", "label"),
    [("parlspeech_uk", "Parlspeech uk"), ("c4", "C4"), ("dclm_pool", "DCLM pool"), ("redpajama", "RedPajama")],
)
def test_sources_have_readable_names(name: str, label: str) -> None:
    assert default_label(name) == label
