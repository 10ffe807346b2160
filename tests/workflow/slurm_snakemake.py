"""Snakemake as its command runs it, but the Slurm plugin asks for its jobs' states every second.

The plugin waits 10 s longer each time nothing has ended, which is right for a cluster and long for a test.
"""

import sys

from snakemake.cli import main
from snakemake_executor_plugin_slurm import Executor

Executor.next_seconds_between_status_checks = property(lambda self: 1, lambda self, value: None)
sys.exit(main())
