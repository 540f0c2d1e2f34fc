"""One scanning process: how it is started, what it says on stderr, and how it ended."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final

import agents
import schemas

MAX_SAID: Final = 4_000
"""Characters of a process's last words that are kept."""
MAX_REASON: Final = 300
"""Characters of them that a report's reason shows."""
_PIPE_BYTES: Final = 64 << 10
_END_SECONDS: Final = 1.0
_START: Final = """\
import sys
descriptor, limits, count, *places = sys.argv[1:]
library = sys.path[:]
sys.path[:] = library + places[: int(count)]
import agents, schemas
sys.path[:] = library + places[int(count) :]
from agents.checks.artifacts.sandbox.worker import main
main(int(descriptor), limits.encode())
"""
"""The packages of this product are imported from where the parent has them, and the rest from the
parent's import path, after the interpreter's own library."""
_PASSED_ON: Final = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""Where some interpreters find their own library; the rest of the environment stays behind."""


def product_roots() -> list[str]:
    """Return the folders (or archives) that hold this product's packages.

    They need not be on the import path: an editable installation may find packages by a hook, which
    a process without the `site` module does not run. Where they were imported from is known however
    that came about.
    """
    places = (*agents.__path__, *schemas.__path__)
    return list(dict.fromkeys(str(Path(place).absolute().parent) for place in places))


def printable(said: bytes) -> str:
    """Return what a process said, its end if it is long, and control characters made visible.

    Args:
        said: Bytes of its stderr, which may quote a hostile file.
    """
    text = said.decode("utf-8", "replace")[-MAX_SAID:]
    return "".join(
        char if char == "\n" or char.isprintable() else f"\\u{ord(char):04x}" for char in text
    )


def last_words(said: str) -> str:
    """Return the line that says why, of what `printable` returns; empty when nothing was said.

    A traceback says it last, a fatal error of the interpreter first; neither indents it.
    """
    lines = [line for line in said.splitlines() if line.strip() and not line[0].isspace()]
    fatal = [line for line in lines if line.startswith("Fatal Python error")]
    return (fatal or lines or [""])[0 if fatal else -1][:MAX_REASON]


class ScanProcess:
    """A process that scans what it is handed over a connection, confined before the first file."""

    def __init__(self, limits: bytes) -> None:
        """Start it.

        Args:
            limits: Of its scans: a `Limits` in JSON.

        Raises:
            OSError: It can't be started.
        """
        self.connection, theirs = socket.socketpair()
        self._stderr, said = os.pipe()
        # neither end waits: a process that writes too much continues, and the excess is lost
        os.set_blocking(self._stderr, False)
        os.set_blocking(said, False)
        roots = product_roots()
        places = [*roots, *(str(Path(entry).absolute()) for entry in sys.path)]
        kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        try:
            self._process = subprocess.Popen(  # noqa: S603 -- our own interpreter and code
                [
                    *(sys.executable, "-I", "-S", "-X", "utf8", "-X", "faulthandler", "-c", _START),
                    *(str(theirs.fileno()), limits.decode(), str(len(roots)), *places),
                ],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                env={
                    "OPENBLAS_NUM_THREADS": "1",
                    "OMP_NUM_THREADS": "1",
                    "LC_ALL": "C.UTF-8",
                    **kept,
                },
                cwd="/",
            )
        except BaseException:
            self.connection.close()
            os.close(self._stderr)
            raise
        finally:
            theirs.close()
            os.close(said)

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def said(self) -> bytes:
        """Return what it wrote to stderr since it was last asked, 64 KiB at most."""
        parts = []
        with contextlib.suppress(BlockingIOError):
            while part := os.read(self._stderr, _PIPE_BYTES):
                parts.append(part)
                if len(parts) > 1:  # it writes as fast as it is read
                    break
        return b"".join(parts)

    def fate(self) -> str:
        """Return how it ended, once its connection has closed."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_SECONDS)
        code = self._process.returncode
        if code is None:
            return "it closed its connection"
        if code < 0:
            return f"signal {signal.Signals(-code).name}"
        return f"exit code {code}"

    def kill(self) -> None:
        """Kill it, from any thread; its owner closes it."""
        self._process.kill()

    def close(self) -> None:
        """Kill it, reap it and close what led to it."""
        self.connection.close()
        self._process.kill()
        self._process.wait()
        os.close(self._stderr)
