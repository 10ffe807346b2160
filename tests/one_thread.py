"""A fixture that folders of tests import into their conftest: one thread.

Tiny products gain nothing from two, waiting for a shared core costs seconds, and the golden masks were made with one.
"""

import contextlib
from collections.abc import Iterator

import pytest
import torch


@contextlib.contextmanager
def on_one_thread() -> Iterator[None]:
    """For fixtures of a module or session, which are made before a test's own."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with on_one_thread():
        yield
