# Calibrant: on which text should I calibrate?   snakemake --cores all   (one table of the paper: snakemake ... table2)
# The configuration is config.yaml over a preset and an experiment (study/config.schema.yaml describes every key).
from snakemake.utils import min_version

min_version("9.27")


configfile: "config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/tiny.smk"
include: "workflow/rules/download.smk"
include: "workflow/rules/calibration.smk"
include: "workflow/rules/generation.smk"
include: "workflow/rules/pruning.smk"
include: "workflow/rules/inspection.smk"
include: "workflow/rules/evaluation.smk"
include: "workflow/rules/similarity.smk"
include: "workflow/rules/choice_inputs.smk"
include: "workflow/rules/choice.smk"
include: "workflow/rules/reporting.smk"


CODE.save()  # once, when all rules have asked

from calibrant.system import sees_processes

if not sees_processes():  # Snakemake times a job by looking at its process, and a job that it cannot see would fail
    for each in workflow.rules:
        each._benchmark = None


# On a cluster these run where Snakemake runs, the login node: what has to see a network, and what takes seconds.
localrules:
    all,
    data,
    sets,
    masks,
    evaluations,
    tiny_material,
    download_model,
    number_format,
    download_source,
    download_text,
    index,
    target_index,


onerror:
    FAILED.repeat()


onstart:
    # With a limit of jobs a second, every round of the scheduler starts a timer that starts another round; every job that
    # ends adds a round, and after some hundred jobs Snakemake is busy with nothing else. Its default limits no study.
    if (limiter := workflow.scheduler.job_rate_limiter) and (limiter.max_jobs, limiter.timespan) == (100, 1):
        workflow.scheduler.job_rate_limiter = None
    if workflow.is_main_process and workflow.storage_settings.default_storage_provider is None:
        try:
            check_contents(config["study"])
        except InputError as error:
            raise WorkflowError(str(error)) from None


rule all:
    """The report of the study."""
    default_target: True
    input:
        REPORT_FILES,
        ANSWER_FILES,


rule data:
    """Everything that needs a network: run it where there is one, the rest anywhere."""
    input:
        download_files(),


rule sets:
    """Every calibration set of the study."""
    input:
        [PATHS.calibration_set(run.calibration) for run in RUNS if run.calibration],


rule masks:
    """Every mask of the study."""
    input:
        [PATHS.masks(run) for run in RUNS if run.method != "dense"],


rule evaluations:
    """Every evaluation of the study."""
    input:
        [PATHS.evaluation(run) for run in RUNS],
