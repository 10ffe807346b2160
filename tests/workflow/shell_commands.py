"""Print, as JSON, what the rules of the Snakefile here give to a shell, and every command of the jobs of my.yaml."""

import json
import sys
from pathlib import Path

from snakemake.api import SnakemakeApi
from snakemake.settings.enums import Quietness
from snakemake.settings.types import ConfigSettings, DAGSettings, OutputSettings, ResourceSettings

with SnakemakeApi(OutputSettings(dryrun=True, quiet={Quietness.ALL})) as api:
    opened = api.workflow(
        resource_settings=ResourceSettings(cores=2),
        config_settings=ConfigSettings(configfiles=[Path("my.yaml")]),
        snakefile=Path("Snakefile"),
    )
    opened.dag(DAGSettings()).execute_workflow(executor="dryrun")
    workflow = opened._workflow
    rules = {rule.name: rule.shellcmd for rule in workflow.rules if rule.shellcmd}
    commands = [job.shellcmd for job in workflow.dag.jobs if job.shellcmd]
    json.dump({"rules": rules, "commands": commands}, sys.stdout)
