"""Snakemake as its command runs it, but the Slurm plugin asks for its jobs' states every second.

The plugin waits 10 s longer each time nothing has ended, which is right for a cluster and long for a test. While it
asks, Snakemake's list of active jobs is empty, and an interrupt then cancels none (`_wait_for_jobs` and `cancel` of
snakemake-interface-executor-plugins): a file's time tells when asking is over, and a second is left to interrupt in.
"""

import asyncio
import faulthandler
import signal
import sys
from pathlib import Path

from snakemake.cli import main
from snakemake_executor_plugin_slurm import Executor

ASKED = Path(".snakemake/asked")  # in the workflow's folder


async def _sleep(executor: Executor) -> None:
    ASKED.touch()
    await asyncio.sleep(1)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs inherit that it is ignored
    faulthandler.register(signal.SIGUSR1)  # the stacks of all threads, where it does not end when it should
    Executor.sleep = _sleep
    sys.exit(main())
