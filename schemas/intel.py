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
    fixed: str | None = None
    last_affected: str | None = None


class IntelFact(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One fact about one component; the topic is compacted by its key."""

    key: str
    kind: IntelKind
    versions: tuple[str, ...] = ()
    ranges: tuple[VersionRange, ...] = ()
    digests: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    confidence: Confidence = 0.9
    modified: datetime | None = None
    popular: bool = False
    summary: str | None = None
    details: dict[str, Any] | None = None
    """Further fields of the source: campaign, infrastructure, indicators."""
