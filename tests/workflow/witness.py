"""Copied beside the scripts of a test's workspace and imported by each: writes down what the job saw.

The dense evaluation plays a job that the system kills for its memory when it was given less than NEEDS_MB.
"""

import atexit
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

RECORDS = Path(".snakemake/witness")


def memory() -> int:
    """MB that Slurm gave this job; 0 outside of one."""
    if "SLURM_JOB_ID" not in os.environ:
        return 0
    command = ["scontrol", "--oneliner", "show", "job", os.environ["SLURM_JOB_ID"]]
    found = re.search(r"MinMemoryNode=(\d+)M", subprocess.run(command, capture_output=True, text=True).stdout)
    return int(found[1]) if found else 0


seen = {
    "script": Path(sys.argv[0]).stem,
    "gpus": os.environ.get("CUDA_VISIBLE_DEVICES", ""),
    "memory": memory(),
    "start": time.time(),
}


def write() -> None:
    RECORDS.mkdir(parents=True, exist_ok=True)
    (RECORDS / f"{time.time_ns()}.json").write_text(json.dumps({**seen, "end": time.time()}))


if seen["script"] == "evaluate" and "--masks" not in sys.argv and seen["memory"] < int(os.environ["NEEDS_MB"]):
    os._exit(137)
atexit.register(write)
