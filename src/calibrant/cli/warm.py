"""Pay the imports once: a server that has torch and transformers loaded and forks a child for every stage.

Importing them takes seconds of processor time, as long as a small model's pruning. `workflow/study.py` starts one
server for the jobs of this machine and names its socket in CALIBRANT_WARM; a thin script that finds it sends its
arguments, folder and output streams there, and waits. The child runs what the script would have run, so results
are the same with and without. When a script is killed its socket closes, and the server kills the child.

The server must have a single thread when it forks: it imports, and computes nothing. Start it with ENVIRONMENT,
which keeps numpy's linear algebra from starting threads when it is imported. Where that cannot be made sure
(`why_not`), there is no server, and every script imports for itself.
"""

import contextlib
import importlib
import json
import os
import selectors
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

VARIABLE = "CALIBRANT_WARM"
ONLINE = "download"  # the one stage of the workflow that may use a network
OFFLINE_VARIABLE = "HF_HUB_OFFLINE"
OFFLINE_VALUES = ("1", "ON", "YES", "TRUE")
OFFLINE_READERS = ("huggingface_hub.constants", "datasets.config")  # they read the variable when they are imported
HEAVY = (
    "torch",
    "transformers.models.llama.modeling_llama",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
    "lm_eval.api.task",
    "lm_eval.evaluator_utils",
)
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1"}
THREADS = Path("/proc/self/task")
FORK_SAFE_THREADS = ("jemalloc_bg_thd",)  # pyarrow's allocator, which has handlers for fork
LONGEST_ADDRESS = 107  # bytes of a Unix socket's path on Linux


def run_stage(arguments: Sequence[str]) -> int:
    """Run a stage of the workflow in the warm server when there is one, else here; returns its exit status.

    Every stage but `download` runs with the hub's libraries offline, unless the environment says otherwise: its node
    may have no network, and would wait for one.
    """
    if arguments[0] != ONLINE:
        os.environ.setdefault(OFFLINE_VARIABLE, "1")
    address = os.environ.get(VARIABLE)
    if address:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(address)
        except OSError:  # the server is gone: run here
            connection.close()
        else:
            with connection:
                return _ask(connection, arguments)
    from calibrant.cli.main import main

    return main(arguments)


def why_not(address: str) -> str | None:
    """Why no warm server can listen at `address` on this machine; None where one can.

    Forking is safe while there is one thread. Only Linux's /proc tells how many there are, and macOS's frameworks must
    not be used in a child that was forked after they were loaded.
    """
    if sys.platform != "linux":
        return "only Linux lets a process that has PyTorch loaded be forked safely"
    try:
        _threads()
    except OSError:
        return f"{THREADS}, which tells whether it may fork, cannot be read"
    if len(os.fsencode(address)) > LONGEST_ADDRESS:
        return f"its socket {address} would have a path of more than {LONGEST_ADDRESS} bytes; set a shorter TMPDIR"
    return None


def left_out(reason: str) -> str:
    """The line for a user whose jobs have no warm server."""
    return f"calibrant: no warm server: {reason}. Jobs start some seconds later and give the same files"


def serve(address: str, lifeline: int, modules: Sequence[str] = HEAVY) -> None:
    """Accept stages on a Unix socket until the other end of the pipe `lifeline` closes.

    Says so and returns when an import has started threads, beside which forking is not safe.
    """
    for name in modules:
        importlib.import_module(name)
    threads = _threads()
    if len([name for name in threads if name not in FORK_SAFE_THREADS]) != 1:
        print(left_out(f"its imports have started threads ({', '.join(threads)})"), file=sys.stderr)
        return
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(64)
    children: dict[int, socket.socket] = {}
    ended, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    selector = selectors.DefaultSelector()
    for source in (listener, lifeline, ended):
        selector.register(source, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is listener:
                connection, _ = listener.accept()
                if (request := _receive(connection)) is not None:
                    children[_fork(*request, inherited=[connection, listener, *children.values()])] = connection
                    selector.register(connection, selectors.EVENT_READ)
            elif key.fileobj == ended:
                os.read(ended, 4096)
                _reap(children, selector)
            elif key.fileobj == lifeline:
                for child in children:
                    _kill(child)
                return
            else:  # a script sends nothing after its request: it is gone, and nobody waits for the child
                selector.unregister(key.fileobj)
                for child, connection in children.items():
                    if connection is key.fileobj:
                        _kill(child)


def follow_offline() -> None:
    """Tell the hub's libraries, which were imported under the server's environment, whether this job is offline."""
    offline = os.environ.get(OFFLINE_VARIABLE, "").upper() in OFFLINE_VALUES
    for name in OFFLINE_READERS:
        if name in sys.modules:
            vars(sys.modules[name])[OFFLINE_VARIABLE] = offline


def _threads() -> list[str]:
    """The names of this process's threads."""
    return [(task / "comm").read_text().strip() for task in THREADS.iterdir()]


def _ask(connection: socket.socket, arguments: Sequence[str]) -> int:
    request = json.dumps({"arguments": list(arguments), "folder": str(Path.cwd()), "environment": dict(os.environ)})
    data = request.encode()
    answer = b""
    try:
        socket.send_fds(connection, [struct.pack("!I", len(data))], [1, 2])
        connection.sendall(data)
        answer = connection.recv(4)
    except OSError:
        pass
    if len(answer) < 4:
        print("calibrant: the warm server stopped before the stage ended", file=sys.stderr)
        return 1
    return int(struct.unpack("!i", answer)[0])


def _receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """The request of a script and its output streams; None when the script is gone already."""
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
    return json.loads(data), descriptors


def _fork(request: dict[str, Any], descriptors: list[int], inherited: Sequence[socket.socket]) -> int:
    child = os.fork()
    if child:
        with contextlib.suppress(OSError):  # the child does the same: whoever comes first
            os.setpgid(child, child)
        for descriptor in descriptors:
            os.close(descriptor)
        return child
    status = 1
    try:
        with contextlib.suppress(OSError):
            os.setpgid(0, 0)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for other in inherited:
            other.close()
        for target, descriptor in enumerate(descriptors, start=1):
            os.dup2(descriptor, target)
            os.close(descriptor)
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["environment"])
        follow_offline()
        from calibrant.cli.main import main

        status = main(request["arguments"])
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _kill(child: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)


def _reap(children: dict[int, socket.socket], selector: selectors.BaseSelector) -> None:
    while True:
        try:
            child, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if child == 0:
            return
        connection = children.pop(child)
        try:
            selector.unregister(connection)
            connection.sendall(struct.pack("!i", os.waitstatus_to_exitcode(status)))
        except (KeyError, OSError):  # nobody waits any more
            pass
        connection.close()


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
