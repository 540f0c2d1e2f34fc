"""Facts of intelligence: known bad, known good, or never to alert on."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from schemas.findings import Confidence


class IntelKind(StrEnum):
    """The verdict of a fact on its component."""

    MALICIOUS = "malicious"
    COMPROMISED = "compromised"
    WITHDRAWN = "withdrawn"
    KNOWN_GOOD = "known-good"
    BLOCKED = "blocked"
    WARNINGLIST = "warninglist"


class VersionRange(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An OSV range: from `introduced` up to, not including, `fixed`, or up to `last_affected`."""

    introduced: str = "0"
    """The first affected version; 0: from the beginning."""
    fixed: str | None = None
    """The first version that is not affected."""
    last_affected: str | None = None
    """The last affected version."""


class IntelFact(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One fact about one component; the topic is compacted by its key."""

    key: str
    """The component key; also the key of the record."""
    kind: IntelKind
    """The verdict."""
    versions: tuple[str, ...] = ()
    """The versions it is about; with no ranges either: all."""
    ranges: tuple[VersionRange, ...] = ()
    """Ranges of versions it is about."""
    digests: tuple[str, ...] = ()
    """SHA-256 of bytes it is about, lower-case hex."""
    sources: tuple[str, ...] = ()
    """The feeds it comes from."""
    confidence: Confidence = 0.9
    """The confidence of the source, 0 to 1."""
    modified: datetime | None = None
    """When the source changed it."""
    popular: bool = False
    """It is in wide use, so that a warning needs high confidence."""
    summary: str | None = None
    """In one sentence."""
    details: dict[str, Any] | None = None
    """Further fields of the source: campaign, infrastructure, indicators."""
