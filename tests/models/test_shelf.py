"""Tables that processes forked from one share."""

import os
import signal
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from calibrant.models.compute.shelf import Shelf

TABLE = torch.arange(35, dtype=torch.float32).view(7, 5)


def chunks(calls: list[int] | None = None, upto: int = 3) -> Iterator[Tensor]:
    for number, chunk in enumerate(torch.split(TABLE, 3)[:upto]):
        if calls is not None:
            calls.append(number)
        yield chunk


def in_child(work: Callable[[], None]) -> int:
    child = os.fork()
    if not child:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def taken(shelf: Shelf, key: bytes = b"key", calls: list[int] | None = None) -> list[Tensor]:
    return [chunk.clone() for chunk in shelf.chunks(key, len(TABLE), lambda: chunks(calls))]


@pytest.mark.parametrize("room", [4096, 100])  # enough, and too little: then each makes its own
def test_the_first_process_makes_a_table_and_the_next_take_it(room: int) -> None:
    shelf = Shelf(room, torch.float32)
    assert in_child(lambda: taken(shelf) and None) == 0
    calls: list[int] = []
    found = taken(shelf, calls=calls)
    assert [len(chunk) for chunk in found] == [3, 3, 1]
    assert torch.equal(torch.cat(found), TABLE)
    assert calls == ([] if room == 4096 else [0, 1, 2])


def test_another_key_another_table() -> None:
    shelf = Shelf(4096, torch.float32)
    taken(shelf)
    calls: list[int] = []
    taken(shelf, b"other", calls)
    assert calls == [0, 1, 2]
    for key in (b"key", b"other"):
        assert torch.equal(torch.cat(taken(shelf, key, calls)), TABLE)
    assert calls == [0, 1, 2]


def test_what_a_killed_process_left_undone_is_not_taken() -> None:
    shelf = Shelf(4096, torch.float32)

    def killed() -> None:
        for _ in shelf.chunks(b"key", len(TABLE), chunks):
            os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(killed) == -signal.SIGKILL
    for _ in range(2):
        calls: list[int] = []
        assert torch.equal(torch.cat(taken(shelf, calls=calls)), TABLE)
        assert calls == [0, 1, 2]


def test_another_number_format_is_not_put_there() -> None:
    shelf = Shelf(4096, torch.bfloat16)
    taken(shelf)
    calls: list[int] = []
    taken(shelf, calls=calls)
    assert calls == [0, 1, 2]
