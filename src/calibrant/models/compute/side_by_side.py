"""Sequences side by side on a CPU: threads that each run a sequence of their own wait less than threads that share one.

Values do not depend on it where an operation's do not depend on its number of threads.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from calibrant.models.compute.devices import on_gpu

AT_ONCE = 4  # sequences at most, since each holds the activations of a decoder layer

Item = TypeVar("Item")
Result = TypeVar("Result")


def side_by_side(
    function: Callable[[Item], Result], items: Sequence[Item], device: torch.device, at_once: int = AT_ONCE
) -> Iterator[Result]:
    """`function` of each item, in order; on a CPU up to `at_once` run at a time, and share PyTorch's threads out.

    Items that would leave threads idle at the end come first, one after the other with all threads. The function runs
    without gradients, in other threads than the caller's: it must not change what it shares with its other calls.
    """
    threads = torch.get_num_threads()
    workers = 1 if on_gpu(device) else min(at_once, threads, len(items))
    alone = len(items) if workers <= 1 else len(items) % workers

    def without_gradients(item: Item) -> Result:
        with torch.no_grad():  # holds for one thread only
            return function(item)

    yield from map(without_gradients, items[:alone])
    if alone == len(items):
        return
    try:
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(threads // workers,)) as pool:
            yield from pool.map(without_gradients, items[alone:])
    finally:
        torch.set_num_threads(threads)
