"""Runs between a parent and the broker's JVM, so that the JVM never outlives the parent.

Run by its file name, with the standard library alone, since it must be up in milliseconds:
`guard.py MODE PID_FILE COMMAND…`. MODE is `child` (ends when its standard input closes, that is
when its parent ends, however it ends) or `detached` (ends when it is asked to). The JVM in turn is
killed by the kernel (Linux) when the guard ends.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

STOP_S = 15.0
"""Seconds that the broker has to close its files before it is killed."""

_POLL_S = 0.5
_PR_SET_PDEATHSIG = 1


def main(mode: str, pid_file: str, command: list[str]) -> int:
    """Run `command` until it ends or must end; return its exit code."""
    parent = os.getppid()
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    asked_to_stop: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda caught, _frame: asked_to_stop.append(caught))
    signal.signal(signal.SIGCHLD, lambda _caught, _frame: None)

    # the JVM inherits the descriptor of the lock, so that the lock lasts as long as the JVM
    broker = subprocess.Popen(  # noqa: S603 -- what our parent passed us
        command,
        stdin=subprocess.DEVNULL,
        close_fds=False,
        preexec_fn=_die_with_parent,  # noqa: PLW1509 -- this process has no threads
    )
    Path(pid_file).write_text(f"{broker.pid}\n", encoding="ascii")
    watched = [wake_read] if mode == "detached" else [wake_read, sys.stdin.fileno()]
    while broker.poll() is None and not asked_to_stop:
        ready, _, _ = select.select(watched, [], [], _POLL_S)
        if wake_read in ready:
            os.read(wake_read, 64)
        closed = mode != "detached" and sys.stdin.fileno() in ready and not os.read(0, 64)
        # a forked sibling may hold the pipe open: a new parent id shows the end of the parent
        if closed or (mode != "detached" and os.getppid() != parent):
            break
    return _end(broker)


def _end(broker: subprocess.Popen[bytes]) -> int:
    """End the broker cleanly; kill it after the grace period."""
    if broker.poll() is None:
        broker.terminate()
    try:
        return broker.wait(STOP_S)
    except subprocess.TimeoutExpired:
        broker.kill()
        return broker.wait()


def _die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent ends (a no-op except on Linux)."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
