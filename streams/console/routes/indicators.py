"""Indicators: the values to look for, their disposition and their basis."""

from __future__ import annotations

from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from schemas.severity import Severity
from streams.console.selections import RowSelection
from streams.console.signed_in import Asked, Services, not_found, signed_in


def routes(services: Services) -> list[BaseRoute]:
    """Return the routes of indicators."""
    return [
        Route("/indicators", signed_in(services, _list), methods=["GET"]),
        Route("/indicators/{indicator}", signed_in(services, _indicator), methods=["GET"]),
    ]


def _list(asked: Asked) -> Response:
    severity = asked.text("severity")
    chosen = RowSelection(
        text=asked.text("q"),
        tenant=asked.text("tenant"),
        kind=asked.text("kind"),
        severity=Severity(severity) if severity in set(Severity) else None,
        page=asked.number("page"),
    )
    return asked.page(
        "indicators.html",
        {
            "chosen": chosen,
            "found": asked.reader.rows("indicators", chosen),
            "kinds": asked.reader.kinds("indicators"),
            "severities": list(reversed(Severity)),
            "tenants": asked.reader.tenants(),
        },
    )


def _indicator(asked: Asked) -> Response:
    found = asked.reader.indicator(asked.request.path_params["indicator"])
    if found is None:
        raise not_found("indicator")
    return asked.page(
        "indicator.html", {"ioc": found, "cases": asked.reader.cases_of(found.indicator.key)}
    )
