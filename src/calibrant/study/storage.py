"""What a study keeps on disk, in bytes, and which updated weights it deletes once they are measured."""

from collections.abc import Mapping
from typing import Any

from calibrant.settings.method_targets import QUANTIZERS, WITHOUT_DATA
from calibrant.settings.target import parse_target
from calibrant.study.grid import Run, full_rows
from calibrant.study.shapes import Shape
from calibrant.study.work import Work

BYTES_A_TOKEN = 8  # of generated text and sets, ids and text, as Parquet compresses them: measured on SmolLM2's
BYTES_A_WEIGHT = 2  # of a checkpoint on disk, whatever it is computed in: nearly all are in a 16-bit format
BITS_A_GROUP = 32 + 8  # a scale in float32, a zero of a byte
UPDATING = (*QUANTIZERS, "sparsegpt")  # methods that always write the weights that they leave


def storage(work: Work, shape: Shape, size: int) -> dict[str, float]:
    """Bytes of what is kept, by kind.

    Args:
        work: what is planned.
        shape: of the model.
        size: bytes of a number in the study's format.
    """
    length = work.config["calibration"]["length"]
    rows = len(work.pools) * full_rows(work.config) + sum(key.samples for key in work.sets)
    passing, options = passing_weights(work.config), work.config["pruning"]["options"]
    updated = sum(writes_weights(run, options) and run.method not in passing for run in work.masks)
    return {
        "model": shape.parameters * BYTES_A_WEIGHT,
        "masks": sum(mask_bytes(run, shape) for run in work.masks),
        **({"updated weights": float(updated * shape.linear_weights * size)} if updated else {}),
        "generated text and sets": rows * length * BYTES_A_TOKEN,
    }


def mask_bytes(run: Run, shape: Shape) -> float:
    """Bytes of a mask file: a bit a weight where weights are pruned; codes, scales and zeros where there is a width."""
    target = parse_target(run.target)
    bits = 0.0 if target.pattern is None else 1.0
    if target.width is not None:
        columns = target.width.group or shape.width
        bits += target.width.bits + BITS_A_GROUP / columns
    return shape.linear_weights * bits / 8


def writes_weights(run: Run, options: Mapping[str, Any]) -> bool:
    """Whether a run writes the weights that it leaves beside its masks.

    Args:
        run: which compresses.
        options: of methods, as a study has them.
    """
    solved = run.method == "owl" and options.get("owl.criterion") in UPDATING
    return run.method in UPDATING or solved or parse_target(run.target).width is not None


def passing_weights(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The methods whose updated weights a study deletes after their last use; a race may hand any of them over."""
    if config["storage"]["weights"] != "temporary" or "choose" in config:
        return ()
    return tuple(method for method in UPDATING if method not in WITHOUT_DATA)
