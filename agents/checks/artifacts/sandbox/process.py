"""One scanning process: its start, its stderr and its end."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
from pathlib import Path
from typing import Final

import agents
import schemas
from agents.checks.artifacts.sandbox.protocol import Closed, Forked
from agents.checks.artifacts.sandbox.template import (
    Template,
    ended_how,
    read_pipe,
    silent_pipe,
    template_for,
)

MAX_SAID: Final = 4_000
"""Characters of a process's stderr that are kept."""
MAX_REASON: Final = 300
"""Characters of them that a report's reason shows."""
_END_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 0.01
_START: Final = """\
import gc, sys
gc.disable()
count, *places, descriptor = sys.argv[1:]
library = sys.path[:]
sys.path[:] = library + places[: int(count)]
import agents, schemas
sys.path[:] = library + places[int(count) :]
from agents.checks.artifacts.sandbox.worker import main
main(int(descriptor))
"""
"""The packages of this product are imported from where the parent has them, and the rest from the
parent's import path, after the interpreter's own library."""
_PASSED_ON: Final = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""Variables by which some interpreters find their library; all others are dropped."""


def product_roots() -> list[str]:
    """Return the folders (or archives) that hold this product's packages.

    They need not be on the import path: an editable installation may find packages by a hook, which
    a process without the `site` module does not run. Where they were imported from is known however
    that came about.
    """
    places = (*agents.__path__, *schemas.__path__)
    return list(dict.fromkeys(str(Path(path).absolute().parent) for path in places))


def printable(said: bytes) -> str:
    """Return a process's output, its end if it is long, with control characters made visible.

    Args:
        said: Bytes of its stderr, which may quote a hostile file.
    """
    text = said.decode("utf-8", "replace")[-MAX_SAID:]
    return "".join(
        char if char == "\n" or char.isprintable() else f"\\u{ord(char):04x}" for char in text
    )


def last_words(said: str) -> str:
    """Return the line of printable output that gives the reason; empty if there is no output.

    A traceback ends with it, a fatal error of the interpreter begins with it; neither indents it.
    """
    lines = [line for line in said.splitlines() if line.strip() and not line[0].isspace()]
    fatal = [line for line in lines if line.startswith("Fatal Python error")]
    return (fatal or lines or [""])[0 if fatal else -1][:MAX_REASON]


def _template() -> Template:
    """Return the template for how this process was started and installed."""
    roots = product_roots()
    # Hooks of editable installations have entries on the import path that name no place; made
    # absolute, they would differ from one working folder to the next, and so would the template.
    found = (Path(entry) for entry in sys.path)
    places = [*roots, *(str(path.absolute()) for path in found if path.exists())]
    options = ("-I", "-S", "-X", "utf8", "-X", "faulthandler")
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return template_for(
        [sys.executable, *options, "-c", _START, str(len(roots)), *places],
        {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "LC_ALL": "C.UTF-8", **kept},
    )


def prepare() -> None:
    """Start what scanning processes are forked from, so that it imports while the caller goes on.

    Where it can't be started, the first scan says so.
    """
    with contextlib.suppress(OSError):
        _template().release()


class ScanProcess:
    """A process that scans files sent over a connection, confined before the first one."""

    def __init__(self, limits: bytes) -> None:
        """Start it, as a fork of this process's template.

        Args:
            limits: Of its scans: a `Limits` in JSON.

        Raises:
            OSError: It can't be started.
        """
        self.connection, theirs = socket.socketpair()
        self._stderr, said = silent_pipe()
        self._fork: Forked | None = None
        """None if the template ended before; its output then counts as this process's."""
        try:
            self._template = _template()
            try:
                with contextlib.suppress(Closed):
                    self._fork = self._template.fork(theirs.fileno(), said, limits)
            except BaseException:
                self._template.release()
                raise
        except BaseException:
            self.connection.close()
            os.close(self._stderr)
            raise
        finally:
            theirs.close()
            os.close(said)

    @property
    def pid(self) -> int:
        """The process's id; 0 where there never was one."""
        return self._fork.pid if self._fork else 0

    @property
    def alive(self) -> bool:
        """Whether it still runs: it holds the other end of the connection alone."""
        self.connection.setblocking(False)
        try:
            return bool(self.connection.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return True
        except OSError:
            return False

    def said(self) -> bytes:
        """Return its stderr since the last call, 64 KiB at most."""
        return read_pipe(self._stderr) if self._fork else self._template.said()

    def fate(self) -> str:
        """Return how it ended, once its connection has closed."""
        if self._fork is None:
            return self._template.fate()
        deadline = time.monotonic() + _END_SECONDS
        try:
            while (code := self._template.look(self._fork.number)) is None:
                if time.monotonic() > deadline:
                    return "it closed its connection"
                time.sleep(_LOOK_SECONDS)
        except Closed:
            return f"the process it was forked from ended: {self._template.fate()}"
        return ended_how(code)

    def kill(self) -> None:
        """Kill it, from any thread; its owner closes it."""
        if self._fork is not None:
            with contextlib.suppress(Closed):  # then it is dead
                self._template.look(self._fork.number, kill=True)

    def close(self) -> None:
        """Kill it, reap it and close its connections."""
        self.connection.close()
        if self._fork is not None:
            self._template.end(self._fork.number)
        self._template.release()
        os.close(self._stderr)
