"""Devices are chosen in one module and described in one: no other one names a GPU or asks PyTorch about it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from support import ROOT

from calibrant.errors import InputError
from calibrant.models.compute.devices import choose_device, on_gpu

PACKAGE = ROOT / "src" / "calibrant"
ALLOWED = {"models/compute/devices.py", "models/compute/hardware.py"}


def mentions(tree: ast.AST) -> Iterator[str]:
    """`"cuda:0"` as a value, `torch.cuda`, `tensor.is_cuda`, `tensor.cuda()`; prose is free."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(r"cuda(:\d+)?", node.value):
            yield f"line {node.lineno}: {node.value!r}"
        elif isinstance(node, ast.Attribute) and node.attr in ("cuda", "is_cuda"):
            yield f"line {node.lineno}: .{node.attr}"


def test_the_check_sees_what_it_is_to_see() -> None:
    text = 'x.cuda(); torch.cuda.synchronize(); x.to("cuda"); y.is_cuda; print("runs on cuda or not"); z = "cuda:1"'
    assert len(list(mentions(ast.parse(text)))) == 5
    assert list(mentions(ast.parse((PACKAGE / "models/compute/devices.py").read_text())))


def test_only_these_modules_know_about_gpus() -> None:
    files = {str(path.relative_to(PACKAGE)): path for path in Path(PACKAGE).rglob("*.py")}
    found = {name: list(mentions(ast.parse(path.read_text()))) for name, path in files.items() if name not in ALLOWED}
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_gpus_that_are_not_there_are_refused() -> None:
    assert not on_gpu(choose_device("cpu"))
    assert on_gpu(torch.device("cuda", 1))
    with pytest.raises(InputError, match="--device tpu: unknown device; use cpu, cuda, cuda:N, mps or auto"):
        choose_device("tpu")
    if not torch.cuda.is_available():
        assert choose_device("auto") == torch.device("cpu")
        with pytest.raises(InputError, match="--device cuda: PyTorch finds no usable GPU; use cpu or auto"):
            choose_device("cuda")
