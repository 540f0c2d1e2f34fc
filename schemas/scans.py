"""Requests to the scan application: the push to fetch and scan, and the attempt."""

from __future__ import annotations

from typing import Annotated

import msgspec

from schemas.canonical import stable_id
from schemas.events import Event, RegistryPush


class ScanRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One push whose files are to be fetched, scanned and verified.

    It carries the whole event, so that its findings equal those of the quick checks. The tenant's
    current policy decides what may be fetched.
    """

    id: str
    tenant: str
    event: Event[RegistryPush]
    listing: str | None = None
    """The repository at its pinned revision, to be listed first, when the push names no files."""
    attempt: Annotated[int, msgspec.Meta(ge=1)] = 1
    not_before_ms: int = 0
    """Milliseconds since the epoch; earlier, the request waits."""

    @property
    def key(self) -> str:
        """The key of its record: tenant and subject, as the event's own."""
        return f"{self.tenant}|{self.event.subject}"


def scan_request(event: Event[RegistryPush], listing: str | None) -> ScanRequest:
    """Return the first request to scan a push; its id is the same on every replay."""
    return ScanRequest(
        id=stable_id("scn", event.tenantid, event.source, event.id),
        tenant=event.tenantid,
        event=event,
        listing=listing,
    )
