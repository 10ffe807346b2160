"""The commands of the command line: what each does, and the module of its stage, which is imported when it is run."""

import importlib

from calibrant.stages.stage import Stage

# Command -> what it does. Kept here so that `calibrant --help` imports no stage.
COMMANDS = {
    "choose": "which text to calibrate on: races texts for a purpose, within a budget",
    "download": "fetch documents, models and task rows, with their provenance",
    "sample": "draw a calibration set from documents",
    "generate": "let a model continue prefixes of documents",
    "score": "perplexity and Min-K%++ of samples under a model",
    "filter": "drop the samples of highest perplexity, or draw some of the rest",
    "statistics": "collect statistics of the dense model, for several runs of prune to share",
    "prune": "choose the weights to keep, or their codes of few bits",
    "apply": "write a pruned or quantized checkpoint in Hugging Face format",
    "evaluate": "tasks and perplexity of a model, pruned or not",
    "similarity": "Jaccard similarity between corpora",
    "contamination": "find evaluation items in calibration text",
    "overlap": "count the positions that masks have in common, each two of them",
    "inspect": "print what a mask, a calibration set or a checkpoint holds",
    "export": "write a calibration set as JSONL, plain text, a Hugging Face dataset or an importance matrix",
    "summarize": "tables, figures and a report from evaluations",
    "plan": "count a study's jobs before anything runs",
}
MODULES = {  # where the module has another name than the command
    "sample": "sampling",
    "generate": "generation",
    "score": "scoring",
    "filter": "filtering",
    "statistics": "dense_statistics",
    "prune": "pruning",
    "apply": "application",
    "evaluate": "evaluation",
    "inspect": "inspection",
    "summarize": "summary",
}


def stage_module(command: str) -> str:
    """The name of the module that implements a command."""
    return f"calibrant.stages.{MODULES.get(command, command)}"


def stage_of(command: str) -> Stage:
    """The stage of a command; importing it is light, running it is not."""
    stage: Stage = importlib.import_module(stage_module(command)).STAGE
    return stage
