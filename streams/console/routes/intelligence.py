"""Intelligence: the facts of the operator's feeds, for the operator."""

from __future__ import annotations

from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from streams.console.selections import RowSelection
from streams.console.signed_in import Asked, Services, not_found, signed_in


def routes(services: Services) -> list[BaseRoute]:
    """Return the routes of intelligence; only the operator's."""
    return [
        Route("/intelligence", signed_in(services, _list, operator=True), methods=["GET"]),
        Route("/fact", signed_in(services, _fact, operator=True), methods=["GET"]),
    ]


def _list(asked: Asked) -> Response:
    chosen = RowSelection(text=asked.text("q"), kind=asked.text("kind"), page=asked.number("page"))
    return asked.page(
        "intelligence.html",
        {
            "chosen": chosen,
            "found": asked.reader.rows("facts", chosen),
            "kinds": asked.reader.kinds("facts"),
            "done": asked.text("done", 20),
        },
    )


def _fact(asked: Asked) -> Response:
    fact = asked.reader.fact(asked.text("key", 600))
    if fact is None:
        raise not_found("fact")
    return asked.page("fact.html", {"fact": fact, "cases": asked.reader.cases_of(fact.key)})
