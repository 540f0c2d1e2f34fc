"""Components: who has a digest, package or model, since when, from where, and its derivatives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from streams.console.selections import RowSelection
from streams.console.signed_in import Asked, Services, not_found, signed_in


def routes(services: Services) -> list[BaseRoute]:
    """Return the routes of components."""
    return [
        Route("/components", signed_in(services, _list), methods=["GET"]),
        Route("/component", signed_in(services, _component), methods=["GET"]),
    ]


def _list(asked: Asked) -> Response:
    chosen = RowSelection(
        text=asked.text("q"),
        tenant=asked.text("tenant"),
        kind=asked.text("kind"),
        page=asked.number("page"),
    )
    return asked.page(
        "components.html",
        {
            "chosen": chosen,
            "found": asked.reader.rows("components", chosen),
            "kinds": asked.reader.kinds("components"),
            "tenants": asked.reader.tenants(),
        },
    )


def _component(asked: Asked) -> Response:
    key = asked.text("key", 600)
    reader = asked.reader
    holdings = reader.holdings(key)
    values = {
        "holdings": holdings,
        "made_of": reader.made_of(key),
        "made_from": reader.made_from(key),
        "indicators": reader.indicators_of(key),
        "holds": reader.holds_of(key),
        "cases": reader.cases_of(key) if key else [],
        "fact": reader.fact(key) if asked.viewer.everything else None,
    }
    if not key or not any(values.values()):
        raise not_found("component")
    return asked.page(
        "component.html",
        {
            "key": key,
            "digests": sorted({row["digest"] for row in holdings if row["digest"]})[:20],
            "names": sorted(_names(holdings) - {key})[:20],
            "system_count": len({(row["tenant"], row["system"]) for row in holdings}),
            "tenant_count": len({row["tenant"] for row in holdings}),
            **values,
        },
    )


def _names(holdings: Iterable[Mapping[str, str]]) -> set[str]:
    """Return the components that some holdings were seen as."""
    names = {row["name"] or row["component"] for row in holdings}
    return {name for name in names if not name.startswith("sha256:")}
