"""The rows of the console's index, a record for each kind."""

from __future__ import annotations

import zlib
from typing import Final

import msgspec

from schemas.severity import ExposureLevel

OPERATOR: Final = ""
"""The tenant of rows that only the operator reads."""


class CaseRow(msgspec.Struct, frozen=True, kw_only=True):
    """An incident as the operator reads it, or as one tenant does."""

    tenant: str
    """The tenant whose view it is; empty: the operator's."""
    id: str
    title: str
    root: str
    status: str
    ended: bool
    phase: str
    severity: int
    """The rank of the band."""
    score: int
    first_seen: int
    changed: int
    systems: int
    tenants: int
    owner: str
    """The only tenant that it affects; empty: several."""
    waiting: int
    """Commands that wait for a person's approval."""
    failed: int
    """Commands that failed or expired."""
    tasks: int
    """Tasks that are not done."""
    assignee: str
    detect: float | None
    """Seconds to detect."""
    contain: float | None
    """Seconds to contain."""
    retro: bool
    body: bytes
    """The record itself, compressed."""
    text: str
    parts: tuple[PartRow, ...]
    asked: tuple[AskedRow, ...]


class AskedRow(msgspec.Struct, frozen=True, kw_only=True):
    """A command of an incident that asks for a person; several incidents may share it."""

    waiting: bool
    """Whether it waits for approval; otherwise it failed or expired."""
    command: str


class PartRow(msgspec.Struct, frozen=True, kw_only=True):
    """One tenant's part of an incident, within the operator's view or its own."""

    part: str
    status: str
    severity: int
    assignee: str


class IndicatorRow(msgspec.Struct, frozen=True, kw_only=True):
    """An indicator in one tenant."""

    tenant: str
    id: str
    key: str
    value: str
    type: str
    kind: str
    severity: int
    confidence: float
    disposition: str
    status: str
    component: str
    rule: str
    tlp: str
    first_seen: int
    changed: int
    valid_until: int
    prevalence: int | None
    body: bytes
    text: str


class ComponentRow(msgspec.Struct, frozen=True, kw_only=True):
    """A component that a tenant's events named."""

    tenant: str
    id: str
    kind: str
    changed: int
    text: str


class HoldingRow(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a component on one system."""

    tenant: str
    component: str
    system: str
    version: str
    digest: str
    name: str
    """Of a digest: the component that has it."""
    kind: str
    exposure: ExposureLevel
    origin: str
    publisher: str
    source: str
    event: str
    first_seen: int
    changed: int


class EdgeRow(msgspec.Struct, frozen=True, kw_only=True):
    """A component made from another."""

    tenant: str
    parent: str
    parent_version: str
    child: str
    child_version: str
    system: str
    first_seen: int
    changed: int


class SourceRow(msgspec.Struct, frozen=True, kw_only=True):
    """When a source of events last sent something."""

    tenant: str
    id: str
    changed: int
    ok: int
    incomplete: int
    dead: int


class LetterRow(msgspec.Struct, frozen=True, kw_only=True):
    """A record that could not be read."""

    tenant: str
    id: str
    topic: str
    reason: str
    error: str
    app: str
    records: int
    size: int
    whole: bool
    preview: bytes
    changed: int


class NoticeRow(msgspec.Struct, frozen=True, kw_only=True):
    """An alert for the operator."""

    tenant: str
    id: str
    kind: str
    subject: str
    about: str
    """The tenant that it is about."""
    detail: str
    runbook: str
    since: int
    changed: int


class HoldRow(msgspec.Struct, frozen=True, kw_only=True):
    """The holds of one component in one tenant."""

    tenant: str
    id: str
    held: int
    proposed: int
    changed: int
    body: bytes


class FactRow(msgspec.Struct, frozen=True, kw_only=True):
    """A fact of intelligence; the operator's."""

    tenant: str
    id: str
    kind: str
    summary: str
    sources: str
    confidence: float
    changed: int
    body: bytes
    text: str


class PolicyRow(msgspec.Struct, frozen=True, kw_only=True):
    """The policy of a tenant."""

    tenant: str
    id: str
    version: int
    changed: int
    body: bytes


Row = (
    CaseRow
    | IndicatorRow
    | ComponentRow
    | HoldingRow
    | EdgeRow
    | SourceRow
    | LetterRow
    | NoticeRow
    | HoldRow
    | FactRow
    | PolicyRow
)


class Gone(msgspec.Struct, frozen=True, kw_only=True):
    """A key of a compacted topic that was deleted."""

    row: type[Row]
    tenant: str
    id: str


Change = Row | Gone


def packed(raw: bytes) -> bytes:
    """Return a document as it is stored."""
    return zlib.compress(raw, 1)


def unpacked(body: bytes) -> bytes:
    """Return a document that was packed."""
    return zlib.decompress(body)
