"""Stage evaluate: tasks and perplexity of a model, pruned or not."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from calibrant.artefacts.atomic import read_json
from calibrant.artefacts.output_place import check_places
from calibrant.artefacts.provenance import write_described
from calibrant.errors import InputError, one_line, shown
from calibrant.settings.stage_settings import EvaluateSettings
from calibrant.stages.compute import prepared
from calibrant.stages.stage import Input, Output, Stage, admit

OUTPUTS = Output(
    "outputs",
    "file of the dense model's outputs to write (.safetensors), for --dense",
    required=False,
    command="evaluate",
    suffix=".safetensors",
    rule="dense outputs are safetensors; the name must end in .safetensors",
)
FILES = (
    Input("model", "hub id or local directory"),
    Input("masks", "mask file of that model; without it the dense model is evaluated", required=False, kind="--masks"),
    Input(
        "data",
        "folder of task rows, <task>[_<variant>]_<split>.jsonl[.gz]; else from the hub",
        required=False,
    ),
    Input(
        "texts",
        "FILE[,FILE...] or NAME=FILE, whose perplexity to take",
        "text",
        required=False,
        many=True,
        commas=True,
    ),
    Input(
        "dense",
        "dense outputs (--outputs) of the same model, texts and tasks: adds divergence, agreement and flips",
        required=False,
        kind="--dense",
    ),
    Output(
        "output",
        "JSON file to write",
        required=False,
        command="evaluate",
        beside=(".provenance.json", ".measures.parquet"),
    ),
    OUTPUTS,
    Input(
        "batch",
        'JSON file [{"masks": FILE or null, "output": FILE}, ...]: variants of one model in one process, instead of '
        "--masks and --output",
        required=False,
        kind="--batch",
    ),
)
TEXT = Input("text", "a text", kind="--text")
VARIANT = Output(
    "output", "the results of one variant", command="evaluate", beside=(".provenance.json", ".measures.parquet")
)
Variant = tuple[Path | None, Path]  # masks, or None for the dense model, and where its results go


def evaluate(
    model: str | Path,
    output: str | Path | None = None,
    settings: EvaluateSettings = EvaluateSettings(),  # noqa: B008 - frozen
    *,
    masks: str | Path | None = None,
    texts: Sequence[str | Path] = (),
    data: str | Path | None = None,
    batch: str | Path | None = None,
    dense: str | Path | None = None,
    outputs: str | Path | None = None,
) -> list[list[dict[str, Any]]]:
    """Evaluate a model, or several of its variants, and write each one's results as soon as they are complete.

    Args:
        model: hub id or local directory.
        output: JSON file for the results; provenance lies beside it.
        settings: tasks, and how texts are measured.
        masks: mask file of that model; without it the dense model is evaluated.
        texts: files whose perplexity to take; `NAME=FILE` names one.
        data: folder of task rows; without it they come from the hub.
        batch: JSON file with several pairs of masks and output, in place of those two.
        dense: outputs of the dense model on the same texts and tasks: results are measured beside them, too.
        outputs: where to write those, when the dense model is among what is evaluated. It is evaluated first then, and
            other variants of a batch are measured beside it.

    Returns:
        The rows of results of each variant, in the order of the batch: task, metric, value, stderr, n.

    Raises:
        InputError: nothing to evaluate, an unusable input, or masks of another model.
    """
    if batch is not None and (masks is not None or output is not None):
        raise InputError("--batch takes the place of --masks and --output; give one or the other")
    files = {"model": model, "masks": masks, "data": data, "texts": texts, "output": output, "batch": batch}
    admit(FILES, settings, EvaluateSettings, **files, dense=dense, outputs=outputs)
    variants = _variants(masks, output, batch)
    named = [_text(str(item)) for item in texts]
    if outputs is not None and all(file is not None for file, _ in variants):
        raise InputError(f"--outputs {outputs}: are the dense model's; evaluate it, without --masks")
    if outputs is not None and dense is not None:
        raise InputError(f"--outputs {outputs}: --dense {dense} has the dense model's outputs; give one of the two")
    read = [model, data, batch, dense, *(file for file, _ in variants), *(file for _, file in named)]
    each = [place for _, path in variants for place in VARIANT.places(path)]
    each += OUTPUTS.places(outputs) if outputs is not None else []
    check_places(each, [Path(path) for path in read if path is not None])
    if data is not None:
        # Local rows mean no network: neither datasets nor the hub client may try it.
        os.environ.setdefault("HF_HUB_OFFLINE", "1" if Path(model).exists() else "0")
        os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
    os.environ.setdefault("TQDM_DISABLE", "1")  # lm-eval's bars; ours appear on terminals
    settings = prepared(settings)
    from calibrant.evaluation.measure_table import SUFFIX, write_measures
    from calibrant.evaluation.variants import evaluate_many

    found: dict[Path, list[dict[str, Any]]] = {}
    folder = Path(data) if data is not None else None
    # What others are measured beside comes first.
    ordered = variants if outputs is None else sorted(variants, key=lambda variant: variant[0] is not None)
    results = evaluate_many(
        model,
        [file for file, _ in ordered],
        settings,
        texts=named,
        data=folder,
        dense=None if dense is None else Path(dense),
        outputs=None if outputs is None else Path(outputs),
    )
    for (_, place), evaluation in zip(ordered, results, strict=True):
        if evaluation.measures:
            write_measures(place.with_suffix(SUFFIX), evaluation.measures, {"stage": "evaluate", **evaluation.record})
        write_described(place, evaluation.rows, {"stage": "evaluate", **evaluation.record})
        found[place] = evaluation.rows
        of = f"{place.name}: " if batch is not None else ""  # which variant
        for row in evaluation.rows:
            print(one_line(f"{of}{row['task']}: {row['metric']} {row['value']:.4g} (n {row['n']})"), file=sys.stderr)
    return [found[place] for _, place in variants]


def _text(item: str) -> tuple[str | None, Path]:
    """`NAME=FILE`, or a file whose own name may have a `=` in it."""
    name, equals, path = item.partition("=")
    named = bool(equals) and not Path(item).exists()
    if named and not name.isprintable():
        raise InputError(f"--text {name!r}=...: the name of a text must be printable characters")
    admit((TEXT,), text=path if named else item)
    if named and (not name or "/" in name):
        raise InputError(f"--text {shown(item)}: the name before = must be one word, which results are called by")
    return (name, Path(path)) if named else (None, Path(item))


def _variants(masks: str | Path | None, output: str | Path | None, batch: str | Path | None) -> list[Variant]:
    if batch is None:
        if output is None:
            raise InputError("--output is missing; give the JSON file to write, or several with --batch")
        return [(None if masks is None else Path(masks), Path(output))]
    listed = read_json(batch)
    if not isinstance(listed, list) or not listed:
        raise InputError(f"--batch {batch}: must be a list of objects with the keys masks and output")
    variants: list[Variant] = []
    for number, entry in enumerate(listed):
        if not isinstance(entry, dict) or set(entry) != {"masks", "output"} or not isinstance(entry["output"], str):
            raise InputError(f"--batch {batch}: entry {number} must have just the keys masks and output")
        if entry["masks"] is not None:
            admit((Input("masks", "a mask file", kind="--batch: masks"),), masks=str(entry["masks"]))
        variants.append((None if entry["masks"] is None else Path(str(entry["masks"])), Path(entry["output"])))
    return variants


STAGE = Stage(evaluate, FILES, EvaluateSettings)
