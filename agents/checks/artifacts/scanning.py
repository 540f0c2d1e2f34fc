"""Defines the inputs of a parser: bytes by range, a budget, and a scan to report to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, TypeVar

import msgspec

from agents.domain.detection import Detection
from schemas.errors import TidewatchError
from schemas.severity import Severity

MAX_DEPTH: Final = 6
"""Containers within containers; beyond, the file is incomplete."""
ARCHIVES: Final = frozenset(
    ("zip", "tar", "7z", "gzip", "bz2", "xz", "lzma", "zstd", "lz4", "zlib")
)
MAX_DETECTIONS: Final = 500
"""Per file; beyond, one detection says how many were left out."""


_Item = TypeVar("_Item")


class BudgetExceededError(TidewatchError):
    """A limit of the scan was reached: the file is incomplete, its findings stay."""


class CorruptFileError(TidewatchError):
    """The bytes are not what their format requires."""


class Source(Protocol):
    """Bytes by range: a file, a member of a container, a remote object."""

    @property
    def size(self) -> int:
        """Length in bytes."""

    def read(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`; fewer at the end."""


class BytesSource(msgspec.Struct, frozen=True):
    """Bytes in memory as a source."""

    raw: bytes

    @property
    def size(self) -> int:
        """Length in bytes."""
        return len(self.raw)

    def read(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`."""
        return self.raw[offset : offset + length]


class SourceRange:
    """A range of a source as a source."""

    def __init__(self, source: Source, offset: int, length: int) -> None:
        """Take `length` bytes from `offset`, or as many as there are."""
        self._source = source
        self._offset = offset
        self.size = max(min(length, source.size - offset), 0)

    def read(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`."""
        length = min(length, self.size - offset)
        return self._source.read(self._offset + offset, length) if length > 0 else b""


class Budget:
    """The limits of one file's cost: bytes expanded and steps taken, over all its members."""

    def __init__(self, expanded_bytes: int = 1 << 30, steps: int = 50_000_000) -> None:
        """Set the limits: bytes out of decompression, and steps of parsers."""
        self.expanded_bytes = expanded_bytes
        self.steps = steps

    def expand(self, count: int) -> None:
        """Spend `count` expanded bytes.

        Raises:
            BudgetExceededError: none are left.
        """
        self.expanded_bytes -= count
        if self.expanded_bytes < 0:
            raise BudgetExceededError("the file expands beyond the limit of the scan")

    def step(self, count: int = 1) -> None:
        """Spend `count` steps.

        Raises:
            BudgetExceededError: none are left.
        """
        self.steps -= count
        if self.steps < 0:
            raise BudgetExceededError("the file takes more steps than the limit of the scan")


def severity_of(detection: Detection) -> Severity:
    """Return a detection's severity, its own or its rule's."""
    if detection.severity is not None:
        return detection.severity
    from agents.domain.rules import rule_named  # noqa: PLC0415 -- most files have no finding

    return rule_named(detection.rule_id).severity


class Scan:
    """One file's scan: parsers report to it and hand it what they contain."""

    def __init__(
        self,
        path: str,
        descend: Callable[[Scan, str, Source], None],
        budget: Budget | None = None,
        *,
        member: str | None = None,
        depth: int = 0,
        siblings: frozenset[str] = frozenset(),
        within: tuple[str, ...] = (),
        sink: Callable[[Detection], None] | None = None,
    ) -> None:
        """Start with nothing found.

        Args:
            path: The file's path, as reported.
            descend: Scans a member's bytes (sniffs its format, calls its parser).
            budget: Shared by all members.
            member: The path within the file, of a member.
            depth: Containers around this one.
            siblings: Paths of the other files of the same push or folder.
            within: Formats of the containers around a member.
            sink: Receives each detection at once, so that findings outlive the process.
        """
        self.within = within
        self.sink = sink
        self.path = path
        self.member = member
        self.depth = depth
        self.budget = budget or Budget()
        self.siblings = siblings
        self.members: frozenset[str] = frozenset()
        """Of an archive that says what it installs, the paths of its members."""
        self.listing: frozenset[str] = frozenset()
        """Paths of the files beside this one: in the folder, or in such an archive."""
        self.detections: list[Detection] = []
        self._lesser = 0
        """The number of detections below critical."""
        self.dropped = 0
        self.incomplete: list[str] = []
        self.corrupt: list[str] = []
        self.unsupported: list[str] = []
        self.formats: list[str] = []
        self.walks: dict[int, Any] = {}
        """Results of walking a document, kept for its next readers."""
        self.storages: list[tuple[str, int]] = []
        """Records of storages that pickles declare, with their bytes."""
        self._descend = descend

    def report(
        self,
        rule_id: str,
        description: str,
        *,
        severity: Severity | None = None,
        confidence: float | None = None,
        **evidence: Any,  # noqa: ANN401 -- evidence is JSON
    ) -> None:
        """Report a finding of a rule; file and member are added to the evidence.

        Args:
            rule_id: The rule.
            description: What was seen, in a sentence.
            severity: If not the rule's.
            confidence: If not the rule's.
            evidence: offset, opcode, global, line, key ...
        """
        location = {"file": self.path}
        if self.member:
            location["member"] = self.member
        where = evidence.get("offset", evidence.get("key", evidence.get("line", "")))
        what = evidence.get("global", evidence.get("name", ""))
        detection = Detection(
            rule_id=rule_id,
            description=description,
            evidence={**location, **evidence},
            locator=f"{self.path}!{self.member or ''}@{where}#{what}",
            severity=severity,
            confidence=confidence,
        )
        if self._keep(detection) and self.sink is not None:
            self.sink(detection)

    def _keep(self, detection: Detection) -> bool:
        """Keep a finding, in place of a less severe one if there is no room; return whether."""
        grave = severity_of(detection) is Severity.CRITICAL
        if len(self.detections) < MAX_DETECTIONS:
            self.detections.append(detection)
            self._lesser += not grave
            return True
        self.dropped += 1
        if not (grave and self._lesser):
            return False
        self._lesser -= 1
        lesser = (
            index
            for index, kept in enumerate(self.detections)
            if severity_of(kept) is not Severity.CRITICAL
        )
        self.detections[next(lesser)] = detection
        return True

    def first(self, items: Sequence[_Item], most: int, what: str) -> Sequence[_Item]:
        """Return the first items, and mark the file incomplete if any are left out.

        Args:
            items: The file's items.
            most: How many are read.
            what: Their noun, in the plural.
        """
        if len(items) > most:
            self.mark_incomplete(f"more than {most} {what}")
            return items[:most]
        return items

    def mark_incomplete(self, reason: str) -> None:
        """Mark the file incomplete: a part was not analysed completely."""
        self.incomplete.append(f"{self.member or self.path}: {reason}")

    def mark_corrupt(self, reason: str) -> None:
        """Mark the file corrupt: the bytes here are damaged."""
        self.corrupt.append(f"{self.member or self.path}: {reason}")

    def mark_unsupported(self, reason: str) -> None:
        """Mark the file unsupported: this part was not understood."""
        self.unsupported.append(f"{self.member or self.path}: {reason}")

    def descend(self, name: str, source: Source) -> None:
        """Scan a contained file under `name`; its findings become this scan's.

        A container nested too deeply is incomplete; an error in the member erases no finding.
        """
        if self.depth + 1 > MAX_DEPTH:
            self.mark_incomplete(f"{name}: nested deeper than {MAX_DEPTH}")
            around = [name for name in (*self.within, *self.formats) if name in ARCHIVES]
            if len(around) >= MAX_DEPTH:
                self.report(
                    "TW-ARCHIVE-NESTED",
                    f"{len(around)} archives within one another, and {name[:120]!r} within them",
                    name="nested",
                )
            return
        inner = self._inner(name, self.budget, self.sink)
        try:
            self._descend(inner, name, source)
        finally:
            self.absorb(inner)

    def _inner(self, name: str, budget: Budget, sink: Callable[[Detection], None] | None) -> Scan:
        inner = Scan(
            self.path,
            self._descend,
            budget,
            member=f"{self.member}!{name}" if self.member else name,
            depth=self.depth + 1,
            siblings=self.siblings,
            within=(*self.within, *self.formats),
            sink=sink,
        )
        inner.listing = self.members
        return inner

    def trial(self, name: str, budget: Budget) -> Scan:
        """Return a scan of bytes that may look like a member; only adopted findings count.

        Args:
            name: Its name within this file.
            budget: The trial's own limits, besides this scan's.
        """
        return self._inner(name, budget, None)

    def scan(self, name: str, source: Source) -> None:
        """Scan a source as this scan's own content, unless it is nested too deeply."""
        if self.depth <= MAX_DEPTH:
            self._descend(self, name, source)

    def adopt(self, detections: list[Detection]) -> None:
        """Adopt the findings of a trial, and report them."""
        for detection in detections:
            if self._keep(detection) and self.sink is not None:
                self.sink(detection)

    def absorb(self, inner: Scan) -> None:
        """Adopt the findings of a member's scan."""
        self.dropped += inner.dropped
        for detection in inner.detections:
            self._keep(detection)
        self.incomplete.extend(inner.incomplete)
        self.corrupt.extend(inner.corrupt)
        self.unsupported.extend(inner.unsupported)
        self.formats.extend(inner.formats)
        self.storages.extend(inner.storages)
