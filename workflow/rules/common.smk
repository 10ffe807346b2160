# What the rules share: the resolved configuration, the runs it asks for, and where files lie.
import json
import os
import shlex
import sys
from glob import glob
from pathlib import Path

sys.path.insert(0, str(Path(workflow.basedir) / "src"))
# Rules call `python`: the one that runs Snakemake, unless a conda environment goes in front of it.
os.environ.update(
    PATH=os.pathsep.join([str(Path(sys.executable).parent), os.getenv("PATH", "")]),
    PYTHONPATH=str(Path(workflow.basedir) / "src"),
)

from calibrant.artefacts.code import code_digest, data_digest, installed_versions
from calibrant.errors import InputError
from calibrant.study.config import resolve_config
from calibrant.study.grid import runs
from calibrant.study.layout import Layout

try:
    config = resolve_config(config, " + ".join(str(file) for file in workflow.configfiles))
    RUNS = runs(config)
except InputError as error:
    raise WorkflowError(str(error)) from None

LAYOUT = Layout(config["study"])
DATA = LAYOUT.data
REPORT = LAYOUT.report
TORCH = installed_versions("torch", "transformers", "tokenizers", "safetensors")


SET_NAME = r"[a-z][a-z0-9_]*-(real|p\d+-d[0-9.]+)-n\d+-s\d+"


wildcard_constraints:
    source="|".join(config["sources"]),
    text="|".join(config["texts"]) or "none",
    task="|".join(config["tasks"]) or "none",
    n=r"\d+",
    seed=r"\d+",
    prefix=r"\d+",
    drop=r"0(\.\d+)?",
    kind="generated|sets",
    calibration=SET_NAME,
    method="magnitude|wanda|ria|sparsegpt|dsnot|owl",
    sparsity=r"0(\.\d+)?|\d+of\d+",


def code(stage):
    """Digest of the library code that a stage uses: editing it reruns the stage, touching files does not."""
    return code_digest(f"calibrant.cli.{stage}")


def spec(**sections):
    """The part of the configuration that one download needs, as JSON for the command line."""
    return json.dumps(sections, sort_keys=True)


def local_files(entry):
    """Files of this machine that a specification names: inputs, so that changing them reruns the download."""
    if "path" in entry:
        folder = Path(entry["path"])
        return [str(p) for p in sorted([folder / "config.json", *folder.glob("*.safetensors")])]
    named = entry.get("files", [])
    patterns = list(named.values()) if isinstance(named, dict) else named
    found = []
    for pattern in patterns:
        found += sorted(glob(pattern)) or [pattern]
    archive = entry.get("archive", {}).get("file")
    return found + ([archive] if archive else [])


def task_kind(name):
    """How a task gets its rows: built from a source, copied from files, or left to lm-eval and the hub."""
    entry = config["tasks"][name]
    return "built" if entry.get("kind") else "files" if entry.get("files") else "hub"


def task_files(name):
    return LAYOUT.task_files(name, config["tasks"][name])


def download_files():
    """Everything that the download stage makes."""
    return [
        f"{DATA}/model",
        *(f"{DATA}/sources/{name}/documents.parquet" for name in config["sources"]),
        *text_files(),
        *all_task_files(),
    ]


def sample_files():
    """What the report shows rows of: real calibration sets, and all that the model generated."""
    keys = {run.calibration for run in RUNS if run.calibration}
    return sorted({LAYOUT.calibration_set(k) if k.origin == "real" else LAYOUT.generated(k) for k in keys})


def set_files():
    return sorted({LAYOUT.calibration_set(run.calibration) for run in RUNS if run.calibration})


def provenance_files():
    """What sources and texts say of themselves."""
    names = [("sources", name) for name in config["sources"]] + [("texts", name) for name in config["texts"]]
    return [LAYOUT.provenance(section, name) for section, name in names]


def score_files():
    """Scores of every pool of generated samples and of every real calibration set of the study."""
    return sorted({LAYOUT.scores(run.calibration) for run in RUNS if run.calibration})


def data_folder(wildcards):
    return DATA


def report_folder(wildcards, output):
    return str(Path(output.page).parent)


def text_files():
    return [f"{DATA}/texts/{name}/documents.parquet" for name in config["texts"]]


def all_task_files():
    return [file for name in config["tasks"] for file in task_files(name)]


def compute_options():
    compute = config["compute"]
    return f"--dtype {compute['dtype']} --device {compute['device']}"


def generation_options():
    chosen = config["generation"]
    names = ("samples", "seed", "top_k", "top_p", "temperature", "repetition_penalty", "end_of_text", "batch_size")
    flags = " ".join(f"--{name.replace('_', '-')} {chosen[name]}" for name in names)
    return f"{flags} --bos" if chosen["bos_in_prefix"] else flags


def sparsity(wildcards):
    """`2of4` in file names is `2:4` on the command line."""
    return wildcards.sparsity.replace("of", ":")


def pruning_options(wildcards):
    """The options of this method: `owl.m` for owl, `sequential` for all; other methods' are left out."""
    options = config["pruning"]["options"]
    used = {wildcards.method, options.get(f"{wildcards.method}.criterion"), options.get(f"{wildcards.method}.initial")}
    chosen = {k: v for k, v in options.items() if "." not in k or k.split(".")[0] in used}
    texts = {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in chosen.items()}
    return " ".join(f"--option {shlex.quote(f'{key}={text}')}" for key, text in sorted(texts.items()))


def from_dense(method):
    """Whether a method reads statistics of the dense model."""
    return method == "owl" or config["pruning"]["options"].get("sequential") == "dense"


def dense_statistics(wildcards):
    return f"{DATA}/statistics/{wildcards.calibration}.safetensors" if from_dense(wildcards.method) else []


def dense_kinds():
    """What the study's methods read of the dense model; Hessians are large, and collected only for their users."""
    methods = {run.method for run in RUNS}
    options = config["pruning"]["options"]
    criteria = methods | {options.get("owl.criterion"), options.get("dsnot.initial")}
    hessian = options.get("sequential") == "dense" and "sparsegpt" in criteria
    return "norm,moments,hessian" if hessian else "norm,moments"


def evaluation_options():
    chosen = config["evaluation"]
    flags = [f"--length {chosen['length']}"]
    if config["tasks"]:
        flags.append(f"--tasks {','.join(config['tasks'])}")
    if all_task_files():
        flags.append(f"--data {DATA}/tasks")
    if text_files():
        flags.append(f"--text {','.join(text_files())}")
    if chosen["text_tokens"]:
        flags.append(f"--text-tokens {chosen['text_tokens']}")
    if chosen["limit"]:
        flags.append(f"--limit {chosen['limit']}")
    fewshot = {task: shots for task, shots in chosen["fewshot"].items() if task in config["tasks"]}
    flags += [f"--fewshot {','.join(f'{task}={shots}' for task, shots in sorted(fewshot.items()))}"] if fewshot else []
    return " ".join(flags)
