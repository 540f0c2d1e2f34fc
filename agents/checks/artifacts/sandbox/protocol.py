"""The messages between the sandbox and its scanning processes."""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from typing import Final

import msgspec

from agents.checks.artifacts.report import FileReport
from agents.checks.artifacts.scanning import BudgetExceededError
from agents.domain.detection import Detection

LENGTH: Final = struct.Struct("<I")
MAX_MESSAGE: Final = 96 << 20


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of one scanning process."""

    memory_bytes: int = 1 << 30
    """Bytes of address space."""
    cpu_seconds: float = 120.0
    """Per file."""
    wall_seconds: float = 180.0
    """Per file."""
    grace_seconds: float = 5.0
    """After the time limit: the process must end the scan itself, or is killed."""
    expanded_bytes: int = 1 << 30
    """Decompressed bytes, per file."""
    steps: int = 50_000_000
    """Parsers' steps, per file."""
    batch_seconds: float = 10.0
    """Of CPU time, per batch of small files; then each is scanned alone."""
    open_files: int = 64
    confined: bool = False
    """Scan nothing unless the kernel confines the process fully."""


class Request(msgspec.Struct, frozen=True, kw_only=True, tag="scan"):
    """One file to scan; its bytes are included, or read by descriptor or by requested ranges."""

    path: str
    size: int
    siblings: frozenset[str] | None = frozenset()
    """None: those of the previous request; a folder's files share a set that may be large."""
    digest: bool = False
    second_opinion: bool = True
    content: bytes | None = None
    remote: bool = False


class Small(msgspec.Struct, frozen=True, array_like=True):
    """One of several small files in one message."""

    path: str
    content: bytes


class Batch(msgspec.Struct, frozen=True, kw_only=True, tag="batch"):
    """Small files to scan one after the other, and to answer at once."""

    files: tuple[Small, ...]
    siblings: frozenset[str] | None = frozenset()
    """None: those of the previous request."""


class Read(msgspec.Struct, frozen=True, tag="read"):
    """The process asks for a range of a remote file."""

    offset: int
    length: int


class Found(msgspec.Struct, frozen=True, tag="found"):
    """The process found something; sent at once."""

    detection: Detection


class Done(msgspec.Struct, frozen=True, tag="done"):
    """The process has scanned the file."""

    report: FileReport
    leaving: bool = False
    """Whether the process ends: it was interrupted, perhaps within a read."""


class Scanned(msgspec.Struct, frozen=True, tag="scanned"):
    """The process has scanned the first files of a batch, all unless something ended it."""

    reports: tuple[FileReport, ...]
    confinement: str
    leaving: bool = False
    """Whether the process ends: it was interrupted."""


Answer = Read | Found | Done


class Fork(msgspec.Struct, frozen=True, tag="fork"):
    """Asks the template to fork; passes the fork's connection and its stderr."""

    limits: bytes
    """A `Limits` in JSON."""


class Look(msgspec.Struct, frozen=True, tag="look"):
    """Asks the template whether a fork has ended."""

    number: int
    kill: bool = False
    """Kill it first."""


class End(msgspec.Struct, frozen=True, tag="end"):
    """Asks the template to kill a fork, wait for its end and forget it."""

    number: int


Order = Fork | Look | End


class Forked(msgspec.Struct, frozen=True):
    """The template's answer to each order."""

    number: int = 0
    """The template's number for the fork; a process id may have been reused."""
    pid: int = 0
    code: int | None = None
    """Its exit code, once it has ended; negative: the signal that ended it."""
    refused: int = 0
    """The error number of the system, where it refused to fork."""


class Closed(Exception):  # noqa: N818 -- no error: the other side is gone
    """The other side has closed the connection."""


def send(connection: socket.socket, payload: bytes) -> None:
    """Send a message with its length in front, in one write, so that the other side wakes once."""
    connection.sendall(LENGTH.pack(len(payload)) + payload)


def send_with(connection: socket.socket, payload: bytes, descriptors: Sequence[int]) -> None:
    """Send one message as `send` does, with open descriptors beside it."""
    message = LENGTH.pack(len(payload)) + payload
    sent = socket.send_fds(connection, [message], list(descriptors))
    if sent < len(message):
        connection.sendall(memoryview(message)[sent:])


def receive(connection: socket.socket, limit: int = MAX_MESSAGE) -> bytes:
    """Return the next message.

    Raises:
        Closed: the connection has ended.
        BudgetExceededError: it is longer than `limit`.
    """
    (length,) = LENGTH.unpack(exactly(connection, LENGTH.size))
    if length > limit:
        raise BudgetExceededError(f"a message of {length} bytes")
    return exactly(connection, length)


def exactly(connection: socket.socket, length: int) -> bytes:
    """Return exactly this many bytes.

    Raises:
        Closed: the connection ended before.
    """
    parts = bytearray()
    while len(parts) < length:
        piece = connection.recv(min(length - len(parts), 1 << 20))
        if not piece:
            raise Closed
        parts += piece
    return bytes(parts)
