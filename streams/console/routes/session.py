"""Signing in by a one-time link, and signing out."""

from __future__ import annotations

from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from agents.logs import Logger
from schemas.errors import TidewatchError
from streams.console.asked import Asked, Services, check_host, failed, local_target, signed_in
from streams.console.pages import page, secured
from streams.http.problems import HttpError

log = Logger()


def routes(services: Services) -> list[BaseRoute]:
    """Return the routes of sessions."""

    async def sign_in(request: Request) -> Response:
        to = local_target(request.query_params.get("to", "/"))
        if services.sessions.of(services.token(request)) is not None:
            return secured(RedirectResponse(to, HTTPStatus.SEE_OTHER))
        return page("sign_in.html", {"to": to})

    async def enter(request: Request) -> Response:
        try:
            check_host(services, request)
            viewer = services.sessions.use_link(request.query_params.get("token", ""))
            if viewer is None:
                raise HttpError(
                    HTTPStatus.FORBIDDEN,
                    "this link was used already, or is too old",
                    remedy="print a new one with: tidewatch console --link",
                )
        except TidewatchError as error:
            return failed(services, request, None, error)
        answer = RedirectResponse(
            local_target(request.query_params.get("to", "/")), HTTPStatus.SEE_OTHER
        )
        start_session(services, answer, services.sessions.start(viewer))
        log.info("console-signed-in", viewer=viewer.name, role=viewer.role)
        return secured(answer)

    def sign_out(asked: Asked) -> Response:
        services.sessions.end(services.token(asked.request))
        answer = RedirectResponse("/sign-in", HTTPStatus.SEE_OTHER)
        answer.delete_cookie(services.cookie, path="/", secure=services.secure, httponly=True)
        answer.headers["clear-site-data"] = '"cache"'
        return secured(answer)

    return [
        Route("/sign-in", sign_in, methods=["GET"]),
        Route("/enter", enter, methods=["GET"]),
        Route("/sign-out", signed_in(services, sign_out), methods=["POST"]),
    ]


def start_session(services: Services, answer: Response, token: str) -> None:
    """Let the browser keep a session's token: no script reads it, no other site sends it.

    Args:
        services: The console's.
        answer: The answer that signs in.
        token: The token of the session.
    """
    answer.set_cookie(
        services.cookie,
        token,
        path="/",
        secure=services.secure,
        httponly=True,
        samesite="strict",
    )
