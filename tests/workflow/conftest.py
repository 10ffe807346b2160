"""A copy of the workflow in a folder of its own, with a tiny model and a small text to run it on."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support import ROOT
from workspace import SMALL_STUDY, Workspace, prepare


@pytest.fixture(scope="session")
def make_workspace(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Workspace]:
    """Copy the workflow and the library (never data or reports) into a new folder."""

    def make() -> Workspace:
        folder = tmp_path_factory.mktemp("workspace")
        for name in ("Snakefile", "config.yaml"):
            shutil.copy(ROOT / name, folder)
        for name in ("workflow", "src", "envs"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        return Workspace(folder)

    return make


@pytest.fixture(scope="session")
def finished_study(make_workspace: Callable[[], Workspace], tiny_model_dir: Path) -> Workspace:
    """The whole workflow, run once on a random model of two layers."""
    workspace = make_workspace()
    prepare(workspace, tiny_model_dir)
    workspace.configure(SMALL_STUDY)
    workspace.make_study()
    return workspace
