"""A throw-away one-node Slurm with two pretend GPUs, from Debian's packages slurm-wlm and munge; needs root.

There are no cgroups and no accounting database, so it schedules memory and GPUs but enforces only time. The node claims
more processors and memory than the machine has: GPUs are what jobs wait for.
"""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("slurm-wlm", "munge")
PROGRAMS = ("munged", "slurmctld", "slurmd", "squeue", "sinfo", "scancel")
# Jobs lose every SLURM_* variable on the way to srun, SLURM_CONF too: the files must lie where Slurm looks by itself.
FOLDER = Path("/etc/slurm")
GPUS = 2
# A gres named gpu needs device files, one a GPU; any character device will do.
DEVICES = ("/dev/null", "/dev/zero")

CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
StateSaveLocation={lab}/state
SlurmdSpoolDir={lab}/spool
SlurmctldPidFile={lab}/slurmctld.pid
SlurmdPidFile={lab}/slurmd.pid
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=batch_sched_delay=1,sched_interval=2,bf_interval=2
MpiDefault=none
ReturnToService=2
MinJobAge=900
KillWait=2
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=16 RealMemory=65536 Gres=gpu:{gpus} State=UNKNOWN
PartitionName=cpu Nodes={host} Default=YES MaxTime=24:00:00 State=UP
PartitionName=gpu Nodes={host} MaxTime=24:00:00 State=UP
"""


@dataclass(frozen=True)
class Job:
    """A job, or a task of an array, as scontrol shows it; finished ones stay visible for MinJobAge seconds."""

    id: str
    rule: str
    partition: str
    state: str
    gpus: int
    memory: str
    limit: str
    start: str
    end: str
    exit_code: str

    @classmethod
    def parse(cls, line: str) -> "Job":
        """A line of `scontrol --oneliner show job`."""
        fields = dict(re.findall(r"(\w+)=(\S*)", line))
        task = fields.get("ArrayTaskId", "")
        gpus = re.search(r"gpu:(\d+)", fields.get("TresPerJob", ""))
        return cls(
            id=f"{fields['ArrayJobId']}_{task}" if task else fields["JobId"],
            rule=fields.get("Comment", "").removeprefix("rule_").split("_wildcards_")[0],
            partition=fields["Partition"],
            state=fields["JobState"],
            gpus=int(gpus[1]) if gpus else 0,
            memory=fields["MinMemoryNode"],
            limit=fields["TimeLimit"],
            start=fields["StartTime"],
            end=fields["EndTime"],
            exit_code=fields["ExitCode"],
        )


def missing() -> str:
    """Why no Slurm can be started here; empty when it can. Installs the packages where that was asked for."""
    if os.geteuid() != 0:
        return "starting a Slurm needs root"
    if (FOLDER / "slurm.conf").exists():
        return f"{FOLDER}/slurm.conf exists: this machine has a Slurm of its own"
    if all(shutil.which(program) for program in PROGRAMS):
        return ""
    if os.environ.get("CI") != "true" and os.environ.get("CALIBRANT_SLURM") != "1":
        return f"{' and '.join(PACKAGES)} are not installed; CALIBRANT_SLURM=1 installs them with apt-get"
    for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *PACKAGES]):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        try:
            subprocess.run(["apt-get", *command], check=True, capture_output=True, env=environment)
        except (OSError, subprocess.CalledProcessError) as error:
            return f"{' and '.join(PACKAGES)} cannot be installed ({error})"
    return ""


@contextlib.contextmanager
def one_node_slurm() -> Iterator[None]:
    """Configure, start and stop munge and Slurm.

    Raises:
        RuntimeError: it did not come up; with the daemons' last lines.
    """
    host = socket.gethostname().split(".")[0]
    FOLDER.mkdir(exist_ok=True)
    files = {
        FOLDER / "slurm.conf": CONFIGURATION,
        FOLDER / "gres.conf": "AutoDetect=off\n" + "".join(f"NodeName={{host}} Name=gpu File={d}\n" for d in DEVICES),
    }
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder:
        lab = Path(folder)
        for name in ("state", "spool"):
            (lab / name).mkdir()
        subprocess.run(["install", "-d", "-o", "munge", "-g", "munge", "-m", "0755", "/run/munge"], check=True)
        daemons: list[subprocess.Popen[bytes]] = []
        try:
            for path, text in files.items():
                path.write_text(text.format(host=host, lab=lab, gpus=GPUS))
            daemons.append(_start(lab, "munged", ["runuser", "-u", "munge", "--", "munged", "--foreground"]))
            _wait(
                lab,
                "munge",
                lambda: not subprocess.run("munge -n | unmunge", shell=True, capture_output=True).returncode,
            )
            daemons.append(_start(lab, "slurmctld", ["slurmctld", "-D"]))
            daemons.append(_start(lab, "slurmd", ["slurmd", "-D", "-N", host]))
            _wait(lab, "an idle node", lambda: set(_lines("sinfo", "-h", "-o", "%T")) == {"idle"})
            yield
        finally:
            subprocess.run(["scancel", "--user", "root"], capture_output=True)
            for daemon in reversed(daemons):
                daemon.terminate()
                daemon.wait(30)
            for path in files:
                path.unlink(missing_ok=True)


def jobs() -> list[Job]:
    """All jobs since Slurm was started, those that are over too."""
    return [Job.parse(line) for line in _lines("scontrol", "--oneliner", "show", "job") if line.startswith("JobId=")]


def _lines(*command: str) -> list[str]:
    return subprocess.run(command, capture_output=True, text=True).stdout.split("\n")[:-1]


def _start(lab: Path, name: str, command: list[str]) -> subprocess.Popen[bytes]:
    with open(lab / f"{name}.log", "wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)


def _wait(lab: Path, what: str, ready: object, seconds: float = 30.0) -> None:
    assert callable(ready)
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            logs = "\n".join(f"{log.name}:\n{log.read_text()[-2000:]}" for log in lab.glob("*.log"))
            raise RuntimeError(f"Slurm: no {what} within {seconds:.0f} s\n{logs}")
        time.sleep(0.1)
