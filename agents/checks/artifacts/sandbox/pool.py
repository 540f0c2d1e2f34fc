"""Scans in processes of their own: limited, without network, killed and replaced when they fail.

Over 500 lines, since a process and the pool that replaces it share its limits and its end.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import msgspec

from agents.checks.artifacts.opening import open_regular
from agents.checks.artifacts.report import FileReport, failed, listed, unread_reasons, verdict_of
from agents.checks.artifacts.sandbox.process import ScanProcess, last_words, printable
from agents.checks.artifacts.sandbox.protocol import (
    Answer,
    Batch,
    Closed,
    Done,
    Found,
    Limits,
    Read,
    Request,
    Scanned,
    Small,
    receive,
    send,
    send_with,
)
from agents.checks.artifacts.scanning import BudgetExceededError, Source
from agents.domain.detection import Detection
from schemas.severity import Verdict

_Given = TypeVar("_Given")
_Made = TypeVar("_Made")
MAX_ANSWERS: Final = 64 << 20
"""Bytes that a process may answer for one file, apart from its reads."""
MAX_INLINE: Final = 64 << 20
_GRAVITY: Final = (
    Verdict.CLEAN,
    Verdict.UNSUPPORTED,
    Verdict.SUSPICIOUS,
    Verdict.CORRUPT,
    Verdict.INCOMPLETE,
    Verdict.MALICIOUS,
)
IDLE_PROCESSES: Final = 8
"""Processes kept for their tenant's next file, some 5 MB each; a start takes some 30 ms of CPU."""
FILES_PER_PROCESS: Final = 20_000
"""After these the process is replaced, so that leaks do not add up."""
_ANSWERS: Final = msgspec.msgpack.Decoder(Answer)
_SCANNED: Final = msgspec.msgpack.Decoder(Scanned)
_log = logging.getLogger(__name__)
"""The standard library's: `tidewatch scan` starts sooner without structlog."""


class Sandbox:
    """One scanning process, started when needed, replaced when it dies; used by one thread."""

    def __init__(self, limits: Limits | None = None) -> None:
        """Prepare; no process is started yet."""
        self.limits = limits or Limits()
        self.starts = 0
        """How often a process was started."""
        self._process: ScanProcess | None = None
        self._files = 0
        self._logged = False
        """Whether the confinement of this process is logged."""
        self._siblings: frozenset[str] | None = None
        """The siblings last sent to the process."""

    @property
    def pid(self) -> int | None:
        """The process id, None without a process."""
        return self._process.pid if self._process else None

    def _ensure(self) -> ScanProcess:
        if self._process is not None:
            if self._process.alive and self._files < FILES_PER_PROCESS:
                return self._process
            self.close()
        self._process = ScanProcess(msgspec.json.encode(self.limits))
        self._files = 0
        self._siblings = None
        self._logged = False
        self.starts += 1
        return self._process

    def scan_path(
        self,
        path: Path,
        *,
        name: str | None = None,
        siblings: frozenset[str] = frozenset(),
        digest: bool = False,
        second_opinion: bool = True,
    ) -> FileReport:
        """Scan a local file; a link is followed.

        Args:
            path: Where it is.
            name: The reported path, if not `path`.
            siblings: Paths of the other files of the same folder.
            digest: Whether to compute its SHA-256.
            second_opinion: Whether to ask fickling too.
        """
        shown = name or str(path)
        try:
            descriptor = open_regular(path.resolve())
        except (OSError, RuntimeError) as error:
            return failed(shown, 0, f"it can't be opened: {error}")
        try:
            return self.scan_descriptor(
                shown, descriptor, siblings, digest=digest, second_opinion=second_opinion
            )
        finally:
            os.close(descriptor)

    def scan_descriptor(
        self,
        name: str,
        descriptor: int,
        siblings: frozenset[str] = frozenset(),
        *,
        digest: bool = False,
        second_opinion: bool = True,
    ) -> FileReport:
        """Scan an open regular file, which the caller closes.

        Args:
            name: The file's path, as reported.
            descriptor: Open for reading.
            siblings: Paths of the other files of the same folder.
            digest: Whether to compute its SHA-256.
            second_opinion: Whether to ask fickling too.
        """
        size = os.fstat(descriptor).st_size
        if size == 0:
            # Kernel files report a size of zero, regardless of their content.
            try:
                unsized = bool(os.pread(descriptor, 1, 0))
            except OSError as error:
                return failed(name, 0, f"it can't be read: {error}")
            if unsized:
                return failed(name, 0, "the system does not say how large it is")
        request = Request(
            path=name,
            size=size,
            siblings=siblings,
            digest=digest,
            second_opinion=second_opinion,
        )
        return self._run(request, descriptor=descriptor)

    def scan_source(
        self, name: str, source: Source, siblings: frozenset[str] = frozenset()
    ) -> FileReport:
        """Scan a source that this process reads; the scanning process requests ranges.

        Args:
            name: The file's path, as reported.
            source: Its bytes, a remote file for example.
            siblings: Paths of the other files of the same push.
        """
        request = Request(path=name, size=source.size, siblings=siblings, remote=True)
        return self._run(request, source=source)

    def scan_bytes(
        self, name: str, content: bytes, siblings: frozenset[str] = frozenset()
    ) -> FileReport:
        """Scan bytes in memory."""
        request = Request(path=name, size=len(content), siblings=siblings, content=content)
        if len(content) > MAX_INLINE:
            return failed(name, len(content), "more bytes than can be passed in memory")
        return self._run(request)

    def scan_small(
        self, files: Sequence[tuple[str, bytes]], siblings: frozenset[str] = frozenset()
    ) -> list[FileReport]:
        """Scan small files, given by path and content, in one request.

        The process scans one after the other, and each as if it were alone. Where one of them ends
        the process, or time runs out, it and all after it are scanned alone: the report of each
        covers that file only, and no finding is lost with another file's process.

        Args:
            files: Together no more than `MAX_INLINE` bytes.
            siblings: Paths of the other files of the same folder.
        """
        reports = self._batch(files, siblings) if len(files) > 1 else []
        alone = files[len(reports) :]
        return [*reports, *(self.scan_bytes(name, content, siblings) for name, content in alone)]

    def _batch(
        self, files: Sequence[tuple[str, bytes]], siblings: frozenset[str]
    ) -> list[FileReport]:
        """Return the reports of the first files; none where the process does not answer."""
        try:
            connection = self._ensure().connection
        except OSError:  # each file reports it when scanned alone
            return []
        try:
            self._files += len(files)
            batch = Batch(
                files=tuple(Small(name, content) for name, content in files),
                siblings=self._news(siblings),
            )
            connection.settimeout(self.limits.wall_seconds + self.limits.grace_seconds)
            send(connection, msgspec.msgpack.encode(batch))
            answer = _SCANNED.decode(receive(connection, MAX_ANSWERS))
        except (TimeoutError, Closed, OSError, msgspec.DecodeError, BudgetExceededError) as error:
            _log.info("%d files are scanned alone: %s", len(files), type(error).__name__)
            self.close()
            return []
        if answer.leaving:
            self.close()
        self._log_confinement(answer.confinement)
        return [
            msgspec.structs.replace(
                report, path=name, size=len(content), confinement=answer.confinement
            )
            for (name, content), report in zip(files, answer.reports, strict=False)
        ]

    def _run(
        self, request: Request, *, descriptor: int = -1, source: Source | None = None
    ) -> FileReport:
        heard: list[Detection] = []
        try:
            process = self._ensure()
        except OSError as error:
            return failed(
                request.path, request.size, f"the scanning process can't be started: {error}"
            )
        connection = process.connection
        if self._files:
            process.said()  # of files before this one, which may be another tenant's
        try:
            self._files += 1
            news = self._news(request.siblings)
            payload = msgspec.msgpack.encode(msgspec.structs.replace(request, siblings=news))
            descriptors = [descriptor] if descriptor >= 0 else []
            connection.settimeout(self.limits.wall_seconds + self.limits.grace_seconds)
            send_with(connection, payload, descriptors)
            return self._listen(connection, request, source, heard)
        except TimeoutError:
            reason = f"the scanning process hung for {self.limits.wall_seconds:g} s and was killed"
        except (Closed, OSError):
            reason = f"the scanning process died ({self._fate(process)})"
        except (msgspec.DecodeError, BudgetExceededError) as error:
            reason = f"the scanning process answered out of turn: {error}"
        self.close()
        return failed(request.path, request.size, reason, tuple(heard))

    def _news(self, siblings: frozenset[str] | None) -> frozenset[str] | None:
        """Return siblings as sent to the process: None for those that it already has."""
        if siblings is self._siblings:
            return None
        self._siblings = siblings
        return siblings

    def _log_confinement(self, confinement: str) -> None:
        """Log how far the process is confined, once."""
        if not self._logged:
            self._logged = True
            level = logging.WARNING if "without" in confinement else logging.INFO
            _log.log(level, "a scanning process is confined: %s", confinement)

    def _listen(
        self,
        connection: socket.socket,
        request: Request,
        source: Source | None,
        heard: list[Detection],
    ) -> FileReport:
        deadline = time.monotonic() + self.limits.wall_seconds + self.limits.grace_seconds
        left = MAX_ANSWERS
        while True:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise TimeoutError
            connection.settimeout(remaining)
            payload = receive(connection, left)
            left -= len(payload)
            answer: Any = _ANSWERS.decode(payload)
            match answer:
                case Read(offset=offset, length=length):
                    send(connection, _range(source, offset, length))
                case Found(detection=detection):
                    heard.append(detection)
                case Done(report=report, leaving=leaving):
                    if leaving:
                        self.close()
                    self._log_confinement(report.confinement)
                    # Findings reported during the scan stay, regardless of how it ended.
                    known = {(reported.rule_id, reported.locator) for reported in report.detections}
                    lost = tuple(
                        reported
                        for reported in heard
                        if (reported.rule_id, reported.locator) not in known
                    )
                    if lost:
                        detections = (*lost, *report.detections)
                        verdict = max(report.verdict, verdict_of(lost), key=_GRAVITY.index)
                        report = msgspec.structs.replace(
                            report,
                            detections=detections,
                            verdict=verdict,
                            reasons=listed((*report.reasons, *unread_reasons(lost))),
                        )
                    return msgspec.structs.replace(report, path=request.path, size=request.size)

    @staticmethod
    def _fate(process: ScanProcess) -> str:
        """Return how it ended and the last line of its stderr; log the whole."""
        fate = process.fate()
        said = printable(process.said())
        output = " | ".join(said.splitlines()) or "it printed nothing"  # one line of a log
        _log.warning("the scanning process died (%s): %s", fate, output)
        words = last_words(said)
        return f"{fate}: {words}" if words else fate

    def close(self) -> None:
        """Kill the process, if there is one."""
        if self._process is not None:
            self._process.close()
            self._process = None

    def __enter__(self) -> Self:
        """Return the sandbox itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Kill the process."""
        self.close()


def _range(source: Source | None, offset: int, length: int) -> bytes:
    if source is None:
        return b"-no such source"
    try:
        return b"+" + source.read(offset, min(length, MAX_INLINE))
    except Exception as error:  # noqa: BLE001 -- whatever a remote read raises, the scan must end incomplete
        return f"-{type(error).__name__}: {error}".encode()


class SandboxPool:
    """Several sandboxes with one queue, for tasks of an event loop and for threads."""

    def __init__(
        self,
        processes: int | None = None,
        limits: Limits | None = None,
        *,
        idle: int = IDLE_PROCESSES,
    ) -> None:
        """Prepare; no process is started yet.

        Args:
            processes: How many files are scanned at a time; None: one per processor.
            limits: Of each process.
            idle: How many processes are kept for the next file of their tenant; at least as many
                as scan at a time.
        """
        self.processes = max(processes or os.cpu_count() or 1, 1)
        self._limits = limits
        self._most_idle = max(idle, self.processes)
        self._free = threading.Semaphore(self.processes)
        self._lock = threading.Lock()
        self._idle: list[tuple[str, Sandbox]] = []
        """With the tenant of each; the one used last is last."""
        self._all: set[Sandbox] = set()
        # one more than scan: it prepares the next file meanwhile
        self._threads = ThreadPoolExecutor(self.processes + 1, thread_name_prefix="scan")
        self._closed = False

    @contextlib.contextmanager
    def _sandbox(self, tenant: str = "") -> Iterator[Sandbox]:
        """Wait until a file may be scanned, and lend a process that scanned the tenant's alone."""
        with self._free:
            sandbox = self._take(tenant)
            try:
                yield sandbox
            finally:
                self._give_back(tenant, sandbox)

    def _take(self, tenant: str) -> Sandbox:
        with self._lock:
            for at in range(len(self._idle) - 1, -1, -1):
                if self._idle[at][0] == tenant:
                    return self._idle.pop(at)[1]
            sandbox = Sandbox(self._limits)
            self._all.add(sandbox)
            return sandbox

    def _give_back(self, tenant: str, sandbox: Sandbox) -> None:
        with self._lock:
            self._idle.append((tenant, sandbox))
            surplus = self._idle.pop(0)[1] if len(self._idle) > self._most_idle else None
            if surplus is not None:
                self._all.discard(surplus)
        if surplus is not None:
            surplus.close()

    def for_tenant(self, tenant: str) -> Callable[..., Awaitable[FileReport]]:
        """Return `scan` for the files of a tenant.

        Its processes scan only this tenant's files, so that a file that subverts its process
        can't affect another tenant's reports.
        """
        return partial(self.scan, tenant=tenant)

    def scan_path(
        self,
        path: Path,
        *,
        tenant: str = "",
        **options: Any,  # noqa: ANN401 -- see Sandbox
    ) -> FileReport:
        """Scan a local file of a tenant; options as of `Sandbox.scan_path`."""
        with self._sandbox(tenant) as sandbox:
            return sandbox.scan_path(path, **options)

    def scan_descriptor(
        self, name: str, descriptor: int, siblings: frozenset[str] = frozenset()
    ) -> FileReport:
        """Scan an open regular file, which the caller closes."""
        with self._sandbox() as sandbox:
            return sandbox.scan_descriptor(name, descriptor, siblings)

    def scan_source(
        self, name: str, source: Source, siblings: frozenset[str] = frozenset(), tenant: str = ""
    ) -> FileReport:
        """Scan a source of a tenant, which this process reads."""
        with self._sandbox(tenant) as sandbox:
            return sandbox.scan_source(name, source, siblings)

    def scan_small(
        self, files: Sequence[tuple[str, bytes]], siblings: frozenset[str] = frozenset()
    ) -> list[FileReport]:
        """Scan small files in one request, as `Sandbox.scan_small` does."""
        with self._sandbox() as sandbox:
            return sandbox.scan_small(files, siblings)

    async def scan(
        self,
        name: str,
        content: Path | Source,
        siblings: frozenset[str] = frozenset(),
        *,
        tenant: str = "",
    ) -> FileReport:
        """Scan a local file or a source without blocking the event loop.

        Args:
            name: Its path, as reported.
            content: Where it is, or how it is read (from another thread).
            siblings: Paths of the other files of the same push.
            tenant: The owner; empty for the local user.
        """
        import asyncio  # noqa: PLC0415 -- who has an event loop has imported it

        loop = asyncio.get_running_loop()
        if isinstance(content, Path):
            return await loop.run_in_executor(
                self._threads,
                lambda: self.scan_path(content, tenant=tenant, name=name, siblings=siblings),
            )
        return await loop.run_in_executor(
            self._threads, lambda: self.scan_source(name, content, siblings, tenant)
        )

    def gather(self, work: Callable[[_Given], _Made], given: Sequence[_Given]) -> list[_Made]:
        """Return the results of `work`, which scans, in the order of its inputs.

        One more runs at a time than there are processes, so that none of them waits while the next
        work for it is prepared. Each thread takes the next one when it is done: a future for each
        would cost more.

        Args:
            work: Called in threads of the pool.
            given: Its inputs, one for each call.
        """
        made: dict[int, _Made] = {}
        places = count()  # next() is one interpreter step, so no two threads get the same item

        def take() -> None:
            while not self._closed and (at := next(places)) < len(given):
                made[at] = work(given[at])

        running = [self._threads.submit(take) for _ in range(min(self.processes + 1, len(given)))]
        for future in running:
            future.result()
        return [made[at] for at in range(len(given))]

    def close(self) -> None:
        """Kill all processes; scans that run end incomplete."""
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            started = list(self._all)
        for sandbox in started:
            process = sandbox._process  # noqa: SLF001 -- its owner; its thread reaps it
            if process is not None:
                process.kill()
        self._threads.shutdown(wait=True)
        for sandbox in started:
            sandbox.close()

    def __enter__(self) -> Self:
        """Return the pool itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Kill all processes."""
        self.close()
