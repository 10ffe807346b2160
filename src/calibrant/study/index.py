"""The index of a study: every run and where its results lie, as `calibrant summarize` reads it."""

import os
import platform
from pathlib import Path
from typing import Any

from calibrant.study.grid import Run, SetKey, format_number, runs
from calibrant.study.layout import Layout


def study_index(config: dict[str, Any], model_record: dict[str, Any], packages: str = "") -> dict[str, Any]:
    """Describe a resolved study.

    Args:
        config: a configuration as `resolve_config` returns it.
        model_record: the model's provenance sidecar.
        packages: versions of what the results depend on besides Calibrant.
    """
    layout = Layout(config["study"])
    found = runs(config)
    keys = sorted({run.calibration for run in found if run.calibration})
    return {
        "study": {
            "name": config["study"],
            "title": config["title"],
            "model": {"id": str(model_record.get("id", "model")), **_present(config["model"], "note", "licence")},
            "settings": settings(config, found),
            "sources": [{"name": name} for name in config["sources"]],
            "tasks": [_task(name, spec) for name, spec in config["tasks"].items()],
            "machine": machine(config, packages),
        },
        "runs": [_run(run, layout, str(model_record.get("id", "model"))) for run in found],
        "scores": _tables(keys, layout.scores),
        "samples": _tables(keys, lambda k: layout.calibration_set(k) if k.origin == "real" else layout.generated(k)),
        "provenance": [
            {"kind": "model", "name": "model", "path": layout.provenance("model", "")},
            *({"kind": "source", "name": n, "path": layout.provenance("sources", n)} for n in config["sources"]),
            *({"kind": "text", "name": n, "path": layout.provenance("texts", n)} for n in config["texts"]),
        ],
    }


def settings(config: dict[str, Any], found: list[Run]) -> list[dict[str, Any]]:
    """What a reader must know to judge the numbers, in the order of the stages."""
    calibration, generation, evaluation = config["calibration"], config["generation"], config["evaluation"]
    sizes = sorted({run.calibration.samples for run in found if run.calibration})
    pairs = {
        "Calibration sets": f"{', '.join(map(str, sizes))} sequences of {calibration['length']} tokens",
        "Sampler": "windows of the concatenated documents"
        if calibration["packing"] == "stream"
        else "windows of single documents",
        "Seeds": f"{len({run.calibration.seed for run in found if run.calibration})} for each source",
        "Generated samples": f"{generation['samples']} for each source, prefix of {generation['prefix_length']} tokens",
        "Decoding": f"top-k {generation['top_k']}, top-p {generation['top_p']}, temperature "
        f"{generation['temperature']}, repetition penalty {generation['repetition_penalty']}",
        "End of text": "suppressed: no special token is sampled"
        if generation["end_of_text"] == "suppress"
        else "a sample ends where the model ends it; samples are packed",
        "Filter": f"the {format_number(100 * config['filter']['drop'])} % of highest perplexity are dropped "
        f"(scored on the {config['scoring']['span']})",
        "Min-K%++": f"lowest {format_number(config['scoring']['min_k'])} % of the tokens",
        "Perplexity": f"windows of {evaluation['length']} tokens, "
        + (
            f"the first {evaluation['text_tokens']} tokens of each text" if evaluation["text_tokens"] else "whole texts"
        ),
        "Task items": f"at most {evaluation['limit']} a task" if evaluation["limit"] else "all",
        "Number format": str(config["compute"]["dtype"]),
    }
    options = config["pruning"]["options"]
    if options:
        pairs["Method options"] = ", ".join(f"{key}={value}" for key, value in sorted(options.items()))
    return [{"name": name, "value": value} for name, value in pairs.items()]


def machine(config: dict[str, Any], packages: str) -> list[dict[str, Any]]:
    """The machine that wrote the index; no clock times, so that a rerun gives the same bytes."""
    pairs = {
        "Processor": _processor(),
        "Cores": f"{os.cpu_count()}, {config['compute']['threads']} for each job",
        "System": f"{platform.system()}, Python {platform.python_version()}",
    }
    if packages:
        pairs["Packages"] = packages
    return [{"name": name, "value": value} for name, value in pairs.items()]


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _task(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    if spec.get("kind") == "next_sentence":
        return {
            "name": name,
            "label": f"Next sentence, {spec['source'].replace('_', ' ')}",
            "metric": "acc",
            "chance": 0.25,
        }
    return {"name": name}


def _run(run: Run, layout: Layout, model: str) -> dict[str, Any]:
    key = run.calibration
    return {
        "evaluation": layout.evaluation(run),
        "model": model,
        "method": run.method,
        "sparsity": run.sparsity,
        "masks": None if run.method == "dense" else layout.masks(run),
        "source": key.source if key else None,
        "origin": key.origin if key else None,
        "seed": key.seed if key else None,
        "samples": key.samples if key else None,
        "prefix_length": key.prefix_length if key and key.origin == "synthetic" else None,
        "drop": key.drop if key and key.origin == "synthetic" else None,
        "calibration": layout.calibration_set(key) if key else None,
    }


def _tables(keys: list[SetKey], path: Any) -> list[dict[str, Any]]:
    """One entry for each file: real sets by seed, generated samples once for all seeds."""
    entries: dict[str, dict[str, Any]] = {}
    for key in keys:
        seed = key.seed if key.origin == "real" else None
        entries[path(key)] = {"source": key.source, "origin": key.origin, "seed": seed, "path": path(key)}
    return list(entries.values())


def _present(spec: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: spec[name] for name in names if name in spec}
