"""Dead letters: records that could not be read, why, and what they hold."""

from __future__ import annotations

from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from streams.console.asked import Asked, Services, not_found, signed_in
from streams.console.queries import RowSelection


def routes(services: Services) -> list[BaseRoute]:
    """Return the routes of dead letters."""
    return [
        Route("/dead-letters", signed_in(services, _list), methods=["GET"]),
        Route("/dead-letter", signed_in(services, _letter), methods=["GET"]),
    ]


def _list(asked: Asked) -> Response:
    chosen = RowSelection(kind=asked.text("kind"), page=asked.number("page"))
    return asked.page(
        "dead_letters.html",
        {
            "chosen": chosen,
            "found": asked.reader.rows("letters", chosen),
            "kinds": asked.reader.kinds("letters"),
        },
    )


def _letter(asked: Asked) -> Response:
    found = asked.reader.row("letters", asked.text("key", 600))
    if found is None:
        raise not_found("dead letter")
    return asked.page(
        "dead_letter.html",
        {"letter": found, "preview": found["preview"].decode("utf-8", "replace")},
    )
