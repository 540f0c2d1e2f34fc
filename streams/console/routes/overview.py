"""The overview: open incidents, work that waits for a person, response times, sources."""

from __future__ import annotations

import time
from typing import Final

from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from streams.console.selections import CaseSelection, RowSelection
from streams.console.signed_in import Asked, Services, signed_in

DAYS: Final = 30
SHOWN: Final = 8
"""Rows of the lists that have a page of their own."""
_DAY_MS: Final = 24 * 3600 * 1000


def routes(services: Services) -> list[BaseRoute]:
    """Return the routes of the overview."""
    return [Route("/", signed_in(services, _overview), methods=["GET"])]


def _overview(asked: Asked) -> Response:
    reader = asked.reader
    since = round(time.time() * 1000) - DAYS * _DAY_MS
    detect, contain = reader.times(since)
    worst = reader.cases(CaseSelection(open=True))
    waiting = reader.cases(CaseSelection(open=True, waiting=True))
    return asked.page(
        "overview.html",
        {
            "severities": reader.open_by_severity(),
            "waiting": reader.waiting(),
            "worst": worst.rows[:SHOWN],
            "approvals": waiting.rows[:SHOWN],
            "tenants": reader.open_by_tenant(),
            "days": DAYS,
            "detect": detect,
            "contain": contain,
            "sources": reader.rows("sources", RowSelection()).rows[:SHOWN],
            "notices": reader.rows("notices", RowSelection()).rows[:SHOWN],
            "letters": reader.rows("letters", RowSelection()).total,
            "progress": asked.services.status.progress if asked.viewer.everything else {},
        },
    )
