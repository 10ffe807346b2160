"""`calibrant apply`: a model and masks in, a pruned checkpoint in Hugging Face format out."""

import argparse

from calibrant.cli.common import existing_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the stage."""
    parser.add_argument("--model", required=True, help="model folder or hub id")
    parser.add_argument("--masks", required=True, help="mask file; updated weights are found beside it")
    parser.add_argument("--output", required=True, help="folder of the pruned checkpoint")


def run(options: argparse.Namespace) -> None:
    """Write the pruned checkpoint."""
    existing_file(options.masks, "masks")
    from calibrant.pruning.masks.pruned_checkpoint import write_pruned_checkpoint

    write_pruned_checkpoint(options.model, options.masks, options.output)
    print(f"{options.output}: pruned checkpoint in Hugging Face format")
