"""Arguments and conversions that several stages share."""

import argparse
from pathlib import Path

from calibrant.errors import InputError


def add_compute_arguments(parser: argparse.ArgumentParser) -> None:
    """--dtype, --device and --threads."""
    parser.add_argument("--dtype", default="auto", help="float32, bfloat16 or auto (the checkpoint's own)")
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 leaves PyTorch's default")


def add_attention_argument(parser: argparse.ArgumentParser) -> None:
    """--attention."""
    parser.add_argument(
        "--attention",
        default="auto",
        choices=("auto", "sdpa"),
        help="sdpa: PyTorch's kernel; auto takes a faster one for bfloat16 on the CPU, which rounds differently "
        "(docs/performance.md)",
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


def apply_threads(threads: int) -> None:
    """Limit PyTorch to `threads` CPU threads (0: leave its default).

    Results in bfloat16 can depend on the number of threads, so the workflow fixes it per rule.
    """
    if threads < 0:
        raise InputError(f"--threads {threads}: must be 0 (PyTorch's default) or more")
    if threads:
        import torch

        torch.set_num_threads(threads)


def existing_file(path: str, what: str) -> Path:
    """A path that must be a file.

    Raises:
        InputError: it is not there, or is a folder.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"{what} {path}: {'is a folder, not a file' if file.is_dir() else 'no such file'}")
    return file
