import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from lm_eval.tasks import TaskManager

from calibrant.errors import InputError
from calibrant.evaluation.tasks import task_index
from calibrant.evaluation.tasks.lm_eval_tasks import load_tasks, undisturbed
from calibrant.evaluation.tasks.row_folder import RowFolder
from calibrant.study.task_names import FOLDERS, root


def requests(task: Any, limit: int | None = None) -> list[tuple[str, str]]:
    task.set_fewshot_seed(seed=1234)
    task.build_all_requests(limit=limit)
    return [instance.args for instance in task.instances]


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("name", ["piqa", "boolq", "arc_easy", "winogrande"])
def test_requests_are_those_of_lm_evals_task_over_its_own_json_loader(
    name: str, rows_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = next(rows_dir.glob(f"{name}_*.jsonl"))
    split = "test" if file.stem.endswith("test") else "validation"
    absent = {"training_split": None, "validation_split": None, "test_split": None, f"{split}_split": split}
    item = {
        "task": name,
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": {split: str(file)}, "cache_dir": str(tmp_path)},
        **absent,
    }
    folder = root() / FOLDERS[name]
    manager = TaskManager(include_defaults=False, include_path=folder)
    wanted = manager.load({"group": "local", "task": [item]})["tasks"][name]
    wanted.set_config(key="num_fewshot", value=0)
    assert requests(load_tasks([name], RowFolder(rows_dir)).tasks[name]) == requests(wanted)


def test_prompts_are_the_published_ones(rows_dir: Path) -> None:
    tasks = load_tasks(
        ["piqa", "hellaswag", "winogrande", "mmlu_anatomy", "next_sentence_tales"], RowFolder(rows_dir)
    ).tasks
    context, choice = requests(tasks["piqa"])[0]
    assert context.startswith("Question: ")
    assert context.endswith("\nAnswer:")
    assert choice.startswith(" ")
    assert requests(tasks["hellaswag"])[0][0].startswith("Rowing: ")
    assert "[step]" not in requests(tasks["hellaswag"])[0][0]
    assert requests(tasks["winogrande"])[0][1] == " watched from stones."
    context, choice = requests(tasks["mmlu_anatomy"])[0]
    assert context.startswith("The following are multiple choice questions (with answers) about anatomy.\n\n")
    assert context.count("\nAnswer:") == 6
    assert choice == " A"
    row = RowFolder(rows_dir).read(rows_dir / "next_sentence_tales_test.jsonl")[0]
    assert requests(tasks["next_sentence_tales"])[:4] == [(row["context"], " " + choice) for choice in row["choices"]]


def test_mmlu_examples_are_the_first_of_the_subject(rows_dir: Path) -> None:
    data = RowFolder(rows_dir)
    task = load_tasks(["mmlu_anatomy"], data, {"mmlu_anatomy": 2}).tasks["mmlu_anatomy"]
    dev = [row for row in data.read(rows_dir / "mmlu_dev.jsonl") if row["subject"] == "anatomy"]
    context = requests(task)[0][0]
    assert dev[0]["question"] in context
    assert dev[1]["question"] in context
    assert dev[2]["question"] not in context


def test_only_files_that_were_read_are_recorded(rows_dir: Path) -> None:
    data = RowFolder(rows_dir)
    load_tasks(["piqa", "winogrande"], data)
    assert sorted(data.used) == ["piqa_validation.jsonl", "winogrande_xl_validation.jsonl"]


def test_no_index_of_all_tasks_is_built_for_known_names(rows_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise AssertionError("looking through all of lm-eval's tasks takes seconds")

    monkeypatch.setattr(task_index, "everything", refuse)
    monkeypatch.setattr(task_index, "declared", refuse)
    load_tasks([*FOLDERS, "next_sentence_tales"], RowFolder(rows_dir))


def test_own_tasks_take_examples_from_their_train_rows(tmp_path: Path) -> None:
    row = {"context": "One, two,", "choices": ["three.", "nine."], "label": 0}
    write(tmp_path / "counting_test.jsonl", row)
    with pytest.raises(InputError, match=r"counting_train\.jsonl"):
        load_tasks(["counting"], RowFolder(tmp_path), {"counting": 1})
    write(tmp_path / "counting_train.jsonl", {"context": "Red, green,", "choices": ["blue.", "iron."], "label": 0})
    task = load_tasks(["counting"], RowFolder(tmp_path), {"counting": 1}).tasks["counting"]
    assert requests(task)[0] == ("Red, green, blue.\n\nOne, two,", " three.")


@pytest.mark.parametrize(
    ("names", "fewshot", "message"),
    [
        (["arc_challenge", "arc_challenge"], {}, "more than once"),
        (["mmlu", "mmlu_anatomy"], {}, "mmlu_anatomy twice"),
        (["piqa"], {"arc_easy": 5}, "--fewshot names arc_easy, not among the tasks piqa"),
        (["piqa"], {"piqa": 3}, r"no piqa_train\.jsonl\[\.gz\] for its 3 examples"),
        (["openbookqa"], {}, r"task openbookqa: .* has no openbookqa_test\.jsonl"),
        (["pica"], {}, "task pica: not known to lm-eval, and no rows of that name; did you mean .*piqa"),
        (["next_sentence_tails"], {}, r"next_sentence_tails_test\.jsonl is missing"),
        (["gsm8k"], {}, "gsm8k generates text"),
    ],
)
def test_mistakes_are_named(names: list[str], fewshot: dict[str, int], message: str, rows_dir: Path) -> None:
    with pytest.raises(InputError, match=message):
        load_tasks(names, RowFolder(rows_dir), fewshot)


def test_unusable_rows_are_named(rows_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        RowFolder(tmp_path / "absent")
    data = RowFolder(tmp_path)
    write(tmp_path / "piqa_validation.jsonl", {"goal": "g", "sol1": "a", "label": 0})
    with pytest.raises(
        InputError, match=r"task piqa: its rows, with the columns goal, sol1, label, do not fit lm-eval's task"
    ):
        load_tasks(["piqa"], data)
    write(tmp_path / "odd_test.jsonl", {"context": "c", "choices": ["a", "b"], "label": 2})
    with pytest.raises(InputError, match=r"odd_test\.jsonl: row 1 has the label 2; it must be a choice, 0 to 1"):
        load_tasks(["odd"], data)
    (tmp_path / "boolq_validation.jsonl").write_text("{broken\n")
    with pytest.raises(InputError, match=r"boolq_validation\.jsonl: line 1 is not JSON"):
        load_tasks(["boolq"], data)
    (tmp_path / "hellaswag_validation.jsonl.gz").write_bytes(b"no gzip")
    with pytest.raises(InputError, match=r"hellaswag_validation\.jsonl\.gz"):
        load_tasks(["hellaswag"], data)
    (tmp_path / "arc_easy_test.jsonl").write_text("")
    with pytest.raises(InputError, match="holds no rows"):
        load_tasks(["arc_easy"], data)
    for variant in ("xl", "debiased"):
        shutil.copy(rows_dir / "winogrande_xl_validation.jsonl", tmp_path / f"winogrande_{variant}_validation.jsonl")
    with pytest.raises(InputError, match="all fit task winogrande, split validation"):
        load_tasks(["winogrande"], RowFolder(tmp_path))
    write(tmp_path / "mmlu_test.jsonl", {"question": "q", "subject": "tea", "choices": list("abcd"), "answer": 0})
    with pytest.raises(InputError, match=r"mmlu_test\.jsonl: has no row with the subject 'anatomy'"):
        load_tasks(["mmlu_anatomy"], RowFolder(tmp_path))


def test_a_hub_out_of_reach_is_said_with_the_way_round_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    with pytest.raises(InputError, match=r"task piqa: its rows cannot be had from the hub .*--data DIR"):
        load_tasks(["piqa"])


def test_the_flan_group_has_its_prompts_over_the_rows_of_mmlu_and_one_result(tmp_path: Path) -> None:
    folder = root() / FOLDERS["mmlu_flan_n_shot_loglikelihood"]
    subjects = sorted(path.stem.removeprefix("mmlu_") for path in folder.glob("mmlu_*.yaml"))
    assert len(subjects) == 57
    row = {"question": "Which?", "choices": ["one", "two", "three", "four"], "answer": 2}
    write(tmp_path / "mmlu_test.jsonl", *({**row, "subject": subject} for subject in subjects))
    found = load_tasks(["mmlu_flan_n_shot_loglikelihood"], RowFolder(tmp_path))
    assert len(found.tasks) == 57
    assert set(found.fewshot.values()) == {0}
    whole = found.groups["mmlu_flan_n_shot_loglikelihood"]
    assert sorted(task.config.task for task in whole.get_all_tasks()) == sorted(found.tasks)
    parts = {"stem", "other", "social_sciences", "humanities"}
    assert set(found.groups) == {whole.name, *(f"{whole.name}_{part}" for part in parts)}
    context, choice = requests(found.tasks["mmlu_flan_n_shot_loglikelihood_virology"])[2]
    assert context.endswith("Q: Which?\n(A) one (B) two (C) three (D) four\nA:")
    assert choice == " (C)"


def test_templates_are_compiled_once_and_lm_eval_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    from lm_eval.utils import apply_template, env

    compiled: list[str] = []
    plain = env.from_string

    def count(template: str) -> Any:
        compiled.append(template)
        return plain(template)

    monkeypatch.setattr(env, "from_string", count)
    with undisturbed():
        texts = [apply_template("{{a}} and {{b}}", {"a": i, "b": i + 1}) for i in range(3)]
    assert texts == ["0 and 1", "1 and 2", "2 and 3"]
    assert len(compiled) == 1
    assert env.from_string is count
