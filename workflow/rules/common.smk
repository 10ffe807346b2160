# What the rules share: the resolved configuration, the runs it asks for, and where files lie.
import gc
import itertools
import json
import os
import re
import sys
from functools import cache
from pathlib import Path

# Thousands of jobs are millions of objects that live to the end: at Python's own threshold, looking through them for garbage
# again and again is a sixth of the planning.
gc.set_threshold(200_000, 20, 20)
sys.path[:0] = [str(Path(workflow.basedir) / "src"), str(Path(workflow.basedir) / "workflow")]
# Rules call `python`: the one that runs Snakemake, unless a conda environment goes in front of it.
os.environ.update(
    PATH=os.pathsep.join([str(Path(sys.executable).parent), os.getenv("PATH", "")]),
    PYTHONPATH=str(Path(workflow.basedir) / "src"),
    CALIBRANT_SCRIPTS=str(Path(workflow.basedir) / "workflow" / "scripts"),  # a study may lie in another folder
)

from calibrant.artefacts.code import CodeDigests, data_digest, installed_versions
from calibrant.choice.entries import DENSE, baseline, entries, options_for, variant_options, variants
from calibrant.choice.round_file import measured_runs, read_round, valued_runs
from calibrant.errors import InputError
from calibrant.settings.method_targets import METHODS, WITHOUT_DATA
from calibrant.settings.setting import command_line
from calibrant.settings.stage_settings import STAGE_SETTINGS
from calibrant.settings.target import of_file_name
from calibrant.stages.commands import stage_module
from calibrant.stages.study_check import check_study
from calibrant.stages.study_contents import check_contents
from calibrant.study.choose_section import OWN, document_tokens, first_sample, generation_of, guards
from calibrant.study.choose_section import GIVEN as GIVEN_SET
from calibrant.study.choose_section import judging_tasks, judging_texts, set_samples, text_settings
from calibrant.study.config import resolve_config
from calibrant.study.grid import calibration_sets, reads_dense_statistics, runs
from calibrant.study.inspected_masks import compared, heldout_set
from calibrant.study.paths import StudyPaths
from calibrant.study.local_files import local_files
from calibrant.study.report_inputs import report_files
from calibrant.study.pool import filtered_first, repacked
from calibrant.study.resources import gpus, request, shape_for_requests
from calibrant.study.stage_needs import HESSIAN_METHODS
from calibrant.study.storage import passing_weights
from calibrant.study.targets import PAPER, target_config, target_files
from calibrant.study.validation import suggest
from calibrant.study.yaml_mappings import read_yaml
from failed_jobs import listen

FAILED = listen(workflow, sys.argv)
GIVEN = config  # as it was given: targets put their own experiments into it
CONFIG_NAME = " + ".join(str(file) for file in workflow.configfiles)
try:
    for file in workflow.configfiles if workflow.is_main_process else []:
        read_yaml(file)  # Snakemake has read it, and takes what this refuses: a key that is given twice, for one
    config = resolve_config(GIVEN, CONFIG_NAME)
    if workflow.is_main_process:
        check_study(config, CONFIG_NAME)
    RUNS = runs(config)
    SETS = {key.name: key for key in calibration_sets(config)}
    TARGETS = target_files()
    PATHS = StudyPaths(config["study"])
    DATA = PATHS.data
    REPORT = PATHS.report
    OWN_REPORT = PATHS.own_report(config)
    MODEL_SHAPE = shape_for_requests(config["model"], f"{DATA}/model")
except InputError as error:
    raise WorkflowError(str(error)) from None

CHOOSES = "choose" in config  # whether the study has a race, and an answer (choice.smk)
# Where a race is run: what it cannot begin without, its sets, what the model writes, then what the report shows besides.
FIRST_PRIORITY, RACE_PRIORITY, WRITING_PRIORITY = (3, 2, 1) if CHOOSES else (0, 0, 0)
GPU = {"gpu": gpus(config)} if gpus(config) else {}  # as a rule's resources; schedulers read 0 in ways of their own
CODE = CodeDigests(memory=Path(".snakemake", "calibrant-code.json"))
TORCH = installed_versions("torch", "transformers", "tokenizers", "safetensors")


SPARSITY, WIDTH = r"(0(\.\d+)?|\d+of\d+)", r"w\d(g\d+)?"  # as files are called by them (settings.target)
SET_NAME = r"[a-z][a-z0-9_]*-(real|given|p\d+-d[0-9.]+)-n\d+-s\d+"


wildcard_constraints:
    source="|".join([*config["sources"], *(f"{OWN}{name}" for name in config["texts"] if CHOOSES)]),
    text="|".join(config["texts"]) or "none",
    task="|".join(config["tasks"]) or "none",
    n=r"\d+",
    seed=r"\d+",
    prefix=r"\d+",
    drop=r"0(\.\d+)?",
    kind="generated|sets",
    target="|".join(TARGETS),
    calibration=SET_NAME,
    method="|".join(METHODS),
    level=rf"({SPARSITY}(\+{WIDTH})?|{WIDTH})(-o\d+)?",


@cache
def report_config(target=""):
    """The configuration of a report: the study's own, or a target's."""
    try:
        return target_config(GIVEN, target, CONFIG_NAME) if target else config
    except InputError as error:
        raise WorkflowError(str(error)) from None


@cache
def needed(target=""):
    """The files that a report is made from, by kind."""
    try:
        return report_files(report_config(target))
    except InputError as error:
        raise WorkflowError(str(error)) from None


def code(stage):
    """Digest of the library code that a stage uses: editing it reruns the stage, touching files does not."""
    return CODE.digest(stage_module(stage))


@cache
def requested(stage, samples, method, attempt):
    """What a job asks of the scheduler (calibrant.study.resources)."""
    return request(config, MODEL_SHAPE, stage, samples=samples, method=method, attempt=attempt)


def request_of(stage, what):
    """For a rule's resources: memory in MB or minutes of one of its jobs; more with every attempt."""

    def reckoned(wildcards, attempt):
        drawn = re.search(r"-n(\d+)-s\d+$", wildcards.get("calibration", wildcards.get("name", "")))
        samples = int(drawn[1]) if drawn else None
        return getattr(requested(stage, samples, wildcards.get("method", "magnitude"), attempt), what)

    return reckoned


def spec(**sections):
    """The part of the configuration that one download needs, as JSON for the command line."""
    return json.dumps(sections, sort_keys=True)


def literal(value):
    """A param that keeps its braces: those of a plain text are wildcards to Snakemake, and users' texts hold any."""
    return lambda wildcards: value


def own_files(entry):
    """Files of this machine that a specification names: inputs, so that changing them reruns the download.

    Never in a storage provider: what this machine has is read where it lies.
    """
    return [local(file) for file in local_files(entry)]


def races_alone(source):
    """Whether a race goes on without a source whose text is refused: one of files, which no network can keep from us."""
    return CHOOSES and "files" in config["sources"][source]


def task_kind(name):
    """How a task gets its rows: built from a source, copied from files, by lm-eval from the hub, now or when needed."""
    entry = config["tasks"][name]
    return "built" if entry.get("kind") else "files" if entry.get("files") else "hub" if entry.get("hub") else "late"


if any(task_kind(name) == "late" for name in config["tasks"]):
    os.environ.setdefault("HF_HUB_OFFLINE", "0")  # lm-eval fetches rows while it evaluates; other jobs are offline


def task_files(name):
    return PATHS.task_files(name, config["tasks"][name])


def download_files():
    """Everything that the download stage makes."""
    return [
        f"{DATA}/model",
        *(f"{DATA}/sources/{name}/documents.parquet" for name in config["sources"]),
        *text_files(),
        *all_task_files(),
    ]


def study_folder(wildcards, output):
    """DATA as a job sees it: below the local copies of a storage provider, where one is used."""
    return str(output[0])[: str(output[0]).index(DATA) + len(DATA)]


def copies(wildcards, input):
    """For the report, whose index names files by their paths in the working folder: where local copies of them lie."""
    return option("root", str(input.index)[: str(input.index).rindex(DATA)])


def report_folder(wildcards, output):
    return str(Path(output.page).parent)


def text_files():
    return [f"{DATA}/texts/{name}/documents.parquet" for name in config["texts"]]


def all_task_files():
    return [file for name in config["tasks"] for file in task_files(name)]


# What reaches a shell is a word or a list of words, and `q` behind its name there quotes each of them. So nothing is quoted
# here, and tests/workflow/test_shell_words.py lets nobody leave that out.
def option(flag, *values):
    """Words that give a stage a file or folder, the flag again for each; none where there is nothing to give."""
    return [word for value in values if value for word in (f"--{flag}", str(value))]


def flags(stage, **values):
    """Words that give a stage these settings; those that are its own defaults are left out."""
    return command_line(STAGE_SETTINGS[stage], values)


def compute_options():
    return flags("compute", **{name: config["compute"][name] for name in ("dtype", "device")})


def number_format():
    """The file that says what `auto` is in this study: an input of every rule that runs the model. None otherwise."""
    return PATHS.number_format() if config["compute"]["dtype"] == "auto" else []


def resolved(wildcards, input):
    """The option that hands that file on."""
    return option("resolved", input.number_format)


def generation_options(**others):
    chosen = {
        name: value for name, value in config["generation"].items() if name not in ("prefix_length", "retokenise")
    }
    return flags("generate", length=config["calibration"]["length"], **{**chosen, **others})


def target_of_file(wildcards):
    """What a file is called by; behind that may stand the number of a candidate's options."""
    return of_file_name(wildcards.level.partition("-o")[0])


def asked_target(wildcards):
    """The flags that ask for it."""
    return target_of_file(wildcards).arguments


def method_options(wildcards):
    """The study's options of methods, or those of a candidate of its race."""
    variant = wildcards.level.partition("-o")[2]
    return variant_options(config, int(variant)) if variant else config["pruning"]["options"]


def pruning_options(wildcards):
    """The options of this method: `owl.m` for owl, `sequential` for all; other methods' are left out."""
    return flags(
        "prune", option=options_for(wildcards.method, str(target_of_file(wildcards)), method_options(wildcards))
    )


def dense_statistics(wildcards):
    """The statistics of the dense model, for a method that reads them."""
    read = reads_dense_statistics(wildcards.method, method_options(wildcards))
    return f"{DATA}/statistics/{wildcards.calibration}.safetensors" if read else []


def dense_kinds():
    """What the study's methods read of the dense model; Hessians are large, and collected only for their users."""
    asked = {method for target in TARGETS.values() for grid in target["grids"] for method in grid["methods"]}
    methods = asked | {run.method for run in RUNS} | ({config["choose"]["method"]} if CHOOSES else set())
    options = [config["pruning"]["options"], *(variants(config) if CHOOSES else [])]
    criteria = methods | {each.get(name) for each in options for name in ("owl.criterion", "dsnot.initial")}
    read = criteria if "dense" in {each.get("sequential") for each in options} else ()
    magnitudes = ["magnitudes"] if "awq" in read else []
    return ("norm", "moments", *magnitudes, *(["hessian"] if {*HESSIAN_METHODS} & {*read} else []))


def statistics_output(path):
    """A file that is deleted after its last use, where `storage.statistics` says so."""
    chosen = config["storage"]["statistics"]
    large = "hessian" in dense_kinds()
    return temp(path) if chosen == "temporary" or (chosen == "auto" and large) else path


# Methods whose weights are deleted after their last use.
PASSING_WEIGHTS = passing_weights(config)


def updated_weights(wildcards):
    """The weights beside masks, where they are files of their own to the workflow."""
    name = f"{wildcards.calibration}/{wildcards.method}-{wildcards.level}"
    return f"{DATA}/masks/{name}.weights.safetensors" if wildcards.method in PASSING_WEIGHTS else []


def window_options(**others):
    """The options of windows of text, real or generated."""
    chosen = config["calibration"]
    shared = {name: chosen[name] for name in ("length", "sets", "joining", "bos")}
    return flags("sample", **shared, **others)


# What calibration sets are cut from, and what the model continues: where a race is run, without what judges.
CALIBRATION_TEXT = PATHS.pool("{source}") if CHOOSES else f"{DATA}/sources/{{source}}/documents.parquet"
BESIDE_DENSE = CHOOSES or config["evaluation"]["beside_dense"]  # whether every model is measured beside the dense one
DENSE_OUTPUTS = f"{DATA}/evaluations/none/dense-0.safetensors" if BESIDE_DENSE else []


def pool_of(wildcards):
    """The generated samples that a set is a block of, and which block: a race has more written as it needs them."""
    name, seed = f"{wildcards.source}-p{wildcards.prefix}", int(wildcards.seed)
    return generation_of(config, name, seed) if CHOOSES else (name, seed)


def packing(source):
    return config["calibration"]["packing_of"].get(source, config["calibration"]["packing"])


def item_files(wildcards, input):
    """Where the tasks' rows and the texts lie; with a storage provider, its local copies.

    Paths only: a param that reads `input` is none of those whose change reruns a job.
    """
    return [*task_rows(input), *option("text", *input.texts)]


def task_rows(input):
    rows = any(task_kind(name) in ("built", "files") for name in config["tasks"])
    return option("data", Path(input.tasks[0]).parent if rows else "")


def evaluated_files(wildcards, input):
    """As `item_files`, for an evaluation, whose texts are named where a file is a part of one."""
    named = zip(evaluated_texts(), input.texts, strict=True)
    return [*task_rows(input), *option("text", *(f"{name}={file}" for name, file in named))]


def evaluated_texts():
    """The texts that a run is evaluated on, by name: where a race is run, what chooses, and those that guard nothing."""
    if not CHOOSES:
        return {name: f"{DATA}/texts/{name}/documents.parquet" for name in config["texts"]}
    judging, guarding = judging_texts(config), guards(config, "texts")
    others = [name for name in config["texts"] if name not in (*judging, *guarding)]
    return {name: PATHS.part(name, "selection") for name in judging} | {
        name: f"{DATA}/texts/{name}/documents.parquet" for name in others
    }


def valued_texts():
    """The texts that the answer is valued on, by name: what took no part in choosing, and the guards."""
    return {name: PATHS.part(name, "test") for name in judging_texts(config)} | {
        name: f"{DATA}/texts/{name}/documents.parquet" for name in guards(config, "texts")
    }


def valued_files(wildcards, input):
    named = zip(valued_texts(), input.texts, strict=True)
    rows = task_rows(input) if input.tasks else []
    return [*rows, *option("text", *(f"{name}={file}" for name, file in named))]


def measured(results):
    """The file of measures beside results, which a race reads."""
    return f"{results}.measures.parquet" if BESIDE_DENSE else []


def contamination_options():
    chosen = config["similarity"]
    asked = {"tasks": tuple(config["tasks"]), "limit": config["evaluation"]["limit"] or None}
    return flags("contamination", **asked, n=chosen["items_n"], threshold=chosen["items_threshold"])


def evaluation_options():
    return options_of_evaluation(
        [name for name in config["tasks"] if not CHOOSES or name not in guards(config, "tasks")]
    )


def value_options():
    return options_of_evaluation(guards(config, "tasks"))


def options_of_evaluation(tasks):
    chosen = config["evaluation"]
    fewshot = {task: shots for task, shots in chosen["fewshot"].items() if task in tasks}
    apart = CHOOSES and chosen["text_average"] != "corpus"
    return flags(
        "evaluate",
        tasks=tuple(tasks),
        limit=(chosen["limit"] or None) if tasks else None,
        fewshot=fewshot,
        length=chosen["length"],
        text_tokens=config["choose"]["tokens"] if CHOOSES else chosen["text_tokens"] or None,
        document_tokens=document_tokens(config) if apart else None,
        text_average=chosen["text_average"],
        bos=chosen["bos"],
    )


def other_sources(wildcards):
    return [f"{DATA}/sources/{name}/documents.parquet" for name in config["sources"] if name != wildcards.source]


def inspected_sets(wildcards):
    """The set that the masks were made on, and one held out from them."""
    own = SETS[wildcards.calibration]
    other = heldout_set(own, list(SETS.values()))
    return [PATHS.calibration_set(key) for key in (own, other) if key]


WORD = r"[A-Za-z][\w-]*"
NO_FILE = rf"(?!({'|'.join(path.name for path in Path().iterdir() if re.fullmatch(WORD, path.name))})$){WORD}"


def unknown_target(wildcards):
    """Refuse a target that there is not."""
    known = ["all", "data", "sets", "masks", "evaluations", "paper", *TARGETS]
    raise WorkflowError(f"no target {wildcards.word}{suggest(wildcards.word, known)}; there are {', '.join(known)}")


def similarity_options():
    chosen = config["similarity"]
    values = {name: chosen[name] for name in ("shingle", "n", "permutations")}
    return flags("similarity", **values, amount=chosen["amount"] or None)
