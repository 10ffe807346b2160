"""The loop of a process that forks jobs: a child for each script that waits at a socket, its status sent back.

A script that is gone takes its job with it, and so does the end of the loop's owner, the other end of a pipe.
"""

import contextlib
import json
import os
import selectors
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from calibrant.cli.offline import follow_offline


@dataclass(frozen=True)
class Request:
    """What a script asks for.

    Attributes:
        arguments: of the command line.
        folder: the script's working folder.
        environment: its own.
        streams: descriptors of its standard output and standard error.
        connection: where it waits for the exit status.
    """

    arguments: list[str]
    folder: str
    environment: dict[str, str]
    streams: list[int]
    connection: socket.socket

    @classmethod
    def of(cls, data: bytes, streams: list[int], connection: socket.socket) -> "Request":
        """From `data`."""
        return cls(**json.loads(data), streams=streams, connection=connection)

    @property
    def data(self) -> bytes:
        """All but the descriptors."""
        said = {"arguments": self.arguments, "folder": self.folder, "environment": self.environment}
        return json.dumps(said).encode()

    def enter(self) -> None:
        """Take on the script's working folder and environment."""
        os.chdir(self.folder)
        os.environ.clear()
        os.environ.update(self.environment)
        follow_offline()

    def let_go(self) -> None:
        """Close the descriptors that another process has taken over."""
        for stream in self.streams:
            os.close(stream)


def receive(connection: socket.socket) -> Request | None:
    """The request of a script; None when the script is gone already."""
    connection.settimeout(10)
    try:
        header, descriptors, _, _ = socket.recv_fds(connection, 4, 2)
        missing = struct.unpack("!I", header)[0]
        data = b""
        while missing > len(data):
            part = connection.recv(missing - len(data))
            if not part:
                raise OSError
            data += part
    except (OSError, struct.error):
        connection.close()
        return None
    return Request.of(data, descriptors, connection)


class JobLoop:
    """Waits for sources, and forks jobs.

    Attributes:
        jobs: the connections of those that run, by their children.
        waiting: requests whose jobs have not begun.
        gone: called when a child has ended.
        before: called in a job's child first.
    """

    def __init__(self, lifeline: int) -> None:
        """`lifeline` is the end of a pipe whose other end closes when the loop is to end."""
        self.lifeline = lifeline
        self.gone: Callable[[], None] = lambda: None
        self.before: Callable[[], None] = lambda: None
        self.jobs: dict[int, socket.socket] = {}
        self.waiting: list[Request] = []
        self._running = True
        self._selector = selectors.DefaultSelector()
        self._ended, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        signal.set_wakeup_fd(self._wake)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.watch(self._ended, self._reap)
        self.watch(lifeline, self._stop)

    def watch(self, source: Any, heard: Callable[[], None]) -> None:
        """Call `heard` whenever there is something to read."""
        self._selector.register(source, selectors.EVENT_READ, heard)

    def ignore(self, source: Any) -> None:
        """Watch no longer."""
        self._selector.unregister(source)

    def run(self) -> None:
        """Until the owner is gone, or `end`; no job is left then."""
        while self._running:
            for key, _ in self._selector.select():
                if key in self._selector.get_map().values():  # what came before may have let go of it
                    key.data()
        for child in self.jobs:
            _kill(child)

    def end(self) -> None:
        """Let `run` return."""
        self._running = False

    def expect(self, request: Request) -> None:
        """Notice from now on when the script is gone."""
        self.waiting.append(request)
        self.watch(request.connection, lambda: self._hung_up(request.connection))

    def forget(self, request: Request) -> None:
        """Let go of a request that waits: its script is gone, or another process has taken it over."""
        self.waiting.remove(request)
        self.ignore(request.connection)
        request.let_go()
        request.connection.close()

    def start(self, request: Request) -> None:
        """Fork the child that does a job that waits."""
        self.waiting.remove(request)
        child = self.fork()
        if child:
            with contextlib.suppress(OSError):  # the child does the same: whoever comes first
                os.setpgid(child, child)
            request.let_go()
            self.jobs[child] = request.connection
            return
        status = 1
        try:
            with contextlib.suppress(OSError):
                os.setpgid(0, 0)
            for target, descriptor in enumerate(request.streams, start=1):
                os.dup2(descriptor, target)
            request.let_go()
            request.enter()
            self.before()
            from calibrant.cli.main import main

            status = main(request.arguments)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def fork(self, *keep: Any) -> int:
        """Fork; in the child nothing is left of the loop but the sources in `keep`."""
        child = os.fork()
        if not child:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for key in [*self._selector.get_map().values()]:
                if key.fileobj not in keep:
                    os.close(key.fd)
                    if isinstance(key.fileobj, socket.socket):
                        key.fileobj.detach()
            for request in self.waiting:
                request.let_go()
            os.close(self._wake)
            self._selector.close()
        return child

    def _stop(self) -> None:
        self.end()

    def _hung_up(self, connection: socket.socket) -> None:
        """A script sends nothing after its request: it is gone, and nobody waits for the child."""
        for request in [each for each in self.waiting if each.connection is connection]:
            self.forget(request)
            return
        self.ignore(connection)
        for child in [child for child, waiting in self.jobs.items() if waiting is connection]:
            _kill(child)

    def _reap(self) -> None:
        os.read(self._ended, 4096)
        while True:
            try:
                child, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if child == 0:
                return
            connection = self.jobs.pop(child, None)
            if connection is not None:
                with contextlib.suppress(KeyError, OSError):  # nobody waits any more
                    self.ignore(connection)
                    connection.sendall(struct.pack("!i", os.waitstatus_to_exitcode(status)))
                connection.close()
            self.gone()


def _kill(child: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
