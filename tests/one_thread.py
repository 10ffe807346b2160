"""A fixture that folders of tests import into their conftest: one thread.

Tiny products gain nothing from two, waiting for a shared core costs seconds, and the golden masks were made with one.
"""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
