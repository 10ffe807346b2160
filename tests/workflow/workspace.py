"""A folder with a copy of the workflow, and the small study that the tests run in it."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml
from support import make_text

UNDECLARED = {"logs", "benchmarks"}  # under data/: what is allowed to differ
# What a race says of times, and rewrites after every round.
TIMED = {f"reports/tiny/{name}" for name in ("index.html", "summary.md", "timing.json", "provenance.json")}


@dataclass
class Workspace:
    """A folder that holds Snakefile, workflow, library and configuration.

    within: a command that runs the one that it is given, in front of every Python.
    """

    folder: Path
    within: tuple[str, ...] = ()

    def snakemake(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run Snakemake here with the default profile and my.yaml over config.yaml."""
        command = ["-m", "snakemake", "--workflow-profile", "workflow/profiles/default"]
        return self.run(*command, "--configfile", "my.yaml", "--cores", "2", *arguments, check=check)

    def make_study(self) -> subprocess.CompletedProcess[str]:
        """What `make study CONFIG=my.yaml` runs."""
        return self.run("workflow/study.py", "--config", "my.yaml", "--", "--cores", "2")

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run Python here with these arguments."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
        environment |= {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(self.folder / "src")}
        result = subprocess.run(
            [*self.within, sys.executable, *arguments], cwd=self.folder, env=environment, text=True, capture_output=True
        )
        if check and result.returncode:
            logs = "\n".join(p.read_text() for p in self.folder.glob("data/*/logs/**/*.log"))
            raise AssertionError(f"failed: {arguments}\n{result.stdout}\n{result.stderr}\n{logs}")
        return result

    def planned(self, *arguments: str) -> set[str]:
        """Names of the rules that a dry run would execute."""
        text = self.snakemake("--dry-run", "--quiet", "host", *arguments).stdout
        return {line.split()[1].rstrip(":") for line in text.splitlines() if line.startswith(("rule ", "localrule "))}

    def configure(self, config: dict[str, object]) -> None:
        (self.folder / "my.yaml").write_text(yaml.safe_dump(config, sort_keys=False))


def artefacts(workspace: Workspace) -> dict[str, Path]:
    """Everything that the study tiny declares, by name; Snakemake's own report has the time in it."""
    found = {}
    races = (workspace.folder / "data/tiny/choice").is_dir()
    for root in ("data/tiny", "reports/tiny"):
        for path in (workspace.folder / root).rglob("*"):
            name = path.relative_to(workspace.folder)
            if races and str(name) in TIMED:
                continue
            if path.is_file() and not UNDECLARED & set(name.parts) and path.name != "snakemake-report.html":
                found[str(name)] = path
    return found


def write_documents(path: Path, count: int, seed: int) -> None:
    rows = [{"id": i, "text": make_text(120, seed * 1000 + i)} for i in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def prepare(workspace: Workspace, model: Path) -> None:
    """Put there what SMALL_STUDY names: a model and two texts."""
    shutil.copytree(model, workspace.folder / "tiny-llama")
    write_documents(workspace.folder / STORIES, 60, 1)
    write_documents(workspace.folder / "other.jsonl", 20, 2)


# Names that a shell would execute, if anything gave them to it unquoted.
STORIES = 'it\'s $(touch pwned) `touch pwned`; touch pwned "stories".jsonl'

SMALL_STUDY: dict[str, object] = {
    "study": "mine",
    "title": "$(touch pwned) `touch pwned`\ntouch pwned\n'; touch pwned; \"",
    "model": {"path": "tiny-llama", "note": "'$(touch pwned)"},
    "sources": {"stories": {"files": [STORIES], "heldout": 0.3}},
    "texts": {"other": {"files": ["other.jsonl"]}},
    "tasks": {"next_sentence": {"kind": "next_sentence", "source": "all", "items": 4}},
    "calibration": {"samples": 4, "length": 32},
    "generation": {"samples": 8, "batch_size": 8},
    "evaluation": {"length": 32, "text_tokens": 512},
    "seeds": 1,
    "grids": [
        {"methods": ["dense"]},
        {"methods": ["magnitude", "wanda", "owl"], "targets": ["0.5"]},
    ],
}
