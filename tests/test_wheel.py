"""The wheel: what it holds and asks for, and that its commands run in an environment without the checkout."""

import os
import re
import shutil
import site
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from safetensors import safe_open
from support import ROOT

from calibrant.models.tiny import make_documents, write_documents, write_tiny_model

DEVELOPMENT = {"hypothesis", "mypy", "pytest", "pytest-xdist", "ruff", "setuptools", "snakefmt", "snakemake"}


def run(*command: str | Path, folder: Path | None = None) -> str:
    """What a command prints; nothing of pytest or of an outer PYTHONPATH reaches it, and no network is asked."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PYTEST"))}
    environment |= {"HF_HUB_OFFLINE": "1", "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run([*map(str, command)], cwd=folder, env=environment, text=True, capture_output=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the wheel is made from, since setuptools leaves its build folder where it builds."""
    folder = tmp_path_factory.mktemp("source")
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a fresh environment with the wheel in it, which sees the packages of this one.

    Python reads the .pth files of an environment's own folder and no others': the editable install of the checkout,
    which is such a file, stays unseen.
    """
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    run(sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "--no-deps", wheel)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "machine.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    return folder / "bin"


@pytest.fixture(scope="module")
def requirements(wheel: Path) -> list[Requirement]:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(name).decode())
    assert set(metadata.get_all("Provides-Extra", [])) == {"workflow", "dev", "slurm", "s3", "vllm", "packed"}
    return [Requirement(text) for text in metadata.get_all("Requires-Dist", [])]


def test_it_holds_every_file_of_the_library(source: Path, wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    ours = {p.relative_to(source / "src").as_posix() for p in (source / "src" / "calibrant").rglob("*") if p.is_file()}
    assert held == ours
    assert {
        "calibrant/py.typed",
        "calibrant/study/config.schema.yaml",
        "calibrant/study/presets/tiny.yaml",
        "calibrant/study/experiments/table1.yaml",
        "calibrant/study/compat/authors.yaml",
        "calibrant/study/assumptions.yaml",
        "calibrant/reporting/results/index.schema.yaml",
        "calibrant/reporting/pages/templates/style.css",
        "calibrant/reporting/pages/templates/summary.md.j2",
        "calibrant/reporting/pages/templates/page.html.j2",
        "calibrant/reporting/pages/templates/answer.css",
        "calibrant/reporting/pages/templates/answer.html.j2",
        "calibrant/reporting/pages/templates/answer.md.j2",
    } <= held


def test_it_asks_for_no_tool_of_development_and_pins_nothing(requirements: list[Requirement]) -> None:
    runtime = {canonicalize_name(r.name): r for r in requirements if r.marker is None}
    assert "torch" in runtime
    assert "transformers" in runtime
    assert not DEVELOPMENT & set(runtime)
    assert [str(r) for r in requirements if any(s.operator in ("==", "===") for s in r.specifier)] == []


def test_the_pins_have_everything_that_it_asks_for(requirements: list[Requirement]) -> None:
    """`make` installs the checkout with --no-deps, after requirements.txt."""
    lines = (ROOT / "envs" / "requirements.txt").read_text().splitlines()
    pins = {canonicalize_name(name): version for name, found, version in (x.partition("==") for x in lines) if found}
    asked = [r for r in requirements if r.marker is None or str(r.marker) in ('extra == "workflow"', 'extra == "dev"')]
    assert len(asked) > len([r for r in requirements if r.marker is None])
    wanted = [r for r in asked if r.name != "pip"]  # every environment has it
    assert [str(r) for r in wanted if pins.get(canonicalize_name(r.name)) is None] == []
    assert [str(r) for r in wanted if not r.specifier.contains(pins[canonicalize_name(r.name)])] == []


def test_commands_run_in_an_empty_folder(programs: Path, tmp_path: Path) -> None:
    def calibrant(*arguments: str) -> str:
        return run(programs / "calibrant", *arguments, folder=tmp_path)

    place = Path(run(programs / "python", "-c", "import calibrant; print(calibrant.__file__)", folder=tmp_path).strip())
    assert place.is_relative_to(programs.parent)
    assert not place.is_relative_to(ROOT)

    assert calibrant("plan", "tiny", "--counts").startswith("study tiny: preset tiny, compat paper, experiment sources")
    assert calibrant("plan", "llama-2-7b", "--counts").startswith("study llama-2-7b: preset llama-2-7b")

    material = tmp_path / "data" / "tiny-material"  # where the preset tiny looks
    texts = {name: make_documents(name, 60, 80) for name in ("harbour", "orchard", "quarry", "meadow")}
    for name, found in texts.items():
        write_documents(material / f"{name}.jsonl", found)
    write_tiny_model(material / "model", [text for found in texts.values() for text in found])
    (tmp_path / "study.yaml").write_text(yaml.safe_dump({"preset": "tiny", "experiment": "sources"}))
    calibrant("download", "study.yaml", "--output", "got")
    documents = "got/sources/orchard/documents.parquet"
    sizes = ["--samples", "4", "--length", "32"]
    calibrant("sample", "--documents", documents, "--model", "got/model", *sizes, "--output", "set.parquet")
    assert pq.read_table(tmp_path / "set.parquet").num_rows == 4
    method = ["--method", "magnitude", "--sparsity", "0.5"]
    calibrant("prune", "--model", "got/model", *method, "--output", "masks.safetensors")
    with safe_open(tmp_path / "masks.safetensors", framework="numpy") as masks:
        assert len(list(masks.keys())) >= 2 * 7  # linears of two layers

    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "api.md").read_text(), re.DOTALL)
    folder = tmp_path / "api"
    shutil.copytree(tmp_path / "got" / "model", folder / "model")
    write_documents(folder / "text.jsonl", texts["orchard"])
    printed = run(programs / "python", "-c", example, folder=folder)
    assert printed.count("'metric': 'perplexity'") == 3
