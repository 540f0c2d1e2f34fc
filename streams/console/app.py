"""Puts the pages of the console together."""

from __future__ import annotations

from typing import NoReturn

from starlette.routing import BaseRoute, Route

from streams.console.routes import (
    components,
    dead_letters,
    decisions,
    events,
    health,
    hold_release,
    holds,
    incidents,
    indicators,
    intelligence,
    intelligence_edit,
    overview,
    policies,
    policy_edit,
    producers,
    session,
    static,
    views,
)
from streams.console.signed_in import Asked, Services, not_found, signed_in


def routes(services: Services) -> list[BaseRoute]:
    """Return all routes of a console.

    Args:
        services: What its pages share.
    """

    def nowhere(_asked: Asked) -> NoReturn:
        raise not_found("page")

    return [
        *static.routes(),
        *session.routes(services),
        *events.routes(services),
        *overview.routes(services),
        *incidents.routes(services),
        *views.routes(services),
        *decisions.routes(services),
        *components.routes(services),
        *indicators.routes(services),
        *holds.routes(services),
        *hold_release.routes(services),
        *dead_letters.routes(services),
        *policies.routes(services),
        *policy_edit.routes(services),
        *producers.routes(services),
        *intelligence.routes(services),
        *intelligence_edit.routes(services),
        *health.routes(services),
        Route("/{rest:path}", signed_in(services, nowhere), methods=["GET", "POST"]),
    ]
