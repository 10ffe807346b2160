"""`calibrant inspect`: what a mask file, a calibration set or a checkpoint holds, as plain text."""

import argparse
from pathlib import Path

from calibrant.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the stage."""
    parser.add_argument("path", help="mask file, calibration set (Parquet) or model folder")
    parser.add_argument("--other", help="a second mask file: the overlap of the two is printed too")


def run(options: argparse.Namespace) -> None:
    """Print the description."""
    import calibrant.pruning.describe as describe

    path = Path(options.path)
    if options.other is not None and path.suffix != ".safetensors":
        raise InputError(f"--other {options.other}: only masks can be compared, and {path} is not a mask file")
    if path.is_dir():
        print(describe.model(path))
    elif path.suffix == ".parquet":
        print(describe.calibration_set(path))
    elif path.suffix == ".safetensors":
        print(describe.masks(path))
        if options.other is not None:
            print(describe.comparison(path, Path(options.other)))
    else:
        raise InputError(
            f"{path}: {'no such file' if not path.exists() else 'neither masks, Parquet nor a model folder'}"
        )
