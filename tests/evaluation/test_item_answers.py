"""Answers by item: against rows as their files have them, responses compared by hand, and lm-eval's own accuracies."""

import json
import random
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import pytest
from lm_eval.api.model import LM
from lm_eval.api.task import ConfigurableTask

from calibrant.errors import InputError
from calibrant.evaluation.evaluated_items import task_items
from calibrant.evaluation.likelihood.tree_scorer import Scorer
from calibrant.evaluation.tasks import task_results
from calibrant.evaluation.tasks.constant_answer import _right_choices
from calibrant.evaluation.tasks.item_answers import ItemAnswers, flips, item_answers
from calibrant.evaluation.tasks.lm_eval_model import TreeLM
from calibrant.evaluation.tasks.lm_eval_tasks import TaskSet, load_tasks, undisturbed
from calibrant.evaluation.tasks.row_folder import RowFolder
from calibrant.models.checkpoint.loading import load_model, load_tokenizer

Sample = dict[str, Any]
LABELS = {  # of a row as its file has it
    "piqa": lambda row: row["label"],
    "arc_easy": lambda row: row["choices"]["label"].index(row["answerKey"]),
    "arc_challenge": lambda row: row["choices"]["label"].index(row["answerKey"]),
    "hellaswag": lambda row: int(row["label"]),
    "winogrande": lambda row: int(row["answer"]) - 1,
    "boolq": lambda row: int(row["label"]),
    "mmlu": lambda row: row["answer"],
    "next_sentence_tales": lambda row: row["label"],
}
NORMED = {"piqa", "arc_easy", "arc_challenge", "hellaswag", "next_sentence_tales"}  # they have acc_norm, too


class Dice(LM):
    """Log-likelihoods of a few sizes, so that choices tie, each as its request's text has it."""

    def __init__(self, seed: int = 0, sizes: int = 5) -> None:
        super().__init__()
        self.seed, self.sizes = seed, sizes

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        drawn = [zlib.crc32(repr((self.seed, *request.args)).encode()) for request in requests]
        return [(-1.0 - each % self.sizes, each % 2 == 0) for each in drawn]

    loglikelihood_rolling = generate_until = loglikelihood


def evaluated(
    lm: Any, tasks: TaskSet, monkeypatch: pytest.MonkeyPatch, limit: int | None = None
) -> tuple[list[dict[str, Any]], dict[str, list[Sample]]]:
    """The rows of `task_rows`, which are the same without samples, and the samples."""
    plain = task_results.task_rows(lm, tasks, limit)
    evaluate, kept = task_results.lm_eval_evaluate, {}

    def logging(*arguments: Any, **options: Any) -> Any:
        kept.update(evaluate(*arguments, **options | {"log_samples": True}))
        return kept

    with monkeypatch.context() as patched:
        patched.setattr(task_results, "lm_eval_evaluate", logging)
        assert task_results.task_rows(lm, tasks, limit) == plain
    return plain, kept["samples"]


def chosen(metric: str, sample: Sample) -> int:
    """The best choice, by plain arithmetic on lm-eval's responses; choices as requests have them."""
    values = [responses[0][0] for responses in sample["resps"]]
    texts = [continuation.removeprefix(" ") for _, continuation in sample["arguments"]]
    if "acc_mutual_info" in sample["metrics"]:  # the second half of the requests are the choices alone
        half = len(values) // 2
        values, alone, texts = values[:half], values[half:], texts[half:]
        if metric == "acc_mutual_info":
            return first_best([one - other for one, other in zip(values, alone, strict=True)])
    if metric == "acc_norm":
        return first_best([value / len(text) for value, text in zip(values, texts, strict=True)])
    if metric == "acc_bytes":
        return first_best([value / len(text.encode()) for value, text in zip(values, texts, strict=True)])
    assert metric == "acc"
    return first_best(values)


def first_best(values: Sequence[float]) -> int:
    return max(range(len(values)), key=lambda position: values[position])


def labels(tasks: TaskSet, data: RowFolder) -> dict[str, list[int]]:
    """The right position of each item, from files."""
    found = {}
    for name, task in tasks.tasks.items():
        of_mmlu = name.startswith("mmlu_")
        group = "mmlu" if of_mmlu else name
        rows = data.read(data.find(group, task.config.test_split or task.config.validation_split) or Path("absent"))
        mine = [row for row in rows if not of_mmlu or row["subject"] == name.removeprefix("mmlu_")]
        found[name] = [LABELS[group](row) for row in mine]
    return found


def check(
    tasks: TaskSet, data: RowFolder, rows: list[dict[str, Any]], samples: dict[str, list[Sample]], limit: int | None
) -> list[ItemAnswers]:
    found = item_answers(tasks, samples)
    wanted = [
        (name, metric) for name in tasks.tasks for metric in ("acc", "acc_norm") if metric == "acc" or name in NORMED
    ]
    assert [(each.task, each.metric) for each in found] == wanted
    values = {(row["task"], row["metric"]): row for row in rows}
    positions = labels(tasks, data)
    for each in found:
        row = values[each.task, each.metric]
        assert sum(each.right) / len(each.right) == row["value"]
        assert len(each.items) == len(each.right) == row["n"]
        by_number = {sample["doc_id"]: sample for sample in samples[each.task]}
        assert each.items == [f"{each.task} {number}" for number in range(len(by_number))]
        assert each.answers == [chosen(each.metric, by_number[number]) for number in range(len(by_number))]
        rights = positions[each.task][:limit]
        assert each.right == [float(a == b) for a, b in zip(each.answers, rights, strict=True)]
    names = [item for each in task_items(tasks, limit) for item in each.names]
    assert sorted(names) == sorted(item for each in found if each.metric == "acc" for item in each.items)
    return found


@pytest.mark.parametrize("limit", [None, 3])
def test_every_kind_of_task_by_hand(rows_dir: Path, limit: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    data = RowFolder(rows_dir)
    tasks = load_tasks(list(LABELS), data)
    rows, samples = evaluated(Dice(), tasks, monkeypatch, limit)
    found = check(tasks, data, rows, samples, limit)
    by_key = {(each.task, each.metric): each for each in found}
    if limit is None:
        assert any(by_key[name, "acc"].answers != by_key[name, "acc_norm"].answers for name in NORMED)
        assert {answer for each in found for answer in each.answers or []} == {0, 1, 2, 3}
    shuffled = {name: random.Random(5).sample(each, len(each)) for name, each in samples.items()}
    assert item_answers(tasks, shuffled) == found


def test_a_model_answers_alike_in_every_batch(
    long_model_dir: Path, rows_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = RowFolder(rows_dir)
    tasks = load_tasks([*list(LABELS)[:6], "mmlu_anatomy", "next_sentence_tales"], data)
    model, tokenizer = load_model(long_model_dir, device="cpu"), load_tokenizer(long_model_dir)
    found = []
    for size in (64, 2048):
        lm = TreeLM(model, tokenizer, Scorer(model, batch_tokens=size))
        rows, samples = evaluated(lm, tasks, monkeypatch)
        found.append(check(tasks, data, rows, samples, None))
    assert found[0] == found[1]


def test_real_rows(shared_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of each task's rows: as they are, with their texts' own lengths and scripts."""
    folder = shared_dir / "realdata" / "eval"
    if not folder.is_dir():
        pytest.skip(f"the tasks' rows are not here ({folder}); set CALIBRANT_SHARED to run this test")
    whole = RowFolder(folder)
    for path in folder.iterdir():
        first = [row for row in whole.read(path) if row.get("subject", "marketing") == "marketing"][:60]
        lines = "".join(json.dumps(row) + "\n" for row in first)
        (tmp_path / path.name.removesuffix(".gz")).write_text(lines)
    data = RowFolder(tmp_path)
    tasks = load_tasks([*list(LABELS)[:6], "mmlu_marketing"], data)
    rows, samples = evaluated(Dice(sizes=1000), tasks, monkeypatch)
    check(tasks, data, rows, samples, None)


def made(rows: list[dict[str, Any]], metrics: Sequence[str], **config: Any) -> TaskSet:
    """A task over rows {"context", "choices", "label"} with any metrics and rules."""
    columns = datasets.DatasetDict({"test": datasets.Dataset.from_list(rows)})
    task = ConfigurableTask(
        config={
            "task": "made",
            "custom_dataset": lambda **_: columns,
            "output_type": "multiple_choice",
            "test_split": "test",
            "doc_to_text": "context",
            "doc_to_choice": "choices",
            "doc_to_target": "label",
            "metric_list": [{"metric": each, "aggregation": "mean", "higher_is_better": True} for each in metrics],
            "num_fewshot": 0,
            "metadata": {"version": "1.0"},
        }
        | config
    )
    return TaskSet({"made": task}, {}, {"made": 0})


def some_rows(count: int = 60, seed: int = 3) -> list[dict[str, Any]]:
    """Two to five choices of letters with one to four bytes each, so that characters and bytes disagree."""
    draw = random.Random(seed)
    rows = []
    for number in range(count):
        size = draw.randint(2, 5)
        choices = ["".join(draw.choices("aé語𝄞", k=draw.randint(1, 9))) + str(i) for i in range(size)]
        rows.append({"context": f"question {number}", "choices": choices, "label": draw.randrange(size)})
    return rows


def test_each_metric_chooses_by_its_own_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = ("acc", "acc_norm", "acc_bytes")
    rows = some_rows()
    answers = {}
    for asked in (metrics, ("acc", "acc_mutual_info")):
        tasks = made(rows, asked)
        values, samples = evaluated(Dice(), tasks, monkeypatch)
        found = item_answers(tasks, samples)
        assert [each.metric for each in found] == [row["metric"] for row in values] == list(asked)
        for each, row in zip(found, values, strict=True):
            assert each.answers == [chosen(each.metric, sample) for sample in samples["made"]]
            assert each.right == [float(a == row["label"]) for a, row in zip(each.answers, rows, strict=True)]
            assert sum(each.right) / len(rows) == row["value"]
            assert answers.setdefault(each.metric, each.answers) == each.answers
    assert len({tuple(each) for each in answers.values()}) == 4


def test_choices_inside_contexts_are_chosen_by_every_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in Winogrande, where the same end follows every choice; its length is not what acc_norm divides by."""
    rows = some_rows(40)
    metrics = ("acc", "acc_norm", "acc_bytes", "acc_mutual_info")
    tasks = made(rows, metrics, doc_to_text=lambda row: row["label"], doc_to_target=lambda row: "the end")
    values, samples = evaluated(Dice(), tasks, monkeypatch)
    assert samples["made"][0]["arguments"][0] == (rows[0]["choices"][0], " the end")
    for each, row in zip(item_answers(tasks, samples), values, strict=True):
        assert each.answers == [chosen(each.metric, sample) for sample in samples["made"]]
        assert each.right == [float(a == row["label"]) for a, row in zip(each.answers, rows, strict=True)]
        assert sum(each.right) / len(rows) == row["value"]


def test_several_right_choices_and_texts_as_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = some_rows(30)
    several = made(rows, ["acc"], doc_to_target=lambda row: [row["label"], 1])
    as_text = made(rows, ["acc"], doc_to_target=lambda row: row["choices"][row["label"]])
    by_kind = []
    for tasks in (several, as_text):
        values, samples = evaluated(Dice(), tasks, monkeypatch)
        (found,) = item_answers(tasks, samples)
        with undisturbed():
            rights = [_right_choices(tasks.tasks["made"], row) for row in rows]
        assert found.right == [float(a in right) for a, right in zip(found.answers or [], rights, strict=True)]
        assert sum(found.right) / len(rows) == values[0]["value"]
        by_kind.append(found)
    assert by_kind[0].answers == by_kind[1].answers
    assert sum(by_kind[0].right) > sum(by_kind[1].right)


def test_filters_are_kept_apart_and_named_as_in_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    filters = [{"name": name, "filter": [{"function": "take_first"}]} for name in ("none", "again")]
    tasks = made(some_rows(5), ["acc"], filter_list=filters)
    values, samples = evaluated(Dice(), tasks, monkeypatch)
    found = item_answers(tasks, samples)
    assert [each.metric for each in found] == [row["metric"] for row in values] == ["acc", "acc,again"]
    assert found[0].items == found[1].items
    assert found[0].answers is not None
    assert found[0].answers == found[1].answers


def test_no_answers_where_the_metric_is_no_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = some_rows(12)
    greedy = made(rows, ["exact_match", "acc"])
    values, samples = evaluated(Dice(), greedy, monkeypatch)
    found = {each.metric: each for each in item_answers(greedy, samples)}
    assert found["acc"].answers is not None
    assert found["exact_match"].answers is None
    assert set(found["exact_match"].right) == {0.0, 1.0}
    value = next(row["value"] for row in values if row["metric"] == "exact_match")
    assert sum(found["exact_match"].right) / 12 == value

    def shares(row: dict[str, Any], results: Any) -> dict[str, float]:
        share = {"acc": len(row["choices"]) / 8}
        return share | ({"odd": 1.0} if row["label"] else {})

    own = made(rows, ["acc"], process_results=shares)
    values, samples = evaluated(Dice(), own, monkeypatch)
    acc, odd = item_answers(own, samples)
    assert acc.answers is odd.answers is None
    assert acc.right == [len(row["choices"]) / 8 for row in rows]
    assert sum(acc.right) / 12 == values[0]["value"]
    assert odd.items == [f"made {i}" for i, row in enumerate(rows) if row["label"]]
    (tmp_path / "lambada_openai_test.jsonl").write_text('{"text": "the river carried small boats"}\n' * 3)
    said = load_tasks(["lambada_openai"], RowFolder(tmp_path))
    values, samples = evaluated(Dice(), said, monkeypatch)
    assert {row["metric"] for row in values} == {"acc", "perplexity"}
    (last,) = item_answers(said, samples)  # a perplexity is no mean of items
    assert (last.metric, last.answers) == ("acc", None)


def answered(*answers: int, task: str = "piqa", metric: str = "acc", start: int = 0) -> ItemAnswers:
    items = [f"{task} {start + i}" for i in range(len(answers))]
    return ItemAnswers(task, metric, items, [0.0] * len(items), list(answers))


def test_flips_are_answers_that_differ_right_or_wrong() -> None:
    assert flips(answered(0, 1, 2, 3), answered(0, 2, 2, 1)) == [0, 1, 0, 1]
    assert flips(answered(), answered()) == []


def test_flips_of_different_questions_are_refused() -> None:
    few, many = answered(0, 1), answered(*[0] * 8)
    with pytest.raises(InputError, match=r"piqa: only the other model answered piqa 2, piqa 3, piqa 4 and 3 more$"):
        flips(few, many)
    with pytest.raises(
        InputError, match=r"only the dense model answered piqa 0; only the other model answered piqa 2$"
    ):
        flips(few, answered(0, 1, start=1))
    turned = ItemAnswers("piqa", "acc", few.items[::-1], few.right, few.answers)
    with pytest.raises(InputError, match="another order, from piqa 1 on, in place of piqa 0"):
        flips(few, turned)
    for other in (answered(0, 1, metric="acc_norm"), answered(0, 1, task="boolq")):
        with pytest.raises(InputError, match=f"piqa acc cannot be compared with {other.task} {other.metric}"):
            flips(few, other)
    with pytest.raises(InputError, match="piqa: acc is no choice among an item's choices"):
        flips(few, ItemAnswers("piqa", "acc", few.items, few.right, None))
