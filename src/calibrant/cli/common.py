"""Arguments and conversions that several stages share."""

import argparse
from pathlib import Path

from calibrant.errors import InputError


def add_compute_arguments(parser: argparse.ArgumentParser) -> None:
    """--dtype, --resolved, --device and --threads; `apply_compute_arguments` acts on them."""
    parser.add_argument(
        "--dtype",
        default="auto",
        help="float32, bfloat16, float16 or auto: the checkpoint's own where the device computes it well, else float32",
    )
    parser.add_argument(
        "--resolved",
        metavar="FILE",
        help="what auto was resolved to where the study began (its number-format.json); auto is then that",
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:N, mps (Apple's GPU) or auto")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 leaves PyTorch's default")


def add_attention_argument(parser: argparse.ArgumentParser) -> None:
    """--attention and --products."""
    parser.add_argument(
        "--attention",
        default="auto",
        choices=("auto", "sdpa"),
        help="sdpa: PyTorch's kernel; auto takes a faster one on the CPU, which rounds differently "
        "(docs/performance.md)",
    )
    parser.add_argument(
        "--products",
        default="auto",
        choices=("auto", "plain"),
        help="plain: PyTorch's matrix products; auto takes faster ones for float32 on x86 processors, which round "
        "differently (docs/performance.md)",
    )


def add_activations_argument(parser: argparse.ArgumentParser) -> None:
    """--activations."""
    parser.add_argument(
        "--activations",
        default="auto",
        choices=("auto", "memory", "disk"),
        help="where the calibration set's activations lie; auto takes the disk for sets larger than a quarter of the "
        "free memory (same result)",
    )


def apply_compute_arguments(options: argparse.Namespace) -> None:
    """Limit PyTorch to --threads CPU threads (0: leave its default), and put what --resolved says into --dtype.

    Results can depend on the number of threads and on the number format, so the workflow fixes both for a study.

    Raises:
        InputError: a negative number of threads, an explicit --dtype beside --resolved, or a file that is none of ours.
    """
    if options.threads < 0:
        raise InputError(f"--threads {options.threads}: must be 0 (PyTorch's default) or more")
    if options.resolved is not None:
        if options.dtype != "auto":
            raise InputError(f"--resolved says what auto is, and --dtype is {options.dtype}; give one of them")
        from calibrant.models.compute.resolution import resolved_dtype

        options.dtype = resolved_dtype(options.resolved, options.device)
    if options.threads:
        import torch

        torch.set_num_threads(options.threads)


def existing_file(path: str, what: str) -> Path:
    """A path that must be a file.

    Raises:
        InputError: it is not there, or is a folder.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"{what} {path}: {'is a folder, not a file' if file.is_dir() else 'no such file'}")
    return file
