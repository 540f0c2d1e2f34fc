"""Health: the lag of applications, the latest events of sources, what the index omits."""

from __future__ import annotations

from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from streams.apps.topology import APPLICATIONS
from streams.console.selections import RowSelection
from streams.console.signed_in import Asked, Services, signed_in


def routes(services: Services) -> list[BaseRoute]:
    """Return the routes of health."""
    return [Route("/health", signed_in(services, _health), methods=["GET"])]


def _health(asked: Asked) -> Response:
    reader, status = asked.reader, asked.services.status
    notes = reader.notes()
    operator = asked.viewer.everything
    return asked.page(
        "health.html",
        {
            "applications": [
                (name, application.purpose, status.progress.get(name))
                for name, application in APPLICATIONS.items()
            ]
            if operator
            else [],
            "sources": reader.rows("sources", RowSelection(page=asked.number("page"))),
            "notices": reader.rows("notices", RowSelection()).rows,
            "dropped": {
                name.removeprefix("dropped "): count
                for name, count in notes.items()
                if name.startswith("dropped ")
            },
            "unreadable": notes.get("unreadable", "0"),
        },
    )
