"""Runs in each scanning process: confines itself, then scans the files it receives."""
# ruff: noqa: PLR2004 -- numbers of formats are what they are

from __future__ import annotations

import gc
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any, Final, TypeVar

import msgspec

import agents
import schemas
from agents.checks.artifacts.dispatch import scan_source
from agents.checks.artifacts.files import scan_descriptor
from agents.checks.artifacts.report import FileReport, failed
from agents.checks.artifacts.sandbox.confinement import Confinement
from agents.checks.artifacts.sandbox.confinement import confine as give_up
from agents.checks.artifacts.sandbox.forking import fork_on_request
from agents.checks.artifacts.sandbox.protocol import (
    LENGTH,
    Batch,
    Closed,
    Done,
    Found,
    Limits,
    Read,
    Request,
    Scanned,
    exactly,
    receive,
    send,
)
from agents.checks.artifacts.scanning import Budget, BudgetExceededError, BytesSource
from agents.domain.detection import Detection
from agents.uncollected import uncollected

_Made = TypeVar("_Made")
LEAST_MEMORY: Final = 16 << 20
"""Free bytes that a scan needs to begin."""
COMMON: Final = (
    "agents.checks.artifacts.formats.json_reader",
    "agents.checks.artifacts.formats.repository",
    "agents.checks.artifacts.formats.text_reader",
    "agents.checks.artifacts.formats.yaml_reader",
    "agents.checks.artifacts.pickle.stream_reader",
    "agents.checks.artifacts.python.code",
    "agents.domain.rules",
)
"""Modules that most folders of files need."""
COLLECTED: Final = (20_000, 20, 20)
"""The collector's thresholds: by the interpreter's own, half of a large pickle's scan collects."""
_TOO_LITTLE: Final = b"MemoryError: the limit leaves less than 16 MiB to scan with\n"


class _RemoteSource:
    """A file whose bytes the parent process reads."""

    def __init__(self, connection: socket.socket, size: int) -> None:
        self._connection = connection
        self.size = size

    def read(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`."""
        length = min(length, self.size - offset)
        if length <= 0:
            return b""
        send(self._connection, msgspec.msgpack.encode(Read(offset, length)))
        raw = receive(self._connection)
        if raw[:1] != b"+":
            raise BudgetExceededError(
                f"the file could not be read: {raw[1:200].decode('utf-8', 'replace')}"
            )
        return raw[1:]


_WRITES: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_DENIED: Final = (
    "socket.connect",
    "socket.bind",
    "socket.sendto",
    "socket.getaddrinfo",
    "socket.gethostby",
    "socket.__new__",
    "subprocess.",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.fork",
    "os.system",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.mkdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "os.kill",
    "os.chmod",
    "os.chown",
    "os.putenv",
    "shutil.",
    "ftplib.",
    "smtplib.",
    "urllib.",
    "http.client.",
    "pty.spawn",
    "ctypes.dlopen",
    "webbrowser.",
)


def _deny(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open":
        flags = arguments[2] if len(arguments) > 2 else 0
        if isinstance(flags, int) and flags & _WRITES:
            raise PermissionError("the scanning process writes no files")
    elif event.startswith(_DENIED):
        raise PermissionError(f"the scanning process may not: {event}")


def _product() -> list[str]:
    """Return where this product's packages lie, and what they are links to."""
    packages = (agents, schemas)
    places = [folder for package in packages for folder in package.__path__]
    files = [package.__file__ for package in packages if package.__file__]
    return [*places, *(os.path.dirname(os.path.realpath(file)) for file in files)]  # noqa: PTH120 -- of a text


def confine(limits: Limits) -> Confinement:
    """Give up network, processes, files and memory beyond the limits, permanently.

    Returns: The confinement by the kernel; without it, the hook below still refuses.
    """
    held = give_up(_product())
    for kind, limit in (
        (resource.RLIMIT_AS, limits.memory_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, limits.open_files),
    ):
        _, hard = resource.getrlimit(kind)
        capped = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (capped, capped))
    try:
        bytes(LEAST_MEMORY)  # of zeros, which take address space and no time
    except MemoryError:
        # it ends here, and not somewhere within a library; a traceback would need memory
        os.write(2, _TOO_LITTLE)
        os._exit(1)
    sys.addaudithook(_deny)
    return held


def serve(connection: socket.socket, limits: Limits, held: Confinement) -> None:
    """Scan what comes over the connection until it closes."""
    confinement = str(held)
    lacking = ", ".join(held.missing) if limits.confined else ""
    decoder: msgspec.msgpack.Decoder[Request | Batch] = msgspec.msgpack.Decoder(Request | Batch)
    siblings: frozenset[str] = frozenset()
    while True:
        try:
            payload, descriptors, _, _ = socket.recv_fds(connection, LENGTH.size, 1)
            if not payload:
                return
            payload += exactly(connection, LENGTH.size - len(payload))
            request = decoder.decode(exactly(connection, LENGTH.unpack(payload)[0]))
        except Closed:
            return
        if request.siblings is not None:
            siblings = request.siblings
        answer: Done | Scanned
        try:
            if isinstance(request, Batch):
                # If nothing may be scanned, answer none: each file's own request gives the reason.
                reports, expired = ((), False) if lacking else _batch(request, siblings, limits)
                answer = Scanned(reports, confinement, expired)
            elif lacking:
                reason = f"the scanning process may not run without {lacking}"
                answer = Done(_confined(failed(request.path, request.size, reason), confinement))
            else:
                descriptor = descriptors[0] if descriptors else -1
                report, expired = _single(connection, request, siblings, descriptor, limits)
                answer = Done(_confined(report, confinement), expired)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        send(connection, msgspec.msgpack.encode(answer))
        if answer.leaving:
            return
        gc.collect()
        gc.freeze()  # the remaining objects, mostly modules, need no further collection


def _confined(report: FileReport, confinement: str) -> FileReport:
    return msgspec.structs.replace(report, confinement=confinement)


def _single(
    connection: socket.socket,
    request: Request,
    siblings: frozenset[str],
    descriptor: int,
    limits: Limits,
) -> tuple[FileReport, bool]:
    """Return the report of a file, incomplete if time or memory ran out, and whether one did."""
    clock = _Clock(limits.cpu_seconds, limits.wall_seconds)
    report = clock.run(
        partial(_scan, connection, request, siblings, descriptor, limits),
        lambda error: failed(
            request.path, request.size, f"the scan's limits were reached: {error}"
        ),
    )
    return report, clock.expired


def _batch(
    batch: Batch, siblings: frozenset[str], limits: Limits
) -> tuple[tuple[FileReport, ...], bool]:
    """Return the reports of the first files, and whether time ran out.

    Files for which time or memory ran out are missing: the caller has them scanned alone, with the
    full limits of a file.
    """
    # by the processor's time alone: a batch that waits for a busy machine is not scanned twice
    clock = _Clock(min(limits.cpu_seconds, limits.batch_seconds), limits.wall_seconds)
    reports: list[FileReport] = []

    def scan() -> None:
        for file in batch.files:
            budget = Budget(limits.expanded_bytes, limits.steps)
            report = scan_source(
                file.path,
                BytesSource(file.content),
                siblings,
                budget=budget,
                second_opinion=True,
            )
            if clock.expired:  # the report may be of a scan that was interrupted
                return
            reports.append(report)
            if budget.expanded_bytes < limits.expanded_bytes:
                gc.collect()  # expanded data must leave the next file no less memory

    clock.run(scan, lambda _: None)
    return tuple(reports), clock.expired


class _Clock:
    """Interrupts a scan that exceeds its time."""

    def __init__(self, cpu_seconds: float, wall_seconds: float) -> None:
        self._cpu_seconds = cpu_seconds
        self._wall_seconds = wall_seconds
        self.expired = False

    def _expire(self, number: int, _frame: object) -> None:
        self.expired = True
        kind = "CPU" if number == signal.SIGPROF else "wall"
        raise BudgetExceededError(f"the scan's limit of {kind} time was reached")

    def run(
        self,
        scan: Callable[[], _Made],
        stopped: Callable[[BudgetExceededError | MemoryError], _Made],
    ) -> _Made:
        """Return the result of a scan, or its substitute if time or memory ran out."""
        signal.signal(signal.SIGPROF, self._expire)
        signal.signal(signal.SIGALRM, self._expire)
        # Again each second: a parser that catches everything is interrupted again.
        signal.setitimer(signal.ITIMER_PROF, self._cpu_seconds, 1.0)
        signal.setitimer(signal.ITIMER_REAL, self._wall_seconds, 1.0)
        try:
            return scan()
        except (BudgetExceededError, MemoryError) as error:
            return stopped(error)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.setitimer(signal.ITIMER_REAL, 0)


def _scan(
    connection: socket.socket,
    request: Request,
    siblings: frozenset[str],
    descriptor: int,
    limits: Limits,
) -> FileReport:
    budget = Budget(limits.expanded_bytes, limits.steps)
    encoder = msgspec.msgpack.Encoder()

    def sink(detection: Detection) -> None:
        send(connection, encoder.encode(Found(detection)))

    if descriptor >= 0:
        return scan_descriptor(
            descriptor,
            request.path,
            siblings,
            digest=request.digest,
            budget=budget,
            sink=sink,
            second_opinion=request.second_opinion,
        )
    source = (
        _RemoteSource(connection, request.size)
        if request.remote
        else BytesSource(request.content or b"")
    )
    return scan_source(
        request.path,
        source,
        siblings,
        budget=budget,
        sink=sink,
        second_opinion=request.second_opinion,
    )


def _import_common() -> None:
    """Import what most files need, for all forks from the second on.

    Who wants a second process has many files. Where there is one file, its process imports what
    that needs alone.
    """
    with uncollected():
        for module in COMMON:
            import_module(module)
    gc.freeze()


def main(descriptor: int) -> None:
    """Run the template on an inherited connection, and each scanning process that it forks."""
    gc.freeze()  # forks share these pages while no garbage collector writes to them
    gc.set_threshold(*COLLECTED)
    gc.enable()
    given = fork_on_request(socket.socket(fileno=descriptor), _import_common)
    if given is not None:
        serve(given.connection, given.limits, confine(given.limits))
