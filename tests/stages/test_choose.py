"""`calibrant choose` before it runs anything: the study that it lays out, its sizes and sets, and what it refuses."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from support import ROOT, make_text

import calibrant as cal
from calibrant.calibration.judging_parts import LEAST_DOCUMENTS
from calibrant.choice.entries import baseline, entries
from calibrant.cli.main import main
from calibrant.errors import InputError
from calibrant.race.rounds import looks, round_ends
from calibrant.settings.choose_settings import read_budget
from calibrant.stages.choose import workflow_command
from calibrant.stages.choose_folder import recorded_study, write_study
from calibrant.stages.choose_inputs import read_inputs
from calibrant.stages.choose_plan import first_plan, raised_plan
from calibrant.stages.choose_study import laid_out
from calibrant.study.config import resolve_config
from calibrant.study.grid import Run
from calibrant.study.machines import machine
from calibrant.study.race_plan import LADDER, WANTED, Field, race_costs, size_within, sizes
from calibrant.study.shapes import Shape
from calibrant.study.study_file import load_config

BASE = "choose --model model --source web.jsonl --source wiki.jsonl --for use.jsonl --output answer"


@pytest.fixture
def desk(tmp_path: Path, tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model and some small texts."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_model_dir, "model")
    for place, name in enumerate(("use", "chat", "web", "wiki", "tales")):
        write_rows(f"{name}.jsonl", [make_text(30, 1000 * place + i) for i in range(50)])
    shutil.copy("web.jsonl", "copy.jsonl")
    write_rows("small.jsonl", [make_text(30, i) for i in range(12)])
    write_rows("other_key.jsonl", ["a text"], key="body")
    Path("rows").mkdir()
    Path("rows/piqa_validation.jsonl").write_text('{"goal": "a"}\n')
    Path("full").mkdir()
    Path("full/thesis.txt").write_text("precious")
    Path("profile").mkdir()
    Path("profile/config.yaml").write_text("jobs: 4\n")
    Path("notes.txt").write_text("\n\n".join(make_text(20, i) for i in range(60)))
    return tmp_path


def write_rows(name: str, texts: list[str], key: str = "text") -> None:
    Path(name).write_text("".join(json.dumps({key: text}) + "\n" for text in texts))


def listing(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


MISTAKES: list[tuple[str, str, list[str]]] = [
    ("no source", "choose --model model --for use.jsonl --output answer", ["--source: is missing; give text to"]),
    ("no purpose", "choose --model model --source web.jsonl --output answer", ["--for: is missing; give what"]),
    ("no such file", f"{BASE} --source absent.jsonl", ["--source absent.jsonl: no such file"]),
    ("no such set", f"{BASE} --reference absent.parquet", ["--reference absent.parquet", "no such file"]),
    ("no such model", BASE.replace("model model", "model modle"), ["--model modle: no such folder, and no hub id"]),
    ("a file as model", BASE.replace("model model", "model web.jsonl"), ["--model web.jsonl: is a file"]),
    ("unknown task", f"{BASE} --for piqqa", ["--for piqqa: no such file, and no task of lm-eval (did you mean piqa?)"]),
    ("task without rows", f"{BASE} --for boolq --data rows", ["--for boolq: --data rows has no rows", "boolq_SPLIT"]),
    ("named task", f"{BASE} --for mine=piqa", ["--for mine=piqa: a task keeps its own name; give --for piqa"]),
    (
        "same file twice",
        f"{BASE} --source again=web.jsonl",
        ["again=web.jsonl: is the same text as --source"],
    ),
    ("same text twice", f"{BASE} --source copy.jsonl", ["copy.jsonl: is the same text as --source web.jsonl", "leave"]),
    ("judged by a source", f"{BASE} --for copy.jsonl", ["--for copy.jsonl: is the same text", "leave out --source"]),
    (
        "guarded by a source",
        f"{BASE} --guard copy.jsonl",
        ["--guard copy.jsonl: is the same text as --source"],
    ),
    ("guard that judges", f"{BASE} --guard x=use.jsonl", ["--guard x=use.jsonl: is the same", "leave out --guard"]),
    ("one name", f"{BASE} --source wiki=tales.jsonl", ["are both called wiki; name one, as in --source other="]),
    ("reserved name", f"{BASE} --source own_web=tales.jsonl", ["the name own_web is a name of Calibrant's own"]),
    ("name", f"{BASE} --source Tales=tales.jsonl", ["the name Tales must be small letters, digits and _"]),
    (
        "kind of file",
        f"{BASE} --source model/model.safetensors",
        ["files that end in .safetensors are not read"],
    ),
    ("wrong column", f"{BASE} --source other_key.jsonl", ["no column 'text' (--text-key); there are body"]),
    ("too small to judge", f"{BASE} --for small.jsonl", ["--for small.jsonl: is too small to judge by: it has 12 doc"]),
    ("method", f"{BASE} --method wandaa", ["--method wandaa: unknown; use magnitude, wanda"]),
    ("no data", f"{BASE} --method magnitude", ["--method magnitude: reads no text", "such as wanda"]),
    (
        "reference",
        f"{BASE} --reference wikii",
        ["--reference wikii: is no candidate (did you mean wiki?)"],
    ),
    ("reference out", f"{BASE} --origins real --reference", ["expected one argument"]),
    ("sparsity", f"{BASE} --sparsity 1.2", ["--sparsity 1.2: outside 0 to 1", "2:4"]),
    ("width of a method that prunes", f"{BASE} --bits 4", ["--method wanda: prunes, and w4 gives no", "awq"]),
    (
        "wide group",
        f"{BASE} --method gptq --bits 4 --group 4096",
        ["--group 4096: ", "cannot be divided into groups of 4096"],
    ),
    ("no width", f"{BASE} --method gptq", ["--method gptq: quantizes, and 0.5 gives no width; give --bits (4"]),
    ("both", f"{BASE} --method awq --sparsity 2:4 --bits 4", ["--method awq: prunes nothing", "2:4+w4", "sparsegpt"]),
    ("group alone", f"{BASE} --method gptq --group 64", ["--group 64: says how many columns", "no --bits are given"]),
    ("bits", f"{BASE} --method gptq --bits 9", ["--bits 9: must be"]),
    ("no data at a width", f"{BASE} --method rtn --bits 4", ["--method rtn: reads no text", "gptq (rtn is shown"]),
    ("option of another", f"{BASE} --option gptq.damping=0.1", ["--option gptq.damping: method wanda has no such"]),
    ("origins", f"{BASE} --origins real,fake", ["--origins fake: unknown; use real or synthetic"]),
    ("origin twice", f"{BASE} --origins real,real", ["--origins real,real: must be real, synthetic, or both"]),
    ("option", f"{BASE} --option owl.lambda=0.1", ["--option owl.lambda: method wanda has no such option; it has"]),
    ("value", f"{BASE} --method owl --option owl.lambda=0.05,2", ["--option owl.lambda=2: must be a number", "0.5"]),
    ("value twice", f"{BASE} --method owl --option owl.m=5,5.0", ["--option owl.m=5,5.0: has a value twice"]),
    ("weight", f"{BASE} --weight chat=2", ["--weight chat=2: nothing of this name judges", "--for has use"]),
    ("no number", f"{BASE} --weight use=much", ["--weight use=much: must be a number above 0"]),
    ("metric of a text", f"{BASE} --measure acc", ["--measure acc: is none of kl, perplexity, agreement", "use.jsonl"]),
    ("budget", f"{BASE} --budget soon", ["--budget soon: must be a time such as 60m, 90s or 2h, or a number of sets"]),
    ("no time", f"{BASE} --budget 0m", ["--budget 0m: must be a time"]),
    ("too few sets", f"{BASE} --budget 6", ["--budget 6: is too small for 5 candidates", "give 10 or more"]),
    (
        "too little time",
        f"{BASE} --budget 1s",
        ["--budget 1s: holds 0 sets of 8 x 128 tokens here", "m, or"],
    ),
    ("profile and cores", f"{BASE} --profile profile --cores 2", ["--cores 2: with --profile profile"]),
    ("no profile", f"{BASE} --profile rows", ["--profile rows: holds no config.yaml"]),
    (
        "time on a cluster",
        f"{BASE} --profile profile --budget 60m",
        ["--budget 60m: with --profile a budget is"],
    ),
    ("other files", BASE.replace("answer", "full"), ["--output full: holds thesis.txt", "a new or an empty one"]),
    ("a file as output", BASE.replace("answer", "web.jsonl"), ["web.jsonl"]),
    ("unknown flag", f"{BASE} --sorce x", ["--sorce x; did you mean --source?"]),
]


@pytest.mark.parametrize(("words", "said"), [case[1:] for case in MISTAKES], ids=[case[0] for case in MISTAKES])
def test_bad_input_is_one_line_before_anything_is_written(
    desk: Path, words: str, said: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = listing(desk)
    assert main(words.split()) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("calibrant choose: ")
    for each in said:
        assert each in error
    assert listing(desk) == before


def planned(folder: str = "answer", **changes: Any) -> dict[str, Any]:
    """The configuration of a race, laid out and planned, and written as the command would."""
    files = {"guards": changes.pop("guards", ()), "purposes": changes.pop("purposes", ["use.jsonl"])}
    settings = cal.ChooseSettings(**({"budget": "12"} | changes))
    data = "rows" if "piqa" in (*files["purposes"], *files["guards"]) else None
    inputs = read_inputs("model", ["web.jsonl", "wiki.jsonl"], files["purposes"], files["guards"], data, settings)
    plan = first_plan(laid_out(inputs, settings, gpu=False), settings, gpu=False, elsewhere=False)
    write_study(Path(folder), plan.config, ROOT)
    return plan.config


def test_the_study_is_complete_and_is_read_back_as_it_was(desk: Path) -> None:
    written = planned(guards=["piqa"], purposes=["use.jsonl", "chat.jsonl"], weight={"chat": "2"}, reference="wiki")
    assert yaml.safe_load(Path("answer/config.yaml").read_text()) == written == recorded_study(Path("answer"))
    resolved = load_config("answer/config.yaml", "answer/config.yaml")
    assert resolved["study"] == "answer"
    assert resolved["model"]["path"] == str(desk / "model")
    assert resolved["sources"]["web"]["files"] == [str(desk / "web.jsonl")]
    assert resolved["choose"]["for"] == {"use": {"weight": 1.0}, "chat": {"weight": 2.0}}
    assert resolved["tasks"] == {"piqa": {"files": {"validation": str(desk / "rows/piqa_validation.jsonl")}}}
    assert resolved["choose"]["guard"] == ["piqa"]
    assert (resolved["choose"]["budget"], resolved["choose"]["asked"]) == ([12], ["12"])
    assert resolved["compute"]["threads"] == 1
    assert (resolved["calibration"]["samples"], resolved["calibration"]["length"]) == (8, 128)  # positions of the model
    assert resolved["evaluation"]["length"] == 128
    assert resolved["grids"] == []


def test_options_with_several_values_are_candidates_and_others_the_studys(desk: Path) -> None:
    option = {"owl.lambda": "0.05,0.08", "owl.criterion": "sparsegpt", "sparsegpt.damping": "0.1", "exclude": "a{1,2}"}
    found = planned(method="owl", option=option, budget="60")
    assert found["choose"]["options"] == {"owl.lambda": ["0.05", "0.08"]}
    assert found["pruning"]["options"] == {"owl.criterion": "sparsegpt", "sparsegpt.damping": 0.1, "exclude": "a{1,2}"}
    names = list(entries(load_config("answer/config.yaml", "answer/config.yaml")))
    assert len(names) == 2 * (2 + 2 + 1)
    assert "web (self-generated, owl.lambda=0.08)" in names


def test_a_width_is_a_target_of_the_study_and_a_change_of_it_is_refused_by_its_flag(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    option = {"gptq.act_order": "true", "gptq.damping": "0.01,0.1"}
    found = planned(method="gptq", bits=4, group=16, option=option, budget="40")
    assert (found["choose"]["method"], found["choose"]["target"]) == ("gptq", "w4g16")
    assert found["pruning"]["options"] == {"gptq.act_order": "true"}
    resolved = load_config("answer/config.yaml", "answer/config.yaml")
    assert baseline(resolved) == Run("rtn", "w4g16", None)
    run = next(iter(entries(resolved).values())).run(resolved, 2)
    assert run.name == "web-real-n8-s2/gptq-w4g16-o1"
    again = f"{BASE} --method gptq --option gptq.act_order=true --option gptq.damping=0.01,0.1 --dry-run"
    for words, said in (
        ("--bits 3 --group 16", "--bits 3: the race in answer has 4"),
        ("--bits 4", "--group none: the race in answer has 16"),
        ("--bits 4 --group 32", "--group 32: the race in answer has 16"),
    ):
        assert main([*again.split(), *words.split()]) == 2
        assert said in capsys.readouterr().err
    assert main([*again.split(), "--bits", "4", "--group", "16"]) == 0
    assert "gptq at w4g16" in capsys.readouterr().err


def test_a_folder_of_before_widths_is_gone_on_with(desk: Path) -> None:
    written = planned()
    older = {**written, "choose": {("sparsity" if k == "target" else k): v for k, v in written["choose"].items()}}
    Path("answer/config.yaml").write_text(yaml.safe_dump(older, sort_keys=False))
    assert recorded_study(Path("answer")) == written
    assert main([*BASE.split(), "--dry-run"]) == 0


def test_texts_are_named_by_their_files_and_plain_text_is_divided(desk: Path) -> None:
    Path("My Texts").mkdir()
    shutil.copy("tales.jsonl", "My Texts/documents.jsonl")
    shutil.copy("chat.jsonl", "2024-Chat.v2.jsonl")
    files = ["My Texts/documents.jsonl", "2024-Chat.v2.jsonl", "notes.txt", "a=web.jsonl"]
    found = read_inputs("model", files, ["use.jsonl"], [], None, cal.ChooseSettings()).sources
    assert [each.name for each in found] == ["my_texts", "text_2024_chat", "notes", "a"]
    assert [each.spec.get("paragraphs", False) for each in found] == [False, False, True, False]
    patterns = read_inputs("model", ["w*.jsonl"], ["use.jsonl"], [], None, cal.ChooseSettings()).sources
    assert [[file.name for file in each.files] for each in patterns] == [["web.jsonl", "wiki.jsonl"]]
    assert 2 * LEAST_DOCUMENTS == 40


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = listing(desk)
    assert main([*BASE.split(), "--budget", "24", "--dry-run"]) == 0
    said = capsys.readouterr().err
    assert "choose: 5 candidates (3 of text as it is, 2 that the model writes), wanda at 0.5" in said
    assert f"sets of 8 x 128 tokens; at most 24 sets in {len(round_ends(5, [24]))} rounds" in said
    assert "choose: about " in said
    assert listing(desk) == before


def test_another_race_in_the_same_folder_is_refused_by_its_flag(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    planned(samples=4)
    for words, said in (
        ("--method owl", ["--method owl: the race in answer has wanda; give that, or another --output"]),
        ("--sparsity 2:4", ["--sparsity 2:4: the race in answer has 0.5"]),
        ("--source tales.jsonl", ["--source web=", "tales.jsonl", "the race in answer has"]),
        ("--for chat.jsonl", ["--for use="]),
        ("--weight use=2", ["--weight use=2: the race in answer has use=1"]),
        ("--samples 8", ["--samples 8: the race in answer has 4"]),
        ("--tokens 2048", ["--tokens 2048: the race in answer has 4096"]),
        ("--dtype float32", ["--dtype float32: the race in answer has auto"]),
        ("--budget 11", ["--budget 11: 12, which is 12 sets, is this race's already; give more"]),
    ):
        assert main([*BASE.split(), *words.split(), "--dry-run"]) == 2
        error = capsys.readouterr().err
        for each in said:
            assert each in error
    for words in ("", "--budget 12", "--apply", "--samples 4", "--cores 1", "--budget 24"):
        assert main([*BASE.split(), *words.split(), "--dry-run"]) == 0
    assert recorded_study(Path("answer")) == yaml.safe_load(Path("answer/config.yaml").read_text())


def test_a_larger_budget_is_appended_and_sizes_stay(desk: Path) -> None:
    before = planned(budget="10", samples=4)
    folder = Path("answer")
    raised = raised_plan(before, cal.ChooseSettings(budget="30"), folder, gpu=False, elsewhere=False).config
    assert (raised["choose"]["budget"], raised["choose"]["asked"]) == ([10, 30], ["10", "30"])
    assert raised["calibration"] == before["calibration"]
    longer = raised_plan(raised, cal.ChooseSettings(budget="2h"), folder, gpu=False, elsewhere=False).config
    assert longer["choose"]["asked"] == ["10", "30", "2h"]
    assert longer["choose"]["budget"][-1] > 30
    same = raised_plan(longer, cal.ChooseSettings(budget="2h"), folder, gpu=False, elsewhere=False).config
    assert same == longer
    for budget in ("90m", "30"):
        with pytest.raises(InputError, match=f"--budget {budget}: 2h, which is .* sets, is this race's already"):
            raised_plan(longer, cal.ChooseSettings(budget=budget), folder, gpu=False, elsewhere=False)


SHAPE = Shape(30, 576, 1536, 576, 192, 49152, tied=True)
FIELD = Field(real=5, synthetic=4)


def race(**changes: Any) -> dict[str, Any]:
    section = {"for": {"fiction": {}}, **changes}
    base = {"preset": "smollm2-135m", "experiment": "sources", "compute": {"dtype": "float32"}}
    return resolve_config({**base, "choose": section})


def test_every_candidate_has_three_sets_of_the_size_that_is_taken() -> None:
    rates, config = machine("avx2").rates, race()
    choices = sizes(None, None, 8192)
    assert choices == list(LADDER)
    before = LADDER[0]
    for minutes in (20, 60, 240, 1440, 14400):
        size = size_within(minutes * 60, choices, FIELD, config, SHAPE, rates)
        held = race_costs(config, SHAPE, rates, size).sets_in(minutes * 60, FIELD)
        assert size == LADDER[0] or held >= WANTED * FIELD.candidates
        if size != LADDER[-1]:
            larger = LADDER[LADDER.index(size) + 1]
            beyond = race_costs(config, SHAPE, rates, larger).sets_in(minutes * 60, FIELD)
            assert beyond < WANTED * FIELD.candidates
        assert LADDER.index(size) >= LADDER.index(before)
        before = size
    assert before == LADDER[-1]


def test_sizes_that_are_given_stay_and_no_sequence_is_longer_than_the_model() -> None:
    assert sizes(24, None, 1024) == [(24, 512), (24, 1024)]
    assert sizes(None, 700, 512) == [(8, 700), (16, 700), (32, 700), (64, 700), (128, 700)]
    assert sizes(3, 5, 512) == [(3, 5)]
    assert sizes(None, None, 128) == [(8, 128), (16, 128), (32, 128), (64, 128), (128, 128)]


def test_a_set_costs_more_where_the_model_writes_it_and_where_more_is_judged() -> None:
    rates = machine("avx2").rates
    costs = race_costs(race(), SHAPE, rates, LADDER[0])
    assert costs.synthetic > costs.real > costs.given > 0
    assert race_costs(race(tokens=40960), SHAPE, rates, LADDER[0]).real > costs.real
    assert race_costs(race(measure="perplexity"), SHAPE, rates, LADDER[0]).real < costs.real
    held = costs.sets_in(3600, FIELD)
    assert costs.of_sets(held, FIELD) <= 3600 < costs.of_sets(held + 1, FIELD)


@pytest.mark.parametrize("budgets", [[10], [24], [24, 96], [745]])
def test_rounds_end_at_every_look(budgets: list[int]) -> None:
    ends = round_ends(5, budgets)
    assert ends == sorted(set(ends))
    assert set(looks(5, budgets)) <= set(ends)
    assert ends[-1] == budgets[-1]


@pytest.mark.parametrize(
    ("text", "sets", "seconds"), [("60m", None, 3600), ("90s", None, 90), ("1.5h", None, 5400), ("48", 48, None)]
)
def test_budgets(text: str, sets: int | None, seconds: float | None) -> None:
    found = read_budget(text)
    assert (found.sets, found.seconds) == (sets, seconds)


def test_what_runs_the_workflow() -> None:
    here = workflow_command(ROOT, Path("answer"), None, 2)
    assert here[1:] == [
        *(str(ROOT / "workflow/study.py"), "--directory", str(Path("answer").absolute())),
        *(
            "--config",
            str(Path("answer/config.yaml").absolute()),
            "--target",
            "answer",
            "--",
            "--cores",
            "2",
            "--quiet",
            "all",
        ),
    ]
    assert workflow_command(ROOT, Path("answer"), None, None)[-4:] == ["--cores", "all", "--quiet", "all"]
    cluster = workflow_command(ROOT, Path("answer"), "profile", None)
    assert cluster[-4:] == ["--workflow-profile", str(Path("profile").absolute()), "--quiet", "all"]
