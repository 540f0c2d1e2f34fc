"""Containment: the holds of each component, and the incidents that call for them."""

from __future__ import annotations

from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from schemas.errors import TidewatchError
from schemas.incidents.holds import HoldView
from streams.console.selections import RowSelection
from streams.console.signed_in import Asked, Services, not_found, signed_in
from streams.console.viewer import Role
from streams.releases import releasable


def routes(services: Services) -> list[BaseRoute]:
    """Return the routes of containment."""
    return [
        Route("/holds", signed_in(services, _list), methods=["GET"]),
        Route("/hold", signed_in(services, _hold), methods=["GET"]),
    ]


def _list(asked: Asked) -> Response:
    chosen = RowSelection(tenant=asked.text("tenant"), page=asked.number("page"))
    return asked.page(
        "holds.html",
        {
            "chosen": chosen,
            "found": asked.reader.rows("holds", chosen),
            "tenants": asked.reader.tenants(),
        },
    )


def _hold(asked: Asked) -> Response:
    hold = asked.reader.hold(asked.text("tenant"), asked.text("component", 600))
    if hold is None:
        raise not_found("component that is held")
    reasons = {reason.incident for thing in hold.things for reason in thing.reasons}
    return asked.page(
        "hold.html",
        {
            "hold": hold,
            "titles": asked.reader.titles(sorted(reasons)),
            "release": asked.viewer.may(Role.APPROVER) and _may_be_released(hold),
        },
    )


def _may_be_released(hold: HoldView) -> bool:
    try:
        return bool(releasable(hold))
    except TidewatchError:
        return False
