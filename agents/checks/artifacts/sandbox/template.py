"""The process that scanning processes are forked from, as its parent sees it.

It has imported the parsers, and nothing else: no file, tenant, setting or secret ever reaches it.
So a scanning process starts in milliseconds, and is the same as one started alone. Forks share only
code, its addresses and the hash seed.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from agents.checks.artifacts.sandbox.protocol import (
    Closed,
    End,
    Fork,
    Forked,
    Look,
    Order,
    receive,
    send,
    send_with,
)

_FORKED: Final = msgspec.msgpack.Decoder(Forked)
START_SECONDS: Final = 60.0
"""Time for importing the parsers on a busy machine."""
_END_SECONDS: Final = 1.0
_PIPE_BYTES: Final = 64 << 10


def ended_how(code: int) -> str:
    """Return how a process ended, in words: by its exit code, or the negative number of a signal.

    Args:
        code: As `subprocess.Popen.returncode` and `os.waitstatus_to_exitcode` have it.
    """
    return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"


def silent_pipe() -> tuple[int, int]:
    """Return a pipe that never blocks: if it is full, further output is lost."""
    ours, theirs = os.pipe()
    os.set_blocking(ours, False)
    os.set_blocking(theirs, False)
    return ours, theirs


def read_pipe(descriptor: int) -> bytes:
    """Return what a pipe holds, 64 KiB and a piece at most."""
    parts = []
    with contextlib.suppress(BlockingIOError):
        while part := os.read(descriptor, _PIPE_BYTES):
            parts.append(part)
            if len(parts) > 1:  # it is written as fast as it is read
                break
    return b"".join(parts)


class Template:
    """One such process; used by several threads."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start it.

        Args:
            command: Its command line; the descriptor of its orders is added.
            environment: Its environment.

        Raises:
            OSError: It can't be started.
        """
        self._lock = threading.Lock()
        self._users = 0
        """Scanning processes that were, or are to be, forked from it and are not closed."""
        self._retired = False
        self._broken = False
        self._orders, theirs = socket.socketpair()
        self._orders.settimeout(START_SECONDS)
        self._stderr, said = silent_pipe()
        try:
            self._process = subprocess.Popen(  # noqa: S603 -- our own interpreter and code
                [*command, str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                env=dict(environment),
                cwd="/",
            )
        except BaseException:
            self._orders.close()
            os.close(self._stderr)
            raise
        finally:
            theirs.close()
            os.close(said)

    @property
    def alive(self) -> bool:
        """Whether it still runs and answers."""
        return not self._broken and self._process.poll() is None

    def fork(self, connection: int, stderr: int, limits: bytes) -> Forked:
        """Fork a scanning process.

        Args:
            connection: The descriptor it serves; the caller keeps its own.
            stderr: Where it reports errors; the caller keeps its own.
            limits: Of its scans: a `Limits` in JSON.

        Raises:
            Closed: This process has ended.
            OSError: The system has no room for another process.
        """
        with self._lock:
            made = self._ask(Fork(limits), connection, stderr)
            if made.refused:
                raise OSError(made.refused, os.strerror(made.refused))
            return made

    def look(self, number: int, *, kill: bool = False) -> int | None:
        """Return the exit code of a fork that has ended; None while it runs.

        Args:
            number: The fork's, which need not run.
            kill: Kill it first.

        Raises:
            Closed: This process has ended.
        """
        with self._lock:
            return self._ask(Look(number, kill)).code

    def end(self, number: int) -> None:
        """Kill a fork for good, whether it runs or not; each is ended once."""
        with self._lock, contextlib.suppress(Closed):  # then the kernel has killed it
            self._ask(End(number))

    def _ask(self, order: Order, *descriptors: int) -> Forked:
        payload = msgspec.msgpack.encode(order)
        try:
            if descriptors:
                send_with(self._orders, payload, descriptors)
            else:
                send(self._orders, payload)
            return _FORKED.decode(receive(self._orders))
        except Closed:
            self._broken = True
            raise
        except (OSError, msgspec.DecodeError) as error:
            self._broken = True
            if isinstance(error, TimeoutError | msgspec.DecodeError):
                self._process.kill()  # its next answer would belong to this order
            raise Closed from error

    def said(self) -> bytes:
        """Return its stderr since the last call."""
        return read_pipe(self._stderr)

    def fate(self) -> str:
        """Return how it ended, once its orders have closed."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_SECONDS)
        code = self._process.returncode
        return "it closed its connection" if code is None else ended_how(code)

    def take(self) -> None:
        """Add a user, for which it keeps running after another template replaces it."""
        with self._lock:
            self._users += 1

    def release(self, *, retire: bool = False) -> None:
        """Remove a user, or accept no new ones; end it when it has none and will have none."""
        with self._lock:
            self._users -= not retire
            self._retired = self._retired or retire
            unused = self._retired and self._users <= 0
        if unused:
            self.close()

    def close(self) -> None:
        """End it, and its forks with it."""
        if self._orders.fileno() < 0:
            return
        self._orders.close()
        self._process.kill()
        self._process.wait()
        os.close(self._stderr)

    def forget(self) -> None:
        """Drop it in a fork of its parent: it is not this process's to end."""
        self._orders.close()
        self._process.returncode = 0
        os.close(self._stderr)


class _Current:
    """The template of this process, for all its sandboxes."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.made: tuple[tuple[str, ...], Template] | None = None

    def replaced(self) -> None:
        if self.made is not None:
            self.made[1].release(retire=True)
            self.made = None


_current = _Current()


def template_for(command: Sequence[str], environment: Mapping[str, str]) -> Template:
    """Return the running template of a command line, started if needed.

    Returns:
        The template; the caller releases it.

    Raises:
        OSError: It can't be started.
    """
    wanted = (*command, *(f"{name}={value}" for name, value in sorted(environment.items())))
    with _current.lock:
        if _current.made is not None:
            known, template = _current.made
            if known == wanted and template.alive:
                template.take()
                return template
            _current.replaced()
        template = Template(command, environment)
        template.take()
        _current.made = (wanted, template)
        return template


def _end() -> None:
    if _current.made is not None:
        _current.made[1].close()


def _forget() -> None:
    _current.lock = threading.Lock()
    if _current.made is not None:
        _current.made[1].forget()
        _current.made = None


atexit.register(_end)
os.register_at_fork(after_in_child=_forget)
