"""Profiles: every key is an option of Snakemake or of the plugin that the profile names, and rules that they set exist.

Plugins that are not installed cannot be asked; their options, as their sources have them, are listed here. Nothing is
run: what ran is in test_slurm.py.
"""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from snakemake.cli import get_argument_parser
from support import ROOT

PROFILES = sorted(path.parent for path in ROOT.glob("workflow/profiles/*/config.yaml"))
RUN_HERE = {"default", "slurm"}
OPTIONS = {
    "slurm": {
        "array-jobs",
        "init-seconds-before-status-checks",
        "logdir",
        "partition-config",
        "status-command",
    },  # 2.8.0
    "kubernetes": {"namespace", "cpu-scalar", "service-account-name", "privileged", "persistent-volumes"},  # 0.5.1
    "googlebatch": {"project", "region", "machine-type", "memory", "max-run-duration", "mount-path"},  # 0.5.1
    "aws-batch": {"region", "job-queue", "job-role", "tags", "task-timeout"},  # 0.2.1
}
LIMITS = {"max_runtime", "max_mem_mb", "max_threads", "max_gpu", "available_gpu_models", "available_constraints"}


def read(profile: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((profile / "config.yaml").read_text())
    return found


def rules_with(text: str) -> set[str]:
    """Names of the rules whose body holds a text."""
    found = set()
    for file in ROOT.glob("workflow/rules/*.smk"):
        parts = re.split(r"^ *rule (\w+):\n", file.read_text(), flags=re.MULTILINE)
        found |= {name for name, body in zip(parts[1::2], parts[2::2], strict=True) if text in body}
    return found


def test_there_is_a_profile_for_every_kind() -> None:
    assert {path.name for path in PROFILES} == RUN_HERE | set(OPTIONS)


@pytest.mark.parametrize("profile", PROFILES, ids=lambda path: path.name)
def test_every_key_is_an_option(profile: Path) -> None:
    executor = read(profile).get("executor", "local")
    known = {option.removeprefix("--") for action in get_argument_parser()._actions for option in action.option_strings}
    known |= {f"{executor}-{option}" for option in OPTIONS.get(executor, ())}
    known |= {"storage-s3-endpoint-url"}  # snakemake-storage-plugin-s3 0.3.6
    assert set(read(profile)) - known == set()


@pytest.mark.parametrize("profile", PROFILES, ids=lambda path: path.name)
def test_rules_that_a_profile_sets_are_those_that_take_a_gpu(profile: Path) -> None:
    gpu_rules = rules_with("**GPU")
    assert len(gpu_rules) == 8
    if named := read(profile).get("set-resources"):
        assert set(named) == gpu_rules


@pytest.mark.parametrize("profile", PROFILES, ids=lambda path: path.name)
def test_a_profile_that_was_never_run_says_so_and_every_entry_of_the_others_is_explained(profile: Path) -> None:
    text = (profile / "config.yaml").read_text()
    assert ("Never run here" in text) == (profile.name not in RUN_HERE)
    assert text.startswith("# ")


def test_repeating_a_job_is_left_to_profiles() -> None:
    """A rule's own `retries` would repeat it inside an allocation that was too small."""
    assert rules_with("retries:") == set()
    for profile in PROFILES:
        assert ("retries" in read(profile)) == (profile.name != "default")


def test_partitions_of_slurm_have_known_limits_and_one_has_gpus() -> None:
    partitions = yaml.safe_load((ROOT / "workflow/profiles/slurm/partitions.yaml").read_text())["partitions"]
    assert all(set(limits) <= LIMITS for limits in partitions.values())
    assert [name for name, limits in partitions.items() if limits["max_gpu"]] == ["gpu"]
    assert read(ROOT / "workflow/profiles/slurm")["slurm-partition-config"] == "workflow/profiles/slurm/partitions.yaml"


def test_nothing_heavy_is_imported_when_the_workflow_is_read() -> None:
    """A cluster reads it twice for every job, on the login node and on the node."""
    text = (ROOT / "workflow/rules/common.smk").read_text()
    imports = "\n".join(re.findall(r"^from calibrant.*$", text, re.MULTILINE))
    assert "calibrant.study.resources" in imports
    heavy = (
        "[m for m in ('torch', 'transformers', 'datasets', 'pyarrow', 'polars', 'numpy', 'scipy') if m in sys.modules]"
    )
    script = f"import sys\n{imports}\nsys.exit(' '.join({heavy}))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert result.stderr.strip() == ""
