"""The checks of one event, and the overall status a gate reads."""

from __future__ import annotations

from typing import Any

import msgspec

from schemas.severity import Status


class Check(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One check of an event."""

    name: str
    status: Status
    expected: Any = None
    actual: Any = None
    detail: str | None = None


class Assessment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All checks of one event, the worst status overall."""

    id: str
    event_id: str
    tenant: str
    subject: str
    overall_status: Status
    checks: tuple[Check, ...]
    stage: str = "event"
    """event, scan (after slow work), baseline (what the ledger adds)."""
    findings: tuple[str, ...] = ()
