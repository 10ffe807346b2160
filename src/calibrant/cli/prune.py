"""`calibrant prune`: a model and a calibration set in, masks out."""

import argparse
import sys

from calibrant.cli.common import (
    add_activations_argument,
    add_attention_argument,
    add_compute_arguments,
    apply_compute_arguments,
    existing_file,
)
from calibrant.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the stage."""
    parser.add_argument("--model", required=True, help="model folder or hub id")
    parser.add_argument("--calibration", help="calibration set (Parquet); magnitude needs none")
    parser.add_argument("--method", required=True, help="magnitude, wanda, ria, sparsegpt, dsnot or owl")
    parser.add_argument("--sparsity", required=True, help="share to prune (0.6) or N:M with N of every M kept (2:4)")
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="setting of the method, such as owl.lambda=0.05; may be repeated (docs/pruning.md lists them)",
    )
    parser.add_argument("--output", required=True, help="mask file (.safetensors)")
    parser.add_argument(
        "--statistics", help="file of `calibrant statistics`, which owl and sequential=dense take instead of a pass"
    )
    add_activations_argument(parser)
    add_attention_argument(parser)
    add_compute_arguments(parser)


def run(options: argparse.Namespace) -> None:
    """Prune and write the masks."""
    settings = parse_options(options.option)
    if not options.output.endswith(".safetensors"):
        raise InputError(f"--output {options.output}: masks are safetensors; the name must end in .safetensors")
    if options.calibration is not None:
        existing_file(options.calibration, "calibration set")
    if options.statistics is not None:
        existing_file(options.statistics, "statistics")
    apply_compute_arguments(options)
    from calibrant.models.compute.devices import hold_instruction_set
    from calibrant.stages.pruning import prune

    if "sparsegpt" in (options.method, *settings.values()):
        hold_instruction_set()

    metadata = prune(
        options.model,
        options.calibration,
        options.method,
        options.sparsity,
        settings,
        output=options.output,
        statistics=options.statistics,
        activations=options.activations,
        attention=options.attention,
        products=options.products,
        dtype=options.dtype,
        device=options.device,
    )
    if options.calibration is not None and metadata["calibration_sha256"] is None:
        print(
            f"note: method {options.method} reads no calibration data; {options.calibration} was not used",
            file=sys.stderr,
        )
    print(f"{options.output}: {metadata['achieved_sparsity']:.4%} pruned ({metadata['requested_sparsity']:.4%} asked)")


def parse_options(given: list[str]) -> dict[str, str]:
    """`key=value` texts as a mapping.

    Raises:
        InputError: no `=`, or a key given twice.
    """
    settings: dict[str, str] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise InputError(f"--option {text}: must be KEY=VALUE, such as owl.lambda=0.08")
        if key in settings:
            raise InputError(f"--option {key}: given twice")
        settings[key] = value
    return settings
