"""Items side by side: their order, the threads of each, errors, and what the caller finds afterwards."""

import threading
import time
from collections.abc import Iterator

import pytest
import torch

from calibrant.models.compute.side_by_side import side_by_side

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def four_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    assert torch.get_num_threads() == 4, "the caller has its threads back"
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("items", "at_once", "alone"), [(9, 2, 1), (8, 2, 0), (9, 4, 1), (3, 4, 0), (5, 1, 5), (0, 4, 0)]
)
def test_results_in_order_and_threads_shared_out(items: int, at_once: int, alone: int) -> None:
    workers = min(items, at_once)

    def where(item: int) -> tuple[int, bool, int, bool]:
        caller = threading.current_thread() is threading.main_thread()
        return item, caller, torch.get_num_threads(), torch.is_grad_enabled()

    found = list(side_by_side(where, range(items), CPU, at_once))
    assert [item for item, *_ in found] == list(range(items))
    assert [caller for _, caller, *_ in found] == [True] * alone + [False] * (items - alone)
    assert [threads for *_, threads, _ in found] == [4] * alone + [4 // max(workers, 1)] * (items - alone)
    assert not any(gradients for *_, gradients in found)


def test_several_run_at_the_same_time() -> None:
    meeting = threading.Barrier(2)  # broken, and so an error, unless two are there within the time
    assert len(list(side_by_side(lambda item: meeting.wait(timeout=60), range(4), CPU, 2))) == 4


def test_on_a_gpu_one_after_the_other_by_the_caller() -> None:
    found = side_by_side(lambda item: threading.current_thread(), range(4), torch.device("cuda", 0))
    assert set(found) == {threading.main_thread()}


def test_an_error_ends_it() -> None:
    done = []

    def fails_at_three(item: int) -> None:
        if item == 3:
            raise ValueError("three")
        time.sleep(0.005)  # work, so that not all of it is done before the caller hears of the error
        done.append(item)

    with pytest.raises(ValueError, match="three"):
        list(side_by_side(fails_at_three, range(1000), CPU, 2))
    assert len(done) < 999
