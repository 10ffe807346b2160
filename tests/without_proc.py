"""Run a command with /proc hidden, as on a system that has none, in a mount namespace of its own; needs root."""

import functools
import subprocess
import sys

HIDE = 'mount --make-rprivate / && mount -t tmpfs none /proc && exec "$@"'


def without_proc(*command: str) -> tuple[str, ...]:
    """The command that runs `command` where /proc is an empty folder."""
    return ("unshare", "--mount", "sh", "-c", HIDE, "sh", *command)


@functools.cache
def cannot_hide_proc() -> str | None:
    """Why /proc cannot be hidden here; None where it can."""
    if sys.platform != "linux":
        return "only Linux has a /proc to hide"
    try:
        tried = subprocess.run(without_proc("test", "!", "-e", "/proc/self"), text=True, capture_output=True)
    except FileNotFoundError:
        return "/proc cannot be hidden: there is no unshare"
    return f"/proc cannot be hidden (root can): {tried.stderr.strip()}" if tried.returncode else None
