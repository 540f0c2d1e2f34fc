"""Runs in the template: forks a scanning process whenever its parent asks for one."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from agents.checks.artifacts.sandbox.protocol import (
    LENGTH,
    Closed,
    End,
    Fork,
    Forked,
    Limits,
    Look,
    Order,
    exactly,
    send,
)

_LIMITS: Final = msgspec.json.Decoder(Limits)

_STDERR = 2
_SEVERAL = 2
_DESCRIPTORS = 2
"""Descriptors in the order to fork: the connection to serve, and where to write errors."""


class Given(NamedTuple):
    """What a fork starts with."""

    connection: socket.socket
    limits: Limits


class _Forks:
    """The forks that are not ended yet, by number."""

    def __init__(self) -> None:
        self._pids: dict[int, int] = {}
        self._codes: dict[int, int] = {}
        self._last = 0

    def add(self, pid: int) -> Forked:
        self._last += 1
        self._pids[self._last] = pid
        return Forked(self._last, pid)

    def look(self, number: int, *, kill: bool = False, wait: bool = False) -> Forked:
        """Return whether a fork has ended, and how; nothing reaches the process of an ended one."""
        pid = self._pids.get(number)
        if pid is None:
            return Forked(number, code=self._codes.get(number, 0))
        if kill:
            os.kill(pid, signal.SIGKILL)  # it is our child, and not waited for: its id is its own
        done, status = os.waitpid(pid, 0 if wait else os.WNOHANG)
        if not done:
            return Forked(number, pid)
        del self._pids[number]
        self._codes[number] = os.waitstatus_to_exitcode(status)
        return Forked(number, pid, self._codes[number])

    def end(self, number: int) -> Forked:
        """Kill a fork, and forget it."""
        ended = self.look(number, kill=True, wait=True)
        self._codes.pop(number, None)
        return ended


def fork_on_request(orders: socket.socket, before_second: Callable[[], None]) -> Given | None:
    """Fork on request; return in each fork, and in the template when it should end.

    Args:
        orders: Closed when the parent ends, however it ends.
        before_second: Called once, before the second fork.

    Returns:
        What this fork starts with; None in the template.
    """
    decoder: msgspec.msgpack.Decoder[Order] = msgspec.msgpack.Decoder(Order)
    forks = _Forks()
    asked = 0
    while True:
        try:
            head, descriptors, _, _ = socket.recv_fds(orders, LENGTH.size, _DESCRIPTORS)
            if not head:
                return None
            head += exactly(orders, LENGTH.size - len(head))
            order = decoder.decode(exactly(orders, LENGTH.unpack(head)[0]))
        except Closed:
            return None
        match order:
            case Fork():
                asked += 1
                if asked == _SEVERAL:
                    before_second()
                pid, refused = _fork()
                if pid == 0:
                    orders.close()
                    return _begin(order, descriptors)
                for descriptor in descriptors:
                    os.close(descriptor)
                answer = Forked(refused=refused) if refused else forks.add(pid)
            case Look():
                answer = forks.look(order.number, kill=order.kill)
            case End():
                answer = forks.end(order.number)
        try:
            send(orders, msgspec.msgpack.encode(answer))
        except OSError:  # the requester is gone
            return None


def _fork() -> tuple[int, int]:
    """Return the fork's process id, or -1 and the number of the system's error."""
    try:
        return os.fork(), 0
    except OSError as error:
        return -1, error.errno or -1


def _begin(order: Fork, descriptors: list[int]) -> Given:
    connection, stderr = descriptors
    os.dup2(stderr, _STDERR)
    os.close(stderr)
    limits = _LIMITS.decode(order.limits)
    return Given(socket.socket(fileno=connection), limits)
