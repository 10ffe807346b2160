"""A study is a file that people send to each other: nothing in it is executed."""

import copy
import json
import os
import shutil
import string
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import ROOT
from workspace import Workspace

from calibrant.errors import InputError
from calibrant.stages.study_check import check_study
from calibrant.study.config import resolve_config

HOSTILE = "$(touch pwned) `touch pwned`; touch pwned\ntouch pwned\n'; touch pwned; \" | touch pwned & x"
PAYLOADS = (f"{HOSTILE} {{x}} {{1}}", HOSTILE, "$(touch pwned)", "x\n")
SHAPE = {
    **{"model_type": "llama", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "vocab_size": 400},
    **{"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128},
}
STUDY: dict[str, Any] = {
    "preset": "tiny",
    "study": "mine",
    "title": "a title",
    "trained_on": ["web"],
    "syn_source": "web",
    "model": {"path": "model", "id": "an id", "note": "a note", "licence": "a licence"},
    "sources": {
        "web": {"files": ["web.jsonl"], "text_key": "text", "heldout": 0.3, "note": "a note", "clean": ["whitespace"]},
        "hub": {"hub": "owner/name", "config": "en", "split": "train", "data_files": "x.jsonl", "revision": "main"},
        "packed": {"archive": {"file": "a.zip", "sha256": "0" * 64, "member": "m.zip", "inner": "i.jsonl"}},
    },
    "texts": {"other": {"files": ["other.jsonl"]}},
    "tasks": {
        "piqa": {"files": {"test": "rows.jsonl"}},
        "next_sentence_web": {"kind": "next_sentence", "source": "web", "items": 4},
    },
    "calibration": {"packing": "stream", "packing_of": {"web": "document"}},
    "generation": {"engine": "auto", "end_of_text": "suppress", "length_means": "total"},
    "evaluation": {"mmlu": "mmlu", "text_average": "corpus"},
    "similarity": {"shingle": "word"},
    "scoring": {"span": "continuation"},
    "pruning": {"options": {"exclude": "lm_head", "sequential": "layer"}},
    "inspect": {"method": "wanda", "target": "0.5"},
    "compute": {"dtype": "auto", "device": "auto"},
    "storage": {"statistics": "auto"},
    "grids": [
        {
            "methods": ["dense", "magnitude", "wanda", "owl"],
            "targets": ["0.5", "2:4"],
            "origins": ["real", "synthetic"],
            "seeds": 1,
        }
    ],
}


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where texts stand, names of keys included: a path that ends in None stands for the key before it."""
    if isinstance(value, str):
        yield path
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        if isinstance(key, str):
            yield (*path, key, None)
        yield from leaves(item, (*path, key))


def put(study: dict[str, Any], path: tuple[Any, ...], text: str) -> dict[str, Any]:
    """The study with that text at that place, before the ending of what is there."""
    changed: Any = copy.deepcopy(study)
    place = changed
    for key in path[: -2 if path[-1] is None else -1]:
        place = place[key]
    if path[-1] is None:
        place[text] = place.pop(path[-2])
    else:
        ending = Path(place[path[-1]]).suffix
        place[path[-1]] = text + (ending if ending in (".jsonl", ".zip") else "")
    return dict(changed)


@pytest.fixture(scope="module")
def hostile() -> tuple[dict[str, Any], int]:
    """The study with the worst text at every place that takes it, one after the other; and how many take one."""
    study, taken = {"experiment": "sources", **STUDY}, 0
    for path in list(leaves(STUDY)):
        for text in PAYLOADS:
            try:
                check_study(resolve_config(put(study, path, text)), "config.yaml")
            except InputError:
                continue
            else:
                study, taken = put(study, path, text), taken + 1
                break
    return study, taken


def test_every_text_of_a_study_is_checked_or_taken_as_it_is(hostile: tuple[dict[str, Any], int]) -> None:
    """Names, methods, devices and formats are words of few kinds; titles, notes and files may be anything."""
    study, taken = hostile
    free = ("title", ("model", "path"), ("sources", "web", "files", 0), ("sources", "hub", "revision"))
    for path in free:
        place: Any = study
        for key in (path,) if isinstance(path, str) else path:
            place = place[key]
        assert HOSTILE in place, path
    assert study["compute"] == STUDY["compute"]
    assert set(study["sources"]) == set(STUDY["sources"])
    assert taken >= len(free)


@pytest.fixture(scope="module")
def shell(
    hostile: tuple[dict[str, Any], int], make_workspace: Callable[[], Workspace]
) -> tuple[Workspace, dict[str, str], list[str]]:
    workspace = make_workspace()
    study, _ = hostile
    for name in (
        *study["sources"]["web"]["files"],
        *study["texts"]["other"]["files"],
        *study["tasks"]["piqa"]["files"].values(),
    ):
        (workspace.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (workspace.folder / name).touch()
    model = workspace.folder / study["model"]["path"]
    model.mkdir(parents=True)
    (model / "config.json").write_text(json.dumps(SHAPE))
    (model / "model.safetensors").touch()
    (workspace.folder / study["sources"]["packed"]["archive"]["file"]).touch()
    workspace.configure(study)
    shutil.copy(ROOT / "tests/workflow/shell_commands.py", workspace.folder)
    found = json.loads(workspace.run("shell_commands.py").stdout.splitlines()[-1])
    assert not list(workspace.folder.rglob("pwned*"))
    return workspace, found["rules"], found["commands"]


def test_no_rule_gives_a_shell_anything_unquoted(shell: tuple[Workspace, dict[str, str], list[str]]) -> None:
    _, rules, _ = shell
    assert len(rules) > 15
    for name, command in rules.items():
        for _, field, spec, conversion in string.Formatter().parse(command):
            assert field is None or (spec == "q" and not conversion), f"rule {name}: {{{field}}} lacks :q"


def test_the_shell_executes_nothing_of_a_study(
    shell: tuple[Workspace, dict[str, str], list[str]], tmp_path: Path
) -> None:
    """Every job's command is run with a `python` that only writes down its words."""
    workspace, _, commands = shell
    assert len(commands) > 25
    stub = tmp_path / "python"
    stub.write_text(f"#!/bin/sh\nprintf '%s\\0' \"$@\" >> {tmp_path}/words\n")
    stub.chmod(0o755)
    for command in commands:
        for log in (f"data/mine/logs/{name}" for name in ("download", "sample", "prune", "evaluate")):
            (workspace.folder / log).mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
        subprocess.run(["bash", "-c", command], cwd=workspace.folder, env=environment, check=False, capture_output=True)
    assert not list(workspace.folder.rglob("pwned*"))
    words = (tmp_path / "words").read_text().split("\0")
    specs = [json.loads(word) for word in words if word.startswith("{")]
    assert any(spec.get("model", {}).get("note") == PAYLOADS[0] for spec in specs)
    assert any(word.endswith("config.json") or "--model" in word for word in words)
