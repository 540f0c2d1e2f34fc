"""Dead letters: unreadable records, with reason and content."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from agents.logs import Logger
from streams.console.pages import link, secured
from streams.console.selections import RowSelection
from streams.console.signed_in import Asked, Services, not_found, signed_in
from streams.console.viewer import Role

log = Logger()


def routes(services: Services) -> list[BaseRoute]:
    """Return the routes of dead letters."""
    return [
        Route("/dead-letters", signed_in(services, _list), methods=["GET"]),
        Route("/dead-letter", signed_in(services, _letter), methods=["GET"]),
        Route("/dead-letter", signed_in(services, _replay, role=Role.ADMIN), methods=["POST"]),
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
    found = _found(asked, asked.text("key", 600))
    return asked.page(
        "dead_letter.html",
        {
            "letter": found,
            "preview": found["preview"].decode("utf-8", "replace"),
            "replayed": asked.text("replayed", 9),
        },
    )


def _found(asked: Asked, key: str) -> Mapping[str, Any]:
    """Return a dead letter that this person may read."""
    found = asked.reader.row("letters", key)
    if found is None:
        raise not_found("dead letter")
    return found


def _replay(asked: Asked) -> Response:
    found = _found(asked, asked.form.get("key", "")[:600])
    key = str(found["id"])
    count = asked.services.change.replay(key)
    log.info("console-replayed", viewer=asked.viewer.name, letter=key, records=count)
    target = link("/dead-letter", key=key, replayed=str(count))
    return secured(RedirectResponse(target, HTTPStatus.SEE_OTHER))
