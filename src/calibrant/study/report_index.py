"""The index of a study: every run and where its results lie, as `calibrant summarize` reads it."""

import os
import platform
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from calibrant.errors import InputError
from calibrant.study.choose_section import document_tokens, judging_texts
from calibrant.study.grid import Run, SetKey, calibration_sets, format_number, runs
from calibrant.study.inspected_masks import compared, inspections
from calibrant.study.paths import StudyPaths, reads
from calibrant.study.targets import PAPER, target_files
from calibrant.study.text_definition import text_tasks


def study_index(
    config: dict[str, Any],
    model_record: dict[str, Any],
    packages: str = "",
    resolved: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Describe a resolved study.

    Args:
        config: a configuration as `resolve_config` returns it.
        model_record: the model's provenance sidecar.
        packages: versions of what the results depend on besides Calibrant.
        resolved: what `compute.dtype: auto` was resolved to (`models.checkpoint.resolution.write_resolved`).
    """
    paths = StudyPaths(config["study"])
    found = runs(config)
    keys = sorted(calibration_sets(config))
    scored = keys if reads(config, "scores") else []
    index = {
        "study": {
            "name": config["study"],
            "title": config["title"],
            "model": {"id": str(model_record.get("id", "model")), **_present(config["model"], "note", "licence")},
            "settings": settings(config, keys, resolved),
            "sources": [{"name": name} for name in config["sources"]],
            "trained_on": config["trained_on"],
            "tasks": [_task(name, spec) for name, spec in config["tasks"].items()] + text_tasks(config),
            "machine": machine(config, packages),
        },
        "runs": [_run(run, paths, str(model_record.get("id", "model"))) for run in found],
        "scores": _tables(scored, paths.scores),
        "samples": _tables(scored, paths.samples),
        "provenance": [
            {"kind": "model", "name": "model", "path": paths.provenance("model", "")},
            *({"kind": "source", "name": n, "path": paths.provenance("sources", n)} for n in config["sources"]),
            *({"kind": "text", "name": n, "path": paths.provenance("texts", n)} for n in config["texts"]),
        ],
    }
    if config["experiment"] == PAPER:
        index["targets"] = [
            {"name": name, "index": paths.index(name), "page": f"../{name}/index.html"} for name in target_files()
        ]
    elif "layout" in config:
        index["layout"] = {"name": config["layout"]["name"], "parameters": parameters(config)}
    if similarities := paths.similarities(config):
        index["similarity"] = similarities
    if contaminations := paths.contaminations(config):
        index["contamination"] = contaminations[0]
    if looked_into := inspected(config, paths):
        index["inspections"] = looked_into
    return index


def inspected(config: dict[str, Any], paths: StudyPaths) -> dict[str, Any]:
    """The masks that were looked into, and those that were compared; {} without any."""
    chosen = inspections(config)
    if not chosen:
        return {}
    entry: dict[str, Any] = {
        "method": chosen[0].run.method,
        "sparsity": chosen[0].run.target,
        "layers": [
            {
                **_text(inspection.run.calibration),
                "path": paths.inspection(inspection.run),
                "heldout": _text(inspection.heldout) if inspection.heldout else None,
            }
            for inspection in chosen
        ],
    }
    if masks := compared(config):
        entry["overlap"] = {
            "path": paths.overlap(),
            "masks": [{"name": run.name, **_text(run.calibration)} for run in masks],
        }
    return entry


def _text(key: SetKey | None) -> dict[str, Any]:
    assert key is not None
    return {"source": key.source, "origin": key.origin, "seed": key.seed}


def parameters(config: dict[str, Any]) -> dict[str, Any]:
    """The layout's parameters, {setting: KEY.KEY} replaced by that setting.

    Raises:
        InputError: there is no such setting.
    """
    return {name: _setting(config, name, value) for name, value in config["layout"]["parameters"].items()}


def _setting(config: dict[str, Any], name: str, value: Any) -> Any:
    if not isinstance(value, dict) or set(value) != {"setting"}:
        return value
    found: Any = config
    for part in str(value["setting"]).split("."):
        if not isinstance(found, dict) or part not in found:
            raise InputError(f"layout.parameters.{name}: there is no setting {value['setting']}")
        found = found[part]
    return found


def settings(
    config: dict[str, Any], keys: list[SetKey], resolved: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """What a reader must know to judge the numbers, in the order of the stages."""
    calibration, generation, evaluation = config["calibration"], config["generation"], config["evaluation"]
    written = [key for key in keys if key.origin == "synthetic"] or keys
    prefixes = _listed(k.prefix_length for k in written if k.prefix_length >= 0) or generation["prefix_length"]
    drops = _listed(100 * k.drop for k in written if k.drop >= 0) or format_number(100 * config["filter"]["drop"])
    pairs = {
        "Variant": f"compat {config['compat']}"
        + (": where the paper is silent or its code differs, the code" if config["compat"] != "paper" else ""),
        "Calibration sets": f"{_listed(key.samples for key in keys)} sequences of {calibration['length']} tokens",
        "Sampler": sampler(calibration, list(config["sources"])),
        "Seeds": f"{len({key.seed for key in keys})} for each source",
        "Generated samples": f"{_amount(generation)} for each source, prefix of {prefixes} tokens"
        + (" behind a beginning-of-text token" if generation["bos"] == "always" else "")
        + (", not counted in the length" if generation["length_means"] == "new" else ""),
        "Decoding": f"top-k {generation['top_k']}, top-p {generation['top_p']}, temperature "
        f"{generation['temperature']}, repetition penalty {generation['repetition_penalty']}",
        "End of text": "suppressed: no special token is sampled"
        if generation["end_of_text"] == "suppress"
        else "a sample ends where the model ends it; samples are packed",
        **({"Generated text": "tokenised anew before sets are drawn from it"} if generation["retokenise"] else {}),
        "Filter": f"the {drops} % of highest perplexity are dropped (scored on the {config['scoring']['span']})",
        "Min-K%++": f"lowest {format_number(config['scoring']['min_k'])} % of the tokens",
        "Perplexity": perplexity(config),
        "Task items": f"at most {evaluation['limit']} a task" if evaluation["limit"] else "all",
        "Number format": number_format(config, resolved),
    }
    if not keys:
        del pairs["Calibration sets"], pairs["Seeds"]
    starts = {key: config[key]["bos"] for key in ("calibration", "generation", "scoring", "evaluation")}
    if set(starts.values()) != {"auto"}:
        pairs["Beginning-of-text token"] = ", ".join(f"{key} {value}" for key, value in starts.items())
    if calibration["joining"] == "tokens":
        pairs["Sampler"] += "; documents and separators tokenised each by itself"
    options = config["pruning"]["options"]
    if options:
        pairs["Method options"] = ", ".join(f"{key}={value}" for key, value in sorted(options.items()))
    return [{"name": name, "value": value} for name, value in pairs.items()]


def perplexity(config: dict[str, Any]) -> str:
    """What of the texts a perplexity is of."""
    evaluation = config["evaluation"]
    said = f"windows of {evaluation['length']} tokens"
    if "choose" in config:
        tokens = config["choose"]["tokens"]
        apart = f"at most {document_tokens(config)} of a document, each read by itself"
        judging = ", ".join(judging_texts(config))
        own = apart if evaluation["text_average"] != "corpus" else "documents joined"
        return f"{said}, {tokens:,} tokens of each text ({own}); of {judging} the half that chooses in the race"
    taken = f"the first {evaluation['text_tokens']} tokens of each text" if evaluation["text_tokens"] else "whole texts"
    each = "; the mean of the documents' perplexities" if evaluation["text_average"] == "document" else ""
    return f"{said}, {taken}{each}"


def number_format(config: dict[str, Any], resolved: Mapping[str, Any] | None) -> str:
    """The study's format, as it was given, or what `auto` was resolved to and why."""
    return f"{resolved['dtype']} (auto: {resolved['reason']})" if resolved else str(config["compute"]["dtype"])


def sampler(calibration: dict[str, Any], sources: list[str]) -> str:
    """How windows are drawn, with the sources that are drawn from otherwise."""
    words = {"stream": "windows of the concatenated documents", "document": "windows of single documents"}
    others = {s: p for s, p in calibration["packing_of"].items() if s in sources and p != calibration["packing"]}
    return "; ".join([words[calibration["packing"]], *(f"{source}: {words[p]}" for source, p in others.items())])


def machine(config: dict[str, Any], packages: str) -> list[dict[str, Any]]:
    """The machine that wrote the index; no clock times, so that a rerun gives the same bytes."""
    pairs = {
        "Processor": _processor(),
        "Cores": f"{os.cpu_count()}, {config['compute']['threads']} for each job",
        "System": f"{platform.system()}, Python {platform.python_version()}",
    }
    pairs["Durations"] = f"of each job in {StudyPaths(config['study']).data}/benchmarks"
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
            "metric": "acc_norm",  # its choices differ in length: the likeliest as it stands is mostly the shortest
            "chance": 0.25,
        }
    return {"name": name}


def _run(run: Run, paths: StudyPaths, model: str) -> dict[str, Any]:
    key = run.calibration
    return {
        "evaluation": paths.evaluation(run),
        "model": model,
        "method": run.method,
        "sparsity": run.target,
        "masks": None if run.method == "dense" else paths.masks(run),
        "source": key.source if key else None,
        "origin": key.origin if key else None,
        "seed": key.seed if key else None,
        "samples": key.samples if key else None,
        "prefix_length": key.prefix_length if key and key.origin == "synthetic" else None,
        "drop": key.drop if key and key.origin == "synthetic" else None,
        "calibration": paths.calibration_set(key) if key else None,
    }


def _tables(keys: list[SetKey], path: Any) -> list[dict[str, Any]]:
    """One entry for each file: real sets by seed, generated samples once for all seeds."""
    entries: dict[str, dict[str, Any]] = {}
    for key in keys:
        seed = key.seed if key.origin == "real" else None
        entries[path(key)] = {"source": key.source, "origin": key.origin, "seed": seed, "path": path(key)}
    return list(entries.values())


def _amount(generation: dict[str, Any]) -> str:
    tokens = generation["tokens"]
    return f"as many as hold {tokens:,} tokens" if tokens else str(generation["samples"])


def _listed(values: Iterable[float]) -> str:
    """`64, 128`: distinct numbers, smallest first."""
    return ", ".join(format_number(value) for value in sorted(set(values)))


def _present(spec: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: spec[name] for name in names if name in spec}
