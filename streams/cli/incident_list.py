"""Selects and sorts incidents, and lays them out as rows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import Any, Final

import msgspec

from schemas.errors import TidewatchError
from schemas.incidents.states import IncidentStatus
from schemas.incidents.views import IncidentDocument
from schemas.severity import Severity
from streams.reports.incident_words import Defanging

SHORT_ID: Final = 12
"""The fewest characters of an id in a list: `inc-` and eight digits."""
_AGO: Final = re.compile(r"(\d{1,6})([mhdw])", re.ASCII)
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class SortKey(StrEnum):
    """The sort key of a list of incidents."""

    SCORE = "score"
    """The worst first."""
    CHANGED = "changed"
    """The last changed first."""
    FIRST_SEEN = "first-seen"
    """The newest first."""
    SYSTEMS = "systems"
    """Those with most systems first."""
    ID = "id"


class IncidentFilter(msgspec.Struct, frozen=True, kw_only=True):
    """A selection of incidents; an empty field selects all."""

    only_open: bool = False
    statuses: frozenset[IncidentStatus] = frozenset()
    """Of the incident as a whole."""
    severity: Severity | None = None
    """The least severity."""
    tenant: str | None = None
    """This tenant is part of it."""
    assignee: str | None = None
    """The assignee of a part; empty: unassigned."""
    since: datetime | None = None
    """The earliest time of the last change."""
    text: str = ""
    """Text in its id, title, root, components or systems; case is ignored."""


def since_when(text: str, now: datetime) -> datetime:
    """Return the time that `--since` names: a date, a time, or an age (`90m`, `12h`, `7d`).

    Args:
        text: The option's value.
        now: The time that ages count from.

    Raises:
        TidewatchError: It is none of them.
    """
    ago = _AGO.fullmatch(text)
    try:
        if ago is not None:
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        named = datetime.fromisoformat(text)
        return named if named.tzinfo else named.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise TidewatchError(
            f"{text!r} is not a time",
            where="--since",
            remedy="write a date (2026-11-20), a time (2026-11-20T08:00:00Z), or 90m, 12h, 7d",
        ) from None


def changed_at(incident: IncidentDocument) -> datetime:
    """Return the time of an incident's last change, by its record."""
    return max((entry.at for entry in incident.timeline), default=incident.first_seen)


def selected(
    incidents: Iterable[IncidentDocument],
    selection: IncidentFilter,
    order: SortKey = SortKey.SCORE,
    *,
    reverse: bool = False,
) -> list[IncidentDocument]:
    """Return the selected incidents, in order; ties by id.

    Args:
        incidents: All of them.
        selection: The selection.
        order: The sort key.
        reverse: Whether to reverse the order.
    """
    found = sorted(
        (incident for incident in incidents if _matches(incident, selection)),
        key=lambda incident: incident.id,
    )
    if order is SortKey.ID:
        return found[::-1] if reverse else found
    keys: dict[SortKey, Any] = {
        SortKey.SCORE: lambda incident: incident.score.value,
        SortKey.CHANGED: changed_at,
        SortKey.FIRST_SEEN: lambda incident: incident.first_seen,
        SortKey.SYSTEMS: lambda incident: incident.system_count,
    }
    # a stable sort keeps equal ones by id
    found.sort(key=keys[order], reverse=not reverse)
    return found


def _matches(incident: IncidentDocument, selection: IncidentFilter) -> bool:
    parts = incident.tenants
    if selection.tenant is not None:
        parts = tuple(part for part in parts if part.tenant == selection.tenant)
        if not parts:
            return False
    return not (
        (selection.only_open and incident.status.ended)
        or (selection.statuses and incident.status not in selection.statuses)
        or (selection.severity and incident.score.band.rank < selection.severity.rank)
        or (selection.since and changed_at(incident) < selection.since)
        or (
            selection.assignee is not None
            and not any((part.assignee or "") == selection.assignee for part in parts)
        )
        or (selection.text and not _has(incident, selection.text.casefold()))
    )


def _has(incident: IncidentDocument, text: str) -> bool:
    return any(
        text in part.casefold()
        for part in (
            incident.id,
            incident.title,
            incident.root,
            *(finding.component for finding in incident.findings),
            *(system.component for system in incident.systems),
            *(system.system for system in incident.systems),
        )
    )


def short_ids(ids: Iterable[str]) -> dict[str, str]:
    """Return a unique prefix of each id, which commands accept.

    Args:
        ids: All ids, not only those shown.
    """
    ordered = sorted(ids)
    shared = [0, *(_same(*pair) for pair in pairwise(ordered)), 0]
    return {
        incident: incident[: max(SHORT_ID, before + 1, after + 1)]
        for incident, (before, after) in zip(ordered, pairwise(shared), strict=False)
    }


def _same(text: str, other: str) -> int:
    """Return the length of the common prefix of two texts."""
    pairs = enumerate(zip(text, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(text), len(other)))


HEAD: Final = ("incident", "severity", "score", "status", "tenants", "systems", "changed", "what")


def rows(
    incidents: Sequence[IncidentDocument], names: Mapping[str, str]
) -> list[tuple[object, ...]]:
    """Return a row for each incident, in the order of `HEAD`.

    Args:
        incidents: What is shown.
        names: The shown form of each id.
    """
    return [
        (
            names[incident.id],
            incident.score.band,
            incident.score.value,
            incident.status,
            incident.tenants[0].tenant if len(incident.tenants) == 1 else incident.tenant_count,
            incident.system_count,
            f"{changed_at(incident):%Y-%m-%d %H:%M}",
            Defanging(incident)(incident.title),
        )
        for incident in incidents
    ]
