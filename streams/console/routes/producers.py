"""Producers: the address to paste at each, how it proves itself, and a button that tries it."""

from __future__ import annotations

from http import HTTPStatus

from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from agents.logs import Logger
from schemas.errors import TidewatchError
from streams.console.signed_in import Asked, Services, not_found, signed_in
from streams.console.viewer import Role
from streams.gateway.config import GatewayConfig, load_config, proof_rule, url_of
from streams.gateway.pasting import steps
from streams.gateway.trying import Tried, try_endpoint

log = Logger()


def routes(services: Services) -> list[BaseRoute]:
    """Return the routes of producers; only an admin's."""
    return [
        Route("/producers", signed_in(services, _list, role=Role.ADMIN), methods=["GET"]),
        Route("/producer", signed_in(services, _show, role=Role.ADMIN), methods=["GET"]),
        Route("/producer", signed_in(services, _try, role=Role.ADMIN), methods=["POST"]),
    ]


def _list(asked: Asked) -> Response:
    config = _config(asked)
    endpoints = config.endpoints if config else {}
    rows = [
        {
            "name": name,
            "tenant": endpoint.tenant,
            "producer": endpoint.producer,
            "url": url_of(name, config),
        }
        for name, endpoint in endpoints.items()
        if config and asked.viewer.reads(endpoint.tenant)
    ]
    return asked.page("producers.html", {"rows": rows, "named": config is not None})


def _show(asked: Asked) -> Response:
    name, config = _of(asked, asked.text("name", 64))
    return _page(asked, name, config)


def _try(asked: Asked) -> Response:
    name, config = _of(asked, asked.form.get("name", "")[:64])
    try:
        tried = try_endpoint(name, config)
    except TidewatchError as error:
        why = f"{error.what}; {error.remedy}" if error.remedy else error.what
        tried = Tried(url=url_of(name, config), status=0, why=why)
    log.info("console-producer-tried", viewer=asked.viewer.name, endpoint=name, status=tried.status)
    return _page(asked, name, config, tried)


def _page(asked: Asked, name: str, config: GatewayConfig, tried: Tried | None = None) -> Response:
    endpoint = config.endpoints[name]
    return asked.page(
        "producer.html",
        {
            "name": name,
            "endpoint": endpoint,
            "rule": proof_rule(endpoint),
            "url": url_of(name, config),
            "steps": steps(endpoint),
            "tried": tried,
            # the page reloads its content by GET; the result stays, since it is outside that
            # content
            "here": f"/producer?name={name}",
        },
        HTTPStatus.OK if tried is None or tried.well else HTTPStatus.BAD_GATEWAY,
    )


def _config(asked: Asked) -> GatewayConfig | None:
    """Return the gateway's current file; None if the console's file names none.

    Raises:
        TidewatchError: It can't be read.
    """
    path = asked.services.config.gateway
    return None if path is None else load_config(path)


def _of(asked: Asked, name: str) -> tuple[str, GatewayConfig]:
    """Return an endpoint of a tenant that this person reads."""
    config = _config(asked)
    endpoint = config.endpoints.get(name) if config else None
    if config is None or endpoint is None or not asked.viewer.reads(endpoint.tenant):
        raise not_found("endpoint")
    return name, config
