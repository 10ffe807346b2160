"""`calibrant statistics`: one pass over the dense model, for OWL and `sequential=dense` to share."""

import argparse

from calibrant.cli.common import (
    add_activations_argument,
    add_attention_argument,
    add_compute_arguments,
    apply_compute_arguments,
    existing_file,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the stage."""
    parser.add_argument("--model", required=True, help="model folder or hub id")
    parser.add_argument("--calibration", required=True, help="calibration set (Parquet)")
    parser.add_argument(
        "--kinds",
        default="norm,moments",
        help="norm (wanda, ria, owl), moments (dsnot), hessian (sparsegpt; large); norm,moments by default",
    )
    parser.add_argument("--exclude", metavar="REGEX", help="linear layers to leave out, as in prune's exclude=REGEX")
    parser.add_argument("--output", required=True, help="file to write (.safetensors), for prune --statistics")
    add_activations_argument(parser)
    add_attention_argument(parser)
    add_compute_arguments(parser)


def run(options: argparse.Namespace) -> None:
    """Collect and write."""
    existing_file(options.calibration, "calibration set")
    apply_compute_arguments(options)
    from calibrant.models.compute.devices import hold_instruction_set
    from calibrant.pruning.run.statistics_file import write_dense_statistics

    kinds = [kind for kind in options.kinds.split(",") if kind]
    if "hessian" in kinds:
        hold_instruction_set()
    metadata = write_dense_statistics(
        options.model,
        options.calibration,
        kinds,
        output=options.output,
        exclude=options.exclude or None,
        dtype=options.dtype,
        device=options.device,
        activations=options.activations,
        attention=options.attention,
        products=options.products,
    )
    linears, distinct = len(metadata["leaders"]), len(metadata["counts"])
    print(f"{options.output}: {', '.join(metadata['kinds'])} of {distinct} distinct inputs of {linears} linear layers")
