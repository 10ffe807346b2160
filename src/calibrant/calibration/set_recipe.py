"""The commands that make a calibration set again, from what the files on the way to it record."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from calibrant.settings.setting import command_line, described
from calibrant.settings.stage_settings import STAGE_SETTINGS

LAST = "set.parquet"
SAID = ("samples", "length", "seed")  # also where they are the defaults: what a reader looks for first
Lines = list[str]


def set_recipe(metadata: Mapping[str, Any], earlier: Sequence[Mapping[str, Any]] = (), documents: str = "") -> Lines:
    """A line for each command, the last of which writes `set.parquet`; none where the records do not tell all.

    Model and documents are named as the records name them; which files they were, their hashes say.

    Args:
        metadata: of the set.
        earlier: of the files that it was made of (generated rows, filtered rows), the first first. What `filter`
            filtered need not be among them: its record names the settings.
        documents: the file of the text; by default the source's name.
    """
    chain = [*earlier, metadata]
    first = chain[0]
    if first.get("stage") == "filter" and "stage" in (first.get("samples") or {}):
        chain = [{**first, **first["samples"]}, *chain]
    begins = chain[0].get("stage")
    of_text = begins == "generate" or (begins == "sample" and chain[0].get("origin") != "synthetic")
    if not of_text or any(step.get("stage") not in _WRITERS for step in chain):
        return []
    source = str(metadata.get("source") or "documents")
    text = documents or f"{source}.jsonl"
    if text.split("/")[-1].split(".")[0] != source:
        chain[0] = {**chain[0], "settings": {**(chain[0].get("settings") or {}), "source": source}}
    lines: Lines = []
    for place, step in enumerate(chain):
        last = place == len(chain) - 1
        output = LAST if last else f"{'generated' if step['stage'] == 'generate' else 'kept'}.parquet"
        model = str(step.get("model") or metadata.get("model") or "MODEL")
        lines += _WRITERS[step["stage"]](step, text, model, output)
        text = output
    return lines


def _sample(step: Mapping[str, Any], text: str, model: str, output: str) -> Lines:
    return [_line("sample", {"documents": text, "model": model}, _given("sample", step), output)]


def _generate(step: Mapping[str, Any], text: str, model: str, output: str) -> Lines:
    return [_line("generate", {"documents": text, "model": model}, _given("generate", step), output)]


def _filter(step: Mapping[str, Any], text: str, model: str, output: str) -> Lines:
    files, lines = {"samples": text}, []
    if step.get("scoring"):
        scoring = {"settings": step["scoring"]}
        lines.append(_line("score", {"samples": text, "model": model}, _given("score", scoring), "scores.parquet"))
        files["scores"] = "scores.parquet"
    return [*lines, _line("filter", files, _given("filter", step), output)]


_WRITERS = {"sample": _sample, "generate": _generate, "filter": _filter}


def _given(stage: str, step: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a stage as its flags have them, of the record of what it wrote."""
    known = {each.name for each in described(STAGE_SETTINGS[stage])}
    recorded = dict(step.get("settings") or {})
    found = {name: value for name, value in recorded.items() if name in known and value is not None}
    if "bos" in found:
        found["bos"] = "always" if found["bos"] else "never"
    if "separator" in found:
        found["separator"] = found["separator"].replace("\n", r"\n").replace("\t", r"\t")
        if "joining" not in found:  # nor recorded where both are the same
            found["joining"] = "tokens"
    if step.get("seed") is not None:
        found["seed"] = step["seed"]
    drawn = stage == "sample" or (stage == "filter" and found.get("take") is not None)
    if drawn and "sets" not in found:
        found["sets"] = "pool"
    return found


def _line(stage: str, files: Mapping[str, str], given: Mapping[str, Any], output: str) -> str:
    settings = STAGE_SETTINGS[stage]
    values = {each.name: given[each.name] for each in described(settings) if each.name in given}
    words = [word for name in SAID if name in values for word in (f"--{name}", str(values.pop(name)))]
    words += command_line(settings, values)
    named = [word for name, file in files.items() for word in (f"--{name}", file)]
    return shlex.join(["calibrant", stage, *named, *words, "--output", output])
