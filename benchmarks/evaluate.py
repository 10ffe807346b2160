"""Evaluation against lm-eval's own `hf` model: the same documents, tokens, metrics and machine.

Rows come from `--data DIR` (`<task>_<split>.jsonl[.gz]`, as for `calibrant evaluate --data`). Every case builds
requests, tokenises and scores; loading the model is left out. `hf` runs at each batch size of `--batch-sizes` (its
default is 1); the ratio that counts is against the fastest of them. MMLU takes `--questions` of each of its 57
subjects: the five examples of a subject are computed once for it, so the ratio grows with that number, which a second,
larger number (`--more`) shows.
"""

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import torch
from common import Comparison, arguments, compare, parse, report
from lm_eval.evaluator import evaluate as lm_eval_evaluate
from lm_eval.models.huggingface import HFLM

from calibrant.evaluation.likelihood.tree_scorer import Scorer
from calibrant.evaluation.tasks.lm_eval_model import TreeLM
from calibrant.evaluation.tasks.lm_eval_tasks import TaskSet, load_tasks
from calibrant.evaluation.tasks.row_folder import RowFolder
from calibrant.evaluation.variants import task_rows
from calibrant.models.checkpoint.loading import load_model, load_tokenizer

DOCUMENTS = {"hellaswag": 24, "piqa": 48, "arc_easy": 32, "arc_challenge": 32}
MMLU = "mmlu"
TEST_QUESTIONS = 14042 / 57  # of a subject, in the whole test split
Answers = dict[str, list[tuple[float, bool]]]


def main() -> None:
    """Run it."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--data", type=Path, required=True, help="folder of task rows")
    parser.add_argument("--tasks", default=",".join([*DOCUMENTS, MMLU]), help="which to run")
    parser.add_argument("--documents", type=int, help=f"of each task (default {DOCUMENTS})")
    parser.add_argument("--questions", type=int, default=2, help="of each MMLU subject (default 2)")
    parser.add_argument("--more", type=int, default=8, help="of each MMLU subject, ours alone (0: skip)")
    parser.add_argument("--batch-sizes", default="1,16,64", help="of hf (default 1,16,64)")
    parser.add_argument("--mmlu-batch-sizes", default="1,16", help="64 would need some 12 GB for logits alone")
    options = parse(parser)
    comparisons, facts = [], {}
    model = load_model(options.model, dtype=options.dtype, device="cpu")
    tokenizer = load_tokenizer(options.model)
    for name in options.tasks.split(","):
        sizes = options.mmlu_batch_sizes if name == MMLU else options.batch_sizes
        documents = options.questions if name == MMLU else options.documents or DOCUMENTS.get(name, 32)
        tasks = load_tasks([name], RowFolder(options.data))
        comparison, found = _task(model, tokenizer, name, tasks, documents, list(map(int, sizes.split(","))), options)
        comparisons.append(comparison)
        facts.update(found)
    facts.update(_parity(options, tokenizer))
    report("evaluate", comparisons, options.output, facts, options.dtype)


def _task(
    model: Any, tokenizer: Any, name: str, tasks: TaskSet, documents: int, sizes: list[int], options: Any
) -> tuple[Comparison, dict[str, Any]]:
    cases: dict[str, Callable[[], Any]] = {
        f"hf, batch {size}": lambda size=size: _hf(model, tokenizer, tasks, documents, size)[0] for size in sizes
    }
    cases["calibrant"] = lambda: _ours(model, tokenizer, tasks, documents)[0]
    _ours(model, tokenizer, tasks, 1)  # rows are prepared once for all cases
    amount = documents * len(tasks.tasks)
    many = len(tasks.tasks) > 1
    title = f"{name}, {documents} questions of each subject" if many else f"{name}, {amount} documents"
    title += f", {options.dtype}"
    comparison, results = compare(title, cases, repeats=options.repeats, warm_up=0, amount=amount, unit="documents")
    for case, accuracy in results.items():
        comparison.notes[case] = f"accuracy {accuracy:.4f}"
    best = min(cases.keys() - {"calibrant"}, key=lambda case: statistics.median(comparison.processor[case]))
    ours = comparison.processor["calibrant"]
    processor = statistics.median(b / o for b, o in zip(comparison.processor[best], ours, strict=True))
    facts = {
        f"{name}: times {best}, the best": f"{comparison.ratio('calibrant', best):.2f} "
        f"(by processor time {processor:.2f})"
    }
    if name == MMLU and options.more:
        facts.update(_growth(model, tokenizer, tasks, documents, options.more, comparison, best))
    return comparison, facts


def _growth(
    model: Any, tokenizer: Any, tasks: TaskSet, few: int, many: int, comparison: Comparison, best: str
) -> dict[str, Any]:
    """Seconds as examples + questions, from two numbers of questions; hf's are per question."""
    larger, _ = compare(
        f"{MMLU}, {many} questions of each subject", {"calibrant": lambda: _ours(model, tokenizer, tasks, many)[0]},
        repeats=1, warm_up=0,
    )  # fmt: skip
    ours_few = statistics.median(comparison.processor["calibrant"])
    ours_many = larger.processor["calibrant"][0]
    question = (ours_many - ours_few) / (many - few)
    examples = ours_few - few * question
    hf = statistics.median(comparison.processor[best]) / few
    ratios = ", ".join(f"{n:.0f}: {n * hf / (examples + n * question):.1f}" for n in (1, few, many, 32, TEST_QUESTIONS))
    return {
        "mmlu: processor seconds for all subjects": f"examples {examples:.1f}, then {question:.2f} for each "
        f"question of a subject (from {few} and {many}, measured); {best} {hf:.2f} for each question",
        "mmlu: ratio by questions of a subject, from these": ratios,
    }


def _hf(model: Any, tokenizer: Any, tasks: TaskSet, limit: int, batch_size: int) -> tuple[float, Answers]:
    lm = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch_size)
    found = lm_eval_evaluate(lm, tasks.as_lm_eval(), limit=limit, log_samples=False, bootstrap_iters=1000)
    name = next(iter([*tasks.groups, *tasks.tasks]))
    return float((found.get("groups") or {}).get(name, found["results"][name])["acc,none"]), _answers(tasks)


def _ours(model: Any, tokenizer: Any, tasks: TaskSet, limit: int) -> tuple[float, Answers]:
    rows = task_rows(TreeLM(model, tokenizer, Scorer(model)), tasks, limit)
    return next(row["value"] for row in rows if row["metric"] == "acc"), _answers(tasks)


def _answers(tasks: TaskSet) -> Answers:
    return {name: [r for i in task.instances for r in i.resps] for name, task in tasks.tasks.items()}


def _parity(options: argparse.Namespace, tokenizer: Any) -> dict[str, Any]:
    """How far float32 and the number format that was timed are from float64, for hf and for us."""
    names = ["mmlu_anatomy" if name == MMLU else name for name in options.tasks.split(",")]
    tasks = load_tasks(names, RowFolder(options.data))
    limit = 2
    found: dict[str, Answers] = {}
    for dtype in dict.fromkeys(("float32", options.dtype)):
        model = load_model(options.model, dtype=dtype, device="cpu")
        found[f"hf {dtype}"] = _hf(model, tokenizer, tasks, limit, 1)[1]
        found[f"calibrant {dtype}"] = _ours(model, tokenizer, tasks, limit)[1]
    truth = _plain(load_model(options.model, dtype="float32", device="cpu").double(), tokenizer, tasks)
    differences = {name: _differences(truth, answers) for name, answers in found.items()}
    same = all(a[1] == b[1] for a, b in zip(_flat(found["hf float32"]), _flat(found["calibrant float32"]), strict=True))
    return {
        f"log-likelihoods of {limit} documents of each of {', '.join(names)}, largest distance from float64": ", ".join(
            f"{name} {max(away):.2g}" for name, away in differences.items()
        ),
        "the same, mean distance": ", ".join(f"{name} {statistics.fmean(x):.2g}" for name, x in differences.items()),
        "greedy answers in float32": "the same as hf's" if same else "DIFFER from hf's",
    }


def _plain(model: Any, tokenizer: Any, tasks: TaskSet) -> Answers:
    """One whole sequence for each request, by transformers alone."""
    encoder = TreeLM(model, tokenizer, Scorer(model, tree=False))
    answers: Answers = {}
    for name, task in tasks.tasks.items():
        answers[name] = []
        for instance in task.instances:
            before, after = encoder._encode_pair(*instance.args)
            logits = model(torch.tensor([(before + after)[:-1]])).logits[0, -len(after) :]
            logs = logits.log_softmax(-1).gather(1, torch.tensor(after)[:, None])
            answers[name].append((float(logs.sum()), False))
    return answers


def _flat(answers: Answers) -> list[tuple[float, bool]]:
    return [answer for rows in answers.values() for answer in rows]


def _differences(one: Answers, other: Answers) -> list[float]:
    return [abs(a[0] - b[0]) for a, b in zip(_flat(one), _flat(other), strict=True)]


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    datasets.disable_progress_bars()
    main()
