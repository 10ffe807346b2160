"""Keepers: processes between the warm server and its jobs, each of which has one model opened.

The first job of a model lets the server fork a keeper, which opens, hashes and loads that model (`stages.kept_model`)
and forks this job and all further ones, which have it without copying it. The server itself stays as it was: a model
that cannot be kept, or whose loading starts threads or is killed, costs nobody but its keeper, and the jobs
that waited for it are forked by the server and open the model themselves.
"""

import contextlib
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from calibrant.cli.job_loop import JobLoop, Request
from calibrant.stages.kept_model import Wanted, keep_model, what_to_keep

READY = b"ready"
LARGEST = 1 << 17  # bytes of a request that is handed on; a larger environment's job is the server's
PATIENCE = 10.0  # seconds until a keeper that takes no request is given up


@dataclass
class Keeper:
    """A keeper, as the server sees it; `waiting` are the requests that came while it was loading."""

    wanted: Wanted
    process: int
    channel: socket.socket
    ready: bool = False
    waiting: list[Request] = field(default_factory=list)


class Keepers:
    """The keepers of a server: one for jobs that read their model layer by layer, one for those that have it whole."""

    def __init__(self, loop: JobLoop, safe: Callable[[], bool]) -> None:
        """`safe` says whether the calling process may fork."""
        self._loop, self._safe = loop, safe
        self._keepers: dict[bool, Keeper] = {}  # by Wanted.whole
        self._refused: set[Wanted] = set()

    def start(self, request: Request) -> None:
        """Start a job: by the keeper of its model, or else by the server."""
        self._loop.expect(request)
        wanted = what_to_keep(request.arguments, Path(request.folder))
        if wanted is None or wanted in self._refused or len(request.data) > LARGEST:
            self._loop.start(request)
            return
        keeper = self._keepers.get(wanted.whole)
        if keeper is not None and keeper.wanted != wanted:
            self._dismiss(keeper)
            keeper = None
        if keeper is None:
            keeper = self._keepers[wanted.whole] = self._hire(wanted, request)
        if keeper.ready:
            self._hand_on(keeper, request)
        else:
            keeper.waiting.append(request)

    def _hire(self, wanted: Wanted, request: Request) -> Keeper:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        process = self._loop.fork(self._loop.lifeline)
        if not process:
            try:
                ours.close()
                _keep(theirs, self._loop.lifeline, wanted, request, self._safe)
            finally:
                os._exit(1)
        theirs.close()
        ours.settimeout(PATIENCE)
        keeper = Keeper(wanted, process, ours)
        self._loop.watch(ours, lambda: self._heard(keeper))
        return keeper

    def _heard(self, keeper: Keeper) -> None:
        try:
            ready = keeper.channel.recv(len(READY)) == READY
        except OSError:
            ready = False
        if not ready:
            self._refused.add(keeper.wanted)
            self._dismiss(keeper)
            return
        keeper.ready = True
        for request in self._waiting(keeper):
            self._hand_on(keeper, request)

    def _waiting(self, keeper: Keeper) -> list[Request]:
        """Whose scripts are still there; they wait no longer."""
        found = [request for request in keeper.waiting if request in self._loop.waiting]
        keeper.waiting.clear()
        return found

    def _hand_on(self, keeper: Keeper, request: Request) -> None:
        try:
            socket.send_fds(keeper.channel, [request.data], [request.connection.fileno(), *request.streams])
        except OSError:
            self._loop.start(request)
            return
        self._loop.forget(request)

    def _dismiss(self, keeper: Keeper) -> None:
        """Let a keeper end with its last job; the server does what waits for it."""
        if self._keepers.get(keeper.wanted.whole) is keeper:
            del self._keepers[keeper.wanted.whole]
        self._loop.ignore(keeper.channel)
        keeper.channel.close()
        for request in self._waiting(keeper):
            self._loop.start(request)


def _keep(channel: socket.socket, lifeline: int, wanted: Wanted, request: Request, safe: Callable[[], bool]) -> None:
    """What a keeper does."""
    import torch

    request.enter()
    threads = torch.get_num_threads()
    if not keep_model(wanted) or not safe():
        return
    loop = JobLoop(lifeline)
    # Loading was to take one thread; jobs have as many as they would have had.
    loop.before = lambda: torch.set_num_threads(threads)

    def heard() -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(channel, 2 * LARGEST, 3)
        except OSError:
            data, descriptors = b"", []
        if not data:  # the server has dismissed us, or is gone
            loop.ignore(channel)
            channel.close()
            loop.gone = lambda: None if loop.jobs else loop.end()
            loop.gone()
            return
        handed = Request.of(data, descriptors[1:], socket.socket(fileno=descriptors[0]))
        loop.expect(handed)
        loop.start(handed)

    channel.setblocking(True)
    loop.watch(channel, heard)
    with contextlib.suppress(OSError):
        channel.sendall(READY)
        loop.run()
