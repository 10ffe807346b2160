"""The best constant answer: against every constant answer given to lm-eval's own scoring, and against plain counts."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lm_eval.config.group import AggMetricConfig

from calibrant.cli.main import main
from calibrant.evaluation.tasks.constant_answer import constant_accuracy, right_positions
from calibrant.evaluation.tasks.lm_eval_tasks import TaskSet, load_tasks, undisturbed
from calibrant.evaluation.tasks.row_folder import RowFolder

FLAN = "mmlu_flan_n_shot_loglikelihood"
Row = dict[str, Any]
LABELS: dict[str, tuple[str, Callable[[Row], object]]] = {  # the split, and a row's label as its file has it
    "boolq": ("validation", lambda row: row["label"]),
    "winogrande": ("validation", lambda row: row["answer"]),
    "piqa": ("validation", lambda row: row["label"]),
    "hellaswag": ("validation", lambda row: row["label"]),
    "arc_easy": ("test", lambda row: row["answerKey"]),
    "arc_challenge": ("test", lambda row: row["answerKey"]),
    "mmlu": ("test", lambda row: row["answer"]),
}
SEVEN = list(LABELS)


def write(path: Path, rows: list[Row]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def constant(task: Any, document: Any, position: int, metric: str) -> float:
    """What lm-eval gives for an answer whose likeliest choice is the one at `position`; wrong where there is none."""
    count = len(task.doc_to_choice(document))
    if position >= count:
        return 0.0
    answers = [(0.0, True) if each == position else (-1000.0, False) for each in range(count)]
    return float(task.process_results(document, answers)[metric])


def by_brute_force(tasks: TaskSet, name: str, metric: str, limit: int | None = None) -> float:
    """The best of the constant answers 0 to 9, each scored and averaged by lm-eval, of groups by lm-eval too."""
    group = tasks.groups.get(name)
    members = group.get_all_tasks() if group else [tasks.tasks[name]]
    best = 0.0
    with undisturbed():
        documents = {task.task_name: list(task.eval_docs)[:limit] for task in members}
        for position in range(10):
            scores = {
                task.task_name: [constant(task, each, position, metric) for each in documents[task.task_name]]
                for task in members
            }
            found: dict[str, Any] = {
                each: {f"{metric},none": sum(s) / len(s), "sample_len": len(s)} for each, s in scores.items()
            }
            whole = group.aggregate(found) if group else found[name]  # type: ignore[arg-type]
            best = max(best, whole[f"{metric},none"])
    return best


def chance(tasks: TaskSet, name: str, metric: str = "acc", limit: int | None = None) -> float | None:
    return constant_accuracy(name, metric, tasks, right_positions(tasks, limit))


@pytest.mark.parametrize("limit", [None, 1, 5])
def test_the_papers_tasks_and_ones_own_by_brute_force(rows_dir: Path, limit: int | None) -> None:
    tasks = load_tasks([*SEVEN, "next_sentence_tales"], RowFolder(rows_dir))
    for name in [*tasks.groups, *tasks.tasks]:
        assert chance(tasks, name, limit=limit) == pytest.approx(by_brute_force(tasks, name, "acc", limit), abs=1e-12)
    for name in ("piqa", "hellaswag", "arc_easy", "arc_challenge", "next_sentence_tales"):
        found = chance(tasks, name, "acc_norm", limit)
        assert found == chance(tasks, name, "acc", limit)
        assert found == pytest.approx(by_brute_force(tasks, name, "acc_norm", limit), abs=1e-12)


def test_of_rows_counted_by_hand(rows_dir: Path) -> None:
    """Each task's label as its rows have it, without lm-eval."""
    data = RowFolder(rows_dir)
    tasks = load_tasks(SEVEN, data)
    for name, (split, label) in LABELS.items():
        rows = data.read(data.find(name, split) or Path("absent"))
        assert chance(tasks, name) == max(Counter(map(label, rows)).values()) / len(rows)


def test_an_item_with_fewer_choices_counts_as_wrong_and_texts_may_be_labels(tmp_path: Path) -> None:
    rows = [
        {"id": str(i), "question_stem": f"Is it {i}?", "choices": {"text": texts, "label": names}, "answerKey": key}
        for i, (texts, names, key) in enumerate(
            [
                (["a", "b"], ["A", "B"], "A"),
                (["a", "b", "c", "d", "e"], list("ABCDE"), "E"),
                (["a", "b", "c", "d", "e"], list("ABCDE"), "E"),
                (["a", "b", "c"], ["1", "2", "3"], "2"),
            ]
        )
    ]
    write(tmp_path / "openbookqa_test.jsonl", rows)
    tasks = load_tasks(["openbookqa"], RowFolder(tmp_path))
    assert chance(tasks, "openbookqa") == 1 / 2 == by_brute_force(tasks, "openbookqa", "acc")
    assert chance(tasks, "openbookqa", limit=1) == 1
    assert chance(tasks, "openbookqa", limit=2) == 1 / 2
    task = tasks.tasks["openbookqa"]
    task.config.doc_to_target = lambda document: document["choices"]["text"][0]
    assert chance(tasks, "openbookqa") == 1
    task.config.doc_to_target = lambda document: "no choice of it"
    assert chance(tasks, "openbookqa") == 0


def test_an_item_with_several_right_choices_is_answered_by_each(tmp_path: Path) -> None:
    choices = ["p", "q", "r", "s"]
    rights = [[0, 1], [1, 3], [1], [2, 9]]
    write(
        tmp_path / "many_test.jsonl",
        [{"context": f"q{i}", "choices": choices, "label": 0, "rights": right} for i, right in enumerate(rights)],
    )
    tasks = load_tasks(["many"], RowFolder(tmp_path))
    task = tasks.tasks["many"]
    task.multiple_target = 2
    task.config.doc_to_target = lambda document: rights[int(document["context"][1:])]
    assert chance(tasks, "many") == 3 / 4 == by_brute_force(tasks, "many", "acc")


@settings(max_examples=25)
@given(
    st.lists(st.lists(st.tuples(st.integers(2, 5), st.integers(0, 4)), min_size=1, max_size=5), min_size=2, max_size=4),
    st.booleans(),
)
def test_a_group_gives_one_answer_to_all_its_items_by_lm_evals_weights(
    tmp_path_factory: pytest.TempPathFactory, members: list[list[tuple[int, int]]], by_size: bool
) -> None:
    folder = tmp_path_factory.mktemp("members")
    for number, items in enumerate(members):
        rows = [
            {"context": f"c{i}", "choices": [f"x{j}" for j in range(count)], "label": label % count}
            for i, (count, label) in enumerate(items)
        ]
        write(folder / f"part{number}_test.jsonl", rows)
    alone = load_tasks([f"part{number}" for number in range(len(members))], RowFolder(folder))
    tasks = TaskSet(alone.tasks, {"whole": group(alone, by_size)}, alone.fewshot)
    assert chance(tasks, "whole") == pytest.approx(by_brute_force(tasks, "whole", "acc"), abs=1e-12)
    for name in alone.tasks:
        assert chance(tasks, name) == pytest.approx(by_brute_force(tasks, name, "acc"), abs=1e-12)


def group(tasks: TaskSet, by_size: bool) -> Any:
    from lm_eval.api.group import Group

    made = Group("whole", aggregate_metric_list=[AggMetricConfig("acc", weight_by_size=by_size)])
    for task in tasks.tasks.values():
        made.add(task)
    return made


def test_no_constant_answer_where_no_choice_is_made(rows_dir: Path, tmp_path: Path) -> None:
    write(tmp_path / "lambada_openai_test.jsonl", [{"text": "the river carried small boats"}])
    said = load_tasks(["lambada_openai"], RowFolder(tmp_path))
    assert chance(said, "lambada_openai") is None
    tasks = load_tasks(["piqa", "arc_easy"], RowFolder(rows_dir))
    for metric in ("exact_match", "f1", "perplexity"):
        assert chance(tasks, "piqa", metric) is None
    mixed = TaskSet({**tasks.tasks, **said.tasks}, {}, {})
    mixed.groups["whole"] = group(mixed, by_size=True)
    assert chance(mixed, "whole") is None
    tasks.tasks["piqa"].config.process_results = lambda document, results: {"acc": 0.5}
    assert chance(tasks, "piqa") is None
    assert chance(tasks, "arc_easy") is not None


def test_results_record_it_whatever_the_batch(long_model_dir: Path, rows_dir: Path, tmp_path: Path) -> None:
    names = ["winogrande", "boolq", "arc_challenge", "next_sentence_tales"]
    text = tmp_path / "tale.txt"
    text.write_text("the old house by the river " * 40)
    found = []
    for size in (64, 1024):
        output = tmp_path / f"{size}.json"
        asked = ["evaluate", "--model", long_model_dir, "--tasks", ",".join(names), "--data", rows_dir, "--limit", 6]
        asked += ["--text", text, "--batch-tokens", size, "--device", "cpu", "--output", output]
        assert main([str(each) for each in asked]) == 0
        found.append(
            {(row["task"], row["metric"]): row.get("chance", "none") for row in json.loads(output.read_text())}
        )
    assert found[0] == found[1]
    assert found[0].pop(("tale", "perplexity")) == "none"
    tasks = load_tasks(names, RowFolder(rows_dir))
    assert found[0] == {key: by_brute_force(tasks, *key, limit=6) for key in found[0]}
    assert {task for task, _ in found[0]} == set(names)


def test_mmlu_in_either_way_of_asking_has_the_same(tmp_path: Path, rows_dir: Path) -> None:
    rows = RowFolder(rows_dir)
    tasks = load_tasks(["mmlu"], rows)
    flan = load_tasks([FLAN], rows, {FLAN: 0})
    assert chance(tasks, "mmlu") == chance(flan, FLAN) == by_brute_force(flan, FLAN, "acc")


def test_real_rows(shared_dir: Path) -> None:
    """The whole evaluation split of each of the paper's tasks, counted by its rows' labels."""
    folder = shared_dir / "realdata" / "eval"
    if not folder.is_dir():
        pytest.skip(f"the tasks' rows are not here ({folder}); set CALIBRANT_SHARED to run this test")
    data = RowFolder(folder)
    tasks = load_tasks(SEVEN, data, dict.fromkeys(SEVEN, 0))
    right = right_positions(tasks)
    for name in SEVEN:
        split, label = LABELS[name]
        rows = data.read(data.find(name, split) or folder)
        found = constant_accuracy(name, "acc", tasks, right)
        assert found == max(Counter(map(label, rows)).values()) / len(rows)
        members = tasks.groups[name].get_all_tasks() if name in tasks.groups else [tasks.tasks[name]]
        assert sum(each.items for task in members if (each := right[task.config.task])) == len(rows)
