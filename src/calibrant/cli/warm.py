"""Pay the imports once: a server that has torch and transformers loaded and forks a child for every stage.

Importing them takes seconds of processor time, as long as a small model's pruning. `workflow/study.py` starts one
server for the jobs of this machine and names its socket in CALIBRANT_WARM; a thin script that finds it sends its
arguments, folder and output streams there, and waits. The child runs what the script would have run, so results
are the same with and without. When a script is killed its socket closes, and the server kills the child.

The model that jobs share is opened once for all of them, by a process between the server and its children (`keepers`).

The server must have a single thread when it forks: it imports, and computes nothing. Start it with ENVIRONMENT,
which keeps numpy's linear algebra from starting threads when it is imported. Where that cannot be made sure
(`why_not`), there is no server, and every script imports for itself.
"""

import importlib
import json
import os
import socket
import struct
import sys
from collections.abc import Sequence
from pathlib import Path

from calibrant.cli.offline import OFFLINE_VARIABLE

VARIABLE = "CALIBRANT_WARM"
ONLINE = "download"  # the one stage of the workflow that may use a network
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
    from calibrant.cli.job_loop import JobLoop, receive
    from calibrant.cli.keepers import Keepers

    for name in modules:
        importlib.import_module(name)
    if not may_fork():
        print(left_out(f"its imports have started threads ({', '.join(_threads())})"), file=sys.stderr)
        return
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(64)
    loop = JobLoop(lifeline)
    keepers = Keepers(loop, may_fork)

    def accept() -> None:
        connection, _ = listener.accept()
        if (request := receive(connection)) is not None:
            keepers.start(request)

    loop.watch(listener, accept)
    loop.run()


def may_fork() -> bool:
    """Whether this process has no threads but those that survive its forking."""
    return len([name for name in _threads() if name not in FORK_SAFE_THREADS]) == 1


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


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
    sys.stderr.flush()
    os._exit(0)  # taking PyTorch down properly takes a second, in which the next study may begin
