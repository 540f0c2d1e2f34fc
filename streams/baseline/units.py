"""The units of a baseline: each is read and delivered as a whole, once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from schemas.canonical import stable_id
from schemas.errors import TidewatchError
from schemas.events import Event

SOURCE: Final = "//tidewatch/baseline"


class BaselineError(TidewatchError):
    """A source that can't be read as a baseline."""


class BaselineOrigin(msgspec.Struct, frozen=True, kw_only=True):
    """The tenant and system of a baseline."""

    tenant: str
    system: str
    registry: str | None = None
    """The registry that listings do not name."""


class Unit(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is delivered as a whole."""

    place: str
    """Its source, in readable form."""
    fingerprint: str
    """Unchanged as long as its source is unchanged."""
    events: Callable[[], Sequence[Event[Any] | BaselineError]]
    """Reads it; an error represents one part that can't be read."""


def fingerprint(*parts: str | bytes) -> str:
    """Return the fingerprint of parts."""
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        digest.update(len(raw).to_bytes(8, "big"))
        digest.update(raw)
    return digest.hexdigest()


def event_of(
    origin: BaselineOrigin,
    kind: str,
    subject: str,
    data: Any,  # noqa: ANN401 -- any data of an event
    *,
    what: str,
    time: datetime,
) -> Event[Any]:
    """Return an event whose id derives from its content alone: sent again, it is the same.

    Args:
        origin: Its tenant and system.
        kind: Its type.
        subject: Its subject.
        data: Its data.
        what: Its source: environment, folder, listing.
        time: Since when this has been the case, if known.
    """
    return Event(
        id=stable_id("bas", origin.tenant, kind, subject, msgspec.json.encode(data).decode()),
        source=f"{SOURCE}/{what}",
        type=kind,
        subject=subject,
        time=time,
        tenantid=origin.tenant,
        data=data,
        baseline=True,
    )


def as_baseline(events: Iterable[Event[Any]]) -> list[Event[Any]]:
    """Return events of a history as events of a baseline; they keep their ids."""
    return [msgspec.structs.replace(event, baseline=True) for event in events]


def modified(path: Path) -> datetime:
    """Return when a file was changed last.

    Raises:
        BaselineError: It can't be read.
    """
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: OSError) -> BaselineError:
    """Return the error of a path that can't be read."""
    return BaselineError(
        f"it can't be read ({error.strerror or error})",
        where=str(path),
        remedy="name a path that this user may read",
    )
