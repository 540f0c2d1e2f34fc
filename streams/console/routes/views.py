"""Saving and deleting one's own views of the list of incidents."""

from __future__ import annotations

from http import HTTPStatus

from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from streams.console.pages import secured
from streams.console.signed_in import Asked, Services, signed_in


def routes(services: Services) -> list[BaseRoute]:
    """Return the routes of saved views."""
    return [
        Route("/views/save", signed_in(services, _save), methods=["POST"]),
        Route("/views/delete", signed_in(services, _delete), methods=["POST"]),
    ]


def _save(asked: Asked) -> Response:
    form = asked.form
    view = asked.services.saved.save(asked.viewer.name, form.get("name", ""), form.get("query", ""))
    return _list(view.query)


def _delete(asked: Asked) -> Response:
    asked.services.saved.delete(asked.viewer.name, asked.form.get("name", ""))
    return _list("")


def _list(query: str) -> Response:
    target = f"/incidents?{query}" if query else "/incidents"
    return secured(RedirectResponse(target, HTTPStatus.SEE_OTHER))
