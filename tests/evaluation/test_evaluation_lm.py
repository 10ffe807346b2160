"""The same requests through lm-eval's own `hf` model and through ours, in float32."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from lm_eval.api.instance import Instance
from lm_eval.evaluator import evaluate
from lm_eval.models.huggingface import HFLM

from calibrant.errors import InputError
from calibrant.evaluation.likelihood.tree_scorer import Scorer
from calibrant.evaluation.tasks.lm_eval_model import TreeLM
from calibrant.evaluation.tasks.lm_eval_tasks import TaskSet, load_tasks
from calibrant.evaluation.tasks.row_folder import RowFolder
from calibrant.evaluation.variants import task_rows
from calibrant.models.checkpoint.loading import load_model, load_tokenizer

PUBLISHED = ["piqa", "arc_easy", "arc_challenge", "hellaswag", "winogrande", "boolq", "next_sentence_tales"]


def hf_results(model: Any, tokenizer: Any, tasks: TaskSet, limit: int | None = None) -> Any:
    reference = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=4)
    return evaluate(reference, tasks.as_lm_eval(), limit=limit, bootstrap_iters=1000)


def compare(model_dir: Path, tasks: TaskSet, limit: int | None = None, tree: bool = True) -> list[dict[str, Any]]:
    """Our rows, after checking log-likelihoods, accuracies and standard errors against lm-eval's `hf`."""
    model, tokenizer = load_model(model_dir, device="cpu"), load_tokenizer(model_dir)
    expected = hf_results(model, tokenizer, tasks, limit)
    answers = {
        name: [r for task in [tasks.tasks[name]] for i in task.instances for r in i.resps] for name in tasks.tasks
    }
    lm = TreeLM(model, tokenizer, Scorer(model, batch_tokens=300, tree=tree))
    rows = task_rows(lm, tasks, limit)
    for name, task in tasks.tasks.items():
        ours = [response for instance in task.instances for response in instance.resps]
        assert len(ours) == len(answers[name]) > 0
        for (value, greedy), (wanted, wanted_greedy) in zip(ours, answers[name], strict=True):
            assert value == pytest.approx(wanted, abs=1e-4)
            assert greedy == wanted_greedy
    for row in rows:
        found = {**expected["results"], **expected.get("groups", {})}[row["task"]]
        assert row["value"] == pytest.approx(found[f"{row['metric']},none"], abs=1e-12)
        assert row["stderr"] == pytest.approx(found[f"{row['metric']}_stderr,none"], abs=1e-12)
        assert row["n"] == found["sample_len"]
        assert row["task_version"] == str(expected["versions"][row["task"]])
    return rows


@pytest.mark.parametrize("tree", [True, False])
def test_published_tasks_agree_with_lm_eval(long_model_dir: Path, rows_dir: Path, tree: bool) -> None:
    rows = compare(long_model_dir, load_tasks(PUBLISHED, RowFolder(rows_dir)), tree=tree)
    metrics = {(row["task"], row["metric"]) for row in rows}
    both = ("piqa", "arc_easy", "arc_challenge", "hellaswag", "next_sentence_tales")
    assert metrics == {(t, m) for t in both for m in ("acc", "acc_norm")} | {("winogrande", "acc"), ("boolq", "acc")}
    assert {row["split"] for row in rows if row["task"].startswith(("arc", "next"))} == {"test"}
    assert {row["split"] for row in rows if row["task"] in ("piqa", "hellaswag", "winogrande", "boolq")} == {
        "validation"
    }
    assert all(row["num_fewshot"] == 0 for row in rows)


def test_mmlu_agrees_with_lm_eval_in_every_subject_and_as_a_group(long_model_dir: Path, rows_dir: Path) -> None:
    rows = compare(long_model_dir, load_tasks(["mmlu"], RowFolder(rows_dir)))
    first = rows[0]
    assert (first["task"], first["metric"], first["n"], first["num_fewshot"]) == ("mmlu", "acc", 114, 5)
    subjects = [row for row in rows if row["n"] == 2]
    assert len(subjects) == 57
    assert first["value"] == pytest.approx(sum(row["value"] for row in subjects) / 57)
    assert {"mmlu_stem", "mmlu_other", "mmlu_humanities", "mmlu_social_sciences"} <= {row["task"] for row in rows}


def test_contexts_cut_to_the_models_length_agree_with_lm_eval(tiny_model_dir: Path, rows_dir: Path) -> None:
    tasks = load_tasks(["mmlu_anatomy", "boolq", "piqa"], RowFolder(rows_dir), {"mmlu_anatomy": 5})
    compare(tiny_model_dir, tasks)  # 128 tokens: five examples do not fit
    lengths = [len(instance.args[0]) for instance in tasks.tasks["mmlu_anatomy"].instances]
    assert min(lengths) > 300


def test_real_rows_agree_with_lm_eval(long_model_dir: Path, shared_dir: Path) -> None:
    names = ["piqa", "arc_easy", "arc_challenge", "hellaswag", "winogrande", "boolq", "mmlu_marketing"]
    compare(long_model_dir, load_tasks(names, RowFolder(shared_dir / "realdata" / "eval")), limit=2)


def test_empty_contexts_rolling_texts_and_token_requests_agree_with_lm_eval(tiny_model_dir: Path) -> None:
    model, tokenizer = load_model(tiny_model_dir, device="cpu"), load_tokenizer(tiny_model_dir)
    reference, ours = HFLM(pretrained=model, tokenizer=tokenizer), TreeLM(model, tokenizer, Scorer(model))
    pairs = [("", " the river"), ("", "<s>old stones"), ("warm bread ", "and law"), ("<s>grey", " water"), ("a", "b")]

    def instances(kind: str, arguments: list[tuple[str, ...]]) -> list[Instance]:
        return [
            Instance(request_type=kind, doc={}, arguments=a, idx=0, metadata=("t", i, 1))
            for i, a in enumerate(arguments)
        ]

    wanted = reference.loglikelihood(instances("loglikelihood", pairs), disable_tqdm=True)
    found = ours.loglikelihood(instances("loglikelihood", pairs), disable_tqdm=True)
    for (value, greedy), (expected, expected_greedy) in zip(found, wanted, strict=True):
        assert value == pytest.approx(expected, abs=1e-4)
        assert greedy == expected_greedy
    texts = [("the mountain wind " * 60,), ("dawn",)]
    rolled = ours.loglikelihood_rolling(instances("loglikelihood_rolling", texts), disable_tqdm=True)
    expected_rolled = reference.loglikelihood_rolling(instances("loglikelihood_rolling", texts), disable_tqdm=True)
    assert rolled == pytest.approx(expected_rolled, rel=1e-5)
    tokens = [(("a", "b"), [3, 4, 5], [6, 7]), (("a", "c"), [3, 4, 5], [8])]
    assert [v for v, _ in ours._loglikelihood_tokens(tokens)] == pytest.approx(
        [v for v, _ in reference._loglikelihood_tokens(tokens, disable_tqdm=True)], abs=1e-4
    )


def test_evaluation_repeats_itself_and_leaves_global_generators_alone(long_model_dir: Path, rows_dir: Path) -> None:
    model, tokenizer = load_model(long_model_dir, device="cpu"), load_tokenizer(long_model_dir)
    tasks = load_tasks(["piqa", "next_sentence_tales"], RowFolder(rows_dir))
    before = (random.getstate(), torch.get_rng_state())
    lm = TreeLM(model, tokenizer, Scorer(model))
    first, second = task_rows(lm, tasks), task_rows(lm, tasks)
    assert first == second
    assert random.getstate() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])


def test_a_tokenizer_without_an_end_of_text(tiny_model_dir: Path) -> None:
    """Its tasks are run, but for contexts that are empty: nothing is there to stand in their place."""
    model, tokenizer = load_model(tiny_model_dir, device="cpu"), load_tokenizer(tiny_model_dir)
    named = TreeLM(model, tokenizer, Scorer(model))
    bare = load_tokenizer(tiny_model_dir)
    bare.bos_token = bare.eos_token = None
    lm = TreeLM(model, bare, Scorer(model))
    asked = [Instance("loglikelihood", {}, ("the river", " carried"), 0, ("t", 0, 1))]
    assert lm.loglikelihood(asked, disable_tqdm=True) == named.loglikelihood(asked, disable_tqdm=True)
    empty = [Instance("loglikelihood", {}, ("", " carried"), 0, ("t", 0, 1))]
    with pytest.raises(InputError, match="the tokenizer names no beginning-of-text or end-of-text token"):
        lm.loglikelihood(empty, disable_tqdm=True)
