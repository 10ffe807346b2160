"""`calibrant inspect`: what a mask file, a calibration set or a checkpoint holds, as plain text."""

import argparse
from pathlib import Path
from typing import Any

from calibrant.cli.common import add_compute_arguments, apply_compute_arguments
from calibrant.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the stage."""
    parser.add_argument("path", help="mask file, calibration set (Parquet) or model folder")
    parser.add_argument("--other", help="masks: a second mask file, to print the overlap of the two")
    parser.add_argument("--model", help="masks: their model, to print each layer's reconstruction error on --text-set")
    parser.add_argument(
        "--text-set",
        action="append",
        default=[],
        metavar="SET.parquet",
        help="calibration set to measure on; may be repeated (the one used, and one held out)",
    )
    parser.add_argument(
        "--sequences",
        type=int,
        default=0,
        metavar="N",
        help="only the first N of each set, those that it shares with the calibration set left out before; 0 for all",
    )
    parser.add_argument("--tokens", type=int, default=0, metavar="N", help="only the first N of a sequence; 0 for all")
    parser.add_argument("--output", help="masks: also write the per-layer figures as JSON")
    add_compute_arguments(parser)


def run(options: argparse.Namespace) -> None:
    """Print the description."""
    path = Path(options.path)
    _check(options, path)
    apply_compute_arguments(options)
    import calibrant.pruning.inspection.descriptions as describe

    if options.model is not None:  # the record names the format, not auto
        from calibrant.models.checkpoint.checkpoint_files import resolve
        from calibrant.models.compute.number_formats import dtype_name
        from calibrant.models.compute.resolution import resolve_dtype

        options.dtype = dtype_name(resolve_dtype(resolve(options.model), options.dtype, options.device).dtype)
    if path.is_dir():
        print(describe.model(path))
    elif path.suffix == ".parquet":
        print(describe.calibration_set(path))
    else:
        figures = describe.figures(
            path,
            other=options.other,
            model=options.model,
            text_sets=options.text_set,
            sequences=options.sequences,
            tokens=options.tokens,
            dtype=options.dtype,
            device=options.device,
        )
        print(describe.masks(path, figures))
        if options.output is not None:
            from calibrant.artefacts.atomic import write_json
            from calibrant.artefacts.provenance import write_provenance

            write_provenance(options.output, _record(options))
            write_json(options.output, figures)


def _record(options: argparse.Namespace) -> dict[str, Any]:
    """What the figures were made of."""
    from calibrant.artefacts.digest import sha256_file
    from calibrant.pruning.masks.mask_file import read_masks

    other = {} if options.other is None else {"other": sha256_file(options.other)}
    names = ("sequences", "tokens", "dtype", "device", "threads")
    return {
        "stage": "inspect",
        "model_sha256": read_masks(options.path).metadata.get("model_sha256"),
        "settings": {name: getattr(options, name) for name in names},
        "inputs": {"masks": sha256_file(options.path), **other}
        | {Path(path).name: sha256_file(path) for path in options.text_set},
    }


def _check(options: argparse.Namespace, path: Path) -> None:
    if not path.exists():
        raise InputError(f"{path}: no such file")
    is_masks = path.is_file() and path.suffix == ".safetensors"
    if not (path.is_dir() or path.suffix == ".parquet" or is_masks):
        raise InputError(f"{path}: neither masks (.safetensors), a calibration set (.parquet) nor a model folder")
    for name in ("other", "model", "output"):
        if getattr(options, name) is not None and not is_masks:
            raise InputError(f"--{name}: goes with a mask file, and {path} is none")
    for name in ("sequences", "tokens"):
        if getattr(options, name) and not options.text_set:
            raise InputError(f"--{name}: limits what is read of --text-set, and none is given")
    if bool(options.text_set) != (options.model is not None):
        raise InputError("--model and --text-set go together: the model is run on the set, dense and pruned")
