"""Time and memory of each stage's job in a study: what the plan adds up and what rules may ask a cluster for."""

from collections.abc import Mapping
from typing import Any

from calibrant.errors import InputError
from calibrant.settings.batches import SCORING_TOKENS, evaluation_tokens_at_once
from calibrant.settings.method_options import OPTIONS
from calibrant.study import cost
from calibrant.study.cost import Needs, Rates
from calibrant.study.grid import WITHOUT_DATA, full_rows
from calibrant.study.machines import tokens_table
from calibrant.study.shapes import Shape

STAGES = ("generate", "score", "dense statistics", "prune", "evaluate", "inspect")
BYTES_A_NUMBER = {"bfloat16": 2, "float16": 2, "float32": 4}
SIDE_BY_SIDE = 4  # sequences that a CPU prunes with at a time, if it has the threads (models/compute/side_by_side.py)
TASK_LENGTH = 250  # tokens that an item's tokens attend to
RANGES = next(int(str(option.default)) for option in OPTIONS["wrtn"] if option.name == "wrtn.candidates")
COLUMNWISE = 10
LAYERWISE = ("dense statistics", "prune", "inspect")
HESSIAN_METHODS = ("sparsegpt", "gptq", "awq")  # those that read the Hessians of their inputs


def stage_needs(
    stage: str,
    config: Mapping[str, Any],
    shape: Shape,
    rates: Rates,
    *,
    samples: int | None = None,
    method: str = "wanda",
) -> Needs:
    """One job of a stage.

    Args:
        stage: one of STAGES.
        config: a resolved configuration.
        shape: of the model.
        rates: of the machine.
        samples: sequences of the calibration set, or samples to generate or score; the configuration's own by default.
        method: of `prune`.

    Raises:
        InputError: an unknown stage.
    """
    if stage not in STAGES:
        raise InputError(f"stage {stage}: there is no cost model of it, only of {', '.join(STAGES)}")
    size, length = bytes_a_number(config, rates), int(config["calibration"]["length"])
    generation, options = config["generation"], config["pruning"]["options"]
    default = full_rows(config) if stage in ("generate", "score") else config["calibration"]["samples"]
    count = int(default if samples is None else samples)
    tokens = count * length
    host = 0.0
    if stage == "generate":
        batch = cost.fitting_batch(shape, min(int(generation["batch_size"]), count), length, size, rates.room)
        seconds = cost.decode_seconds(shape, rates, count, length, batch, size)
        device = cost.decode_bytes(shape, batch, length, size)
    elif stage == "score":
        seconds = cost.forward_seconds(shape, rates, tokens, length, head=True)
        device = cost.whole_bytes(shape, max(SCORING_TOKENS, length), size)
    elif stage == "evaluate":
        seconds = evaluation_seconds(config, shape, rates)
        batch = evaluation_tokens_at_once(gpu=rates.memory > 0)
        device = cost.whole_bytes(shape, max(batch, int(config["evaluation"]["length"])), size)
    elif stage == "inspect":
        sequences, taken = int(config["inspect"]["sequences"]), int(config["inspect"]["tokens"])
        seconds = 4 * cost.forward_seconds(shape, rates, sequences * taken, taken)  # dense and pruned, two texts
        device = 2 * cost.layer_bytes(shape, taken, size)
        host = 4 * cost.hidden_bytes(shape, sequences, taken, size)
    else:
        hessians = _reads_hessians(stage, method, options)
        device = cost.layer_bytes(shape, length, size, hessians=hessians)
        if rates.memory <= 0 and not hessians:
            others = min(SIDE_BY_SIDE, int(config["compute"]["threads"])) - 1
            device += others * cost.activation_bytes(shape, length, size)
        seconds, host = 0.0, 0.0
        if method not in WITHOUT_DATA:
            times = 1.0 if stage == "dense statistics" else cost.passes(shape, options.get("sequential", "layer"))
            seconds = times * cost.forward_seconds(shape, rates, tokens, length)
            host = cost.hidden_bytes(shape, count, length, size)
        if hessians:
            seconds += cost.hessian_seconds(shape, rates, tokens)
        if stage == "prune":
            seconds += cost.choose_seconds(shape, rates) * (1 + quantizing_passes(method, options))
    seconds += rates.start + shape.parameters * size / rates.load
    if rates.memory <= 0:  # the host is the device
        device = host = device + host + rates.runtime
    else:
        device, host = device + rates.runtime, host + rates.runtime + cost.layer_bytes(shape, length, size)
    return Needs(seconds, device, host)


def quantizing_passes(method: str, options: Mapping[str, Any]) -> int:
    """Passes over all weights that a quantizer makes, each as long as scoring and selecting them once.

    A range that is tried is such a pass; GPTQ, which settles one column after the other, takes as long as ten. Measured
    on SmolLM2-135M on a core with AVX2, within a quarter.
    """
    tried = int(options.get("wrtn.candidates", RANGES)) if method == "wrtn" else RANGES
    return {"rtn": 0, "wrtn": tried, "awq": tried, "gptq": COLUMNWISE}.get(method, 0)


def bytes_a_number(config: Mapping[str, Any], rates: Rates) -> int:
    """Bytes of a number in the study's format; of an unresolved `auto` 2 on a GPU, 4 on a processor (maybe float32)."""
    dtype = config["compute"]["dtype"]
    if dtype == "auto":
        dtype = "float32" if rates.memory <= 0 else "bfloat16"
    return BYTES_A_NUMBER[dtype]


def evaluation_seconds(config: Mapping[str, Any], shape: Shape, rates: Rates) -> float:
    """Forward passes of one evaluation: tasks in short sequences without the head, texts in windows with it."""
    tasks, texts = evaluation_tokens(config)
    return cost.forward_seconds(shape, rates, tasks, TASK_LENGTH) + cost.forward_seconds(
        shape, rates, texts, config["evaluation"]["length"], head=True
    )


def evaluation_tokens(config: Mapping[str, Any]) -> tuple[float, float]:
    """Tokens of one evaluation: of its tasks, cut by `limit`, and of its texts, cut by `text_tokens`."""
    table, chosen = tokens_table(), config["evaluation"]
    item, total = table["item"].value, 0.0
    for name, spec in config["tasks"].items():
        whole = table[name].value if name in table else item * spec.get("items", 1000)
        subjects = 57 if name.startswith("mmlu") else 1  # a limit is for each of them
        total += min(whole, chosen["limit"] * subjects * item) if chosen["limit"] else whole
    return total, len(config["texts"]) * (chosen["text_tokens"] or table["text"].value)


def _reads_hessians(stage: str, method: str, options: Mapping[str, Any]) -> bool:
    initial, criterion = options.get("dsnot.initial"), options.get("owl.criterion")
    read = {"dsnot": initial, "owl": criterion}.get(method, method)
    return stage == "prune" and read in HESSIAN_METHODS
