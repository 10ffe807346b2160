"""Ten deliberate mistakes and the one line that each gives, with exit status 2."""

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from support import make_text

from calibrant.cli.main import main

CONFIG = {"preset": "smollm2-135m", "experiment": "sources"}


@pytest.fixture
def desk(tmp_path: Path, tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model, a text, a calibration set, and things that are broken in known ways."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_model_dir, "model")
    Path("text.jsonl").write_text("".join(json.dumps({"text": make_text(60, i)}) + "\n" for i in range(30)))
    assert main("sample --documents text.jsonl --model model --samples 2 --length 16 --output set.parquet".split()) == 0
    Path("cut.parquet").write_bytes(Path("set.parquet").read_bytes()[:-100])
    shutil.copytree("model", "headless")
    config = json.loads(Path("headless/config.json").read_text())
    Path("headless/config.json").write_text(json.dumps({**config, "architectures": ["LlamaModel"]}))
    with zipfile.ZipFile("words.zip", "w") as archive:
        archive.writestr("words.jsonl", '{"text": "a"}\n')
    Path("afile").write_text("")
    write_config("misspelt.yaml", generaton={"top_k": 3})
    write_config("source.yaml", grids=[{"methods": ["wanda"], "sparsities": ["0.6"], "sources": ["c4"]}])
    archive = {"file": "words.zip", "sha256": "0" * 64, "member": "words.jsonl"}
    Path("archive.yaml").write_text(yaml.safe_dump({"sources": {"words": {"archive": archive}}}))
    return tmp_path


def write_config(name: str, **sections: object) -> None:
    Path(name).write_text(yaml.safe_dump({**CONFIG, **sections}))


PRUNE = "prune --model model --calibration set.parquet --method wanda --output masks.safetensors"

MISTAKES: list[tuple[str, str, list[str]]] = [
    (
        "misspelt key",
        "plan misspelt.yaml",
        ["misspelt.yaml: unknown key generaton (did you mean generation?)", "allowed here:"],
    ),
    ("sparsity 1.2", f"{PRUNE} --sparsity 1.2", ["sparsity", "1.2", "0.6"]),
    ("pattern 5:4", f"{PRUNE} --sparsity 5:4", ["5:4", "2:4"]),
    ("unknown source", "plan source.yaml", ["grids.0.sources", "'c4'", "web, wikipedia, news, speech"]),
    (
        "missing file",
        "sample --documents absent.jsonl --model model --samples 2 --length 16 --output new.parquet",
        ["absent.jsonl", "no such file"],
    ),
    (
        "truncated Parquet",
        "prune --model model --calibration cut.parquet --method wanda --sparsity 0.5 --output masks.safetensors",
        ["cut.parquet", "truncated"],
    ),
    ("wrong checksum", "download archive.yaml --output data", ["words.zip", "expected", "0" * 64, "found"]),
    (
        "document set too small",
        "sample --documents text.jsonl --model model --samples 5000 --length 16 --output new.parquet",
        ["text.jsonl", "tokens", "80,000"],
    ),
    (
        "model without a causal head",
        "score --samples set.parquet --model headless --output scores.parquet",
        ["headless", "LlamaModel", "ForCausalLM"],
    ),
    (
        "output path below a file",
        "sample --documents text.jsonl --model model --samples 2 --length 16 --output afile/set.parquet",
        ["afile", "not a folder"],
    ),
]


@pytest.mark.parametrize(("command", "words"), [row[1:] for row in MISTAKES], ids=[row[0] for row in MISTAKES])
def test_mistake_gives_one_line_and_status_two(
    desk: Path, capsys: pytest.CaptureFixture[str], command: str, words: list[str]
) -> None:
    capsys.readouterr()
    before = snapshot(desk)
    status = main(command.split())
    errors = capsys.readouterr().err
    assert status == 2
    assert errors.count("\n") == 1, errors
    assert errors.startswith(f"calibrant {command.split()[0]}: ")
    for word in words:
        assert word in errors
    assert str(desk) not in errors or "absent" in errors
    assert snapshot(desk) == before, "a refused command left files behind"


def snapshot(folder: Path) -> set[str]:
    ignored: Callable[[Path], bool] = lambda p: p.suffix == ".lock" or p.is_dir()  # noqa: E731
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if not ignored(p)}
