"""`calibrant evaluate`: tasks and perplexity of a model, pruned or not."""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from calibrant.artefacts.atomic import prepare_parent, read_json, write_json
from calibrant.artefacts.provenance import write_provenance
from calibrant.cli.common import add_compute_arguments, apply_compute_arguments, existing_file
from calibrant.errors import InputError

if TYPE_CHECKING:
    from calibrant.evaluation.variants import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `calibrant evaluate`."""
    parser.add_argument("--model", required=True, help="hub id or local directory")
    parser.add_argument("--masks", help="mask file of that model; without it the dense model is evaluated")
    parser.add_argument("--tasks", default="", help="names of lm-eval tasks or of your own, separated by commas")
    parser.add_argument("--data", help="folder of task rows, <task>[_<variant>]_<split>.jsonl[.gz]; else from the hub")
    parser.add_argument("--limit", type=int, help="at most so many documents of each task")
    parser.add_argument("--fewshot", default="", help="examples by task, as in mmlu=5,piqa=0 (mmlu 5, others 0)")
    parser.add_argument(
        "--text",
        action="append",
        default=[],
        help="FILE[,FILE...] or NAME=FILE, whose perplexity to take",
    )
    parser.add_argument("--text-tokens", type=int, help="only so many tokens of each text")
    parser.add_argument(
        "--text-average",
        default="corpus",
        help="corpus: perplexity of a whole text; document: mean of its documents' perplexities",
    )
    parser.add_argument("--length", type=int, help="window of perplexity (2048, or the model's longest if less)")
    parser.add_argument("--batch-tokens", type=int, help="tokens of one forward pass (2048 on CPUs, 16384 on GPUs)")
    parser.add_argument("--output", help="JSON file to write")
    parser.add_argument(
        "--batch",
        help='JSON file [{"masks": FILE or null, "output": FILE}, ...]: variants of one model in one process, '
        "instead of --masks and --output",
    )
    add_compute_arguments(parser)


def run(options: argparse.Namespace) -> None:
    """Evaluate and write the results, each file as soon as it is complete."""
    jobs = _jobs(options)
    for _, output in jobs:
        prepare_parent(output)
        if output.is_dir():
            raise InputError(f"--output {output} is a folder; give the name of a file")
    if options.data is not None:
        # Local rows mean no network: neither datasets nor the hub client may try it.
        os.environ.setdefault("HF_HUB_OFFLINE", "1" if Path(options.model).is_dir() else "0")
        os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
    os.environ.setdefault("TQDM_DISABLE", "1")  # lm-eval's bars; ours appear on terminals
    apply_compute_arguments(options)
    from calibrant.evaluation.variants import evaluate_many

    results = evaluate_many(
        options.model, [masks for masks, _ in jobs], _settings(options), dtype=options.dtype, device=options.device
    )
    for (_, output), evaluation in zip(jobs, results, strict=True):
        write_provenance(output, evaluation.record)
        write_json(output, evaluation.rows)
        for row in evaluation.rows:
            print(f"{row['task']}: {row['metric']} {row['value']:.4g} (n {row['n']})", file=sys.stderr)


def _settings(options: argparse.Namespace) -> "Settings":
    from calibrant.evaluation.variants import Settings

    return Settings(
        tasks=[name for name in options.tasks.split(",") if name],
        data=Path(options.data) if options.data is not None else None,
        limit=options.limit,
        fewshot=dict(_fewshot(item) for item in options.fewshot.split(",") if item),
        texts=[_text(item) for given in options.text for item in given.split(",") if item],
        text_tokens=options.text_tokens,
        text_average=options.text_average,
        length=options.length,
        batch_tokens=options.batch_tokens,
    )


def _fewshot(item: str) -> tuple[str, int]:
    name, equals, count = item.partition("=")
    if not name or not equals or not count.isdecimal():
        raise InputError(f"--fewshot {item}: must be TASK=NUMBER, as in mmlu=5")
    return name, int(count)


def _text(item: str) -> tuple[str | None, Path]:
    name, equals, path = item.partition("=")
    if equals and not Path(item).exists():
        return name, existing_file(path, "--text")
    return None, existing_file(item, "--text")


def _jobs(options: argparse.Namespace) -> list[tuple[Path | None, Path]]:
    """(masks, output) of each variant."""
    if options.batch is None:
        if options.output is None:
            raise InputError("--output is missing; give the JSON file to write, or several with --batch")
        masks = None if options.masks is None else existing_file(options.masks, "--masks")
        return [(masks, Path(options.output))]
    if options.masks is not None or options.output is not None:
        raise InputError("--batch takes the place of --masks and --output; give one or the other")
    listed = read_json(options.batch)
    if not isinstance(listed, list) or not listed:
        raise InputError(f"--batch {options.batch}: must be a list of objects with the keys masks and output")
    jobs: list[tuple[Path | None, Path]] = []
    for number, entry in enumerate(listed):
        if not isinstance(entry, dict) or set(entry) != {"masks", "output"} or not isinstance(entry["output"], str):
            raise InputError(f"--batch {options.batch}: entry {number} must have just the keys masks and output")
        masks = None if entry["masks"] is None else existing_file(str(entry["masks"]), "--batch: masks")
        jobs.append((masks, Path(entry["output"])))
    outputs = [output for _, output in jobs]
    for output in outputs:
        if outputs.count(output) > 1:
            raise InputError(f"--batch {options.batch}: the output {output} is named twice")
    return jobs
