"""Signing in, at a provider or by a one-time link, and signing out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from agents.logs import Logger
from schemas.errors import TidewatchError
from streams.console.openid import CALLBACK, SIGN_IN_SECONDS, OpenId
from streams.console.pages import link, page, secured
from streams.console.signed_in import (
    Asked,
    Services,
    check_host,
    failed,
    local_target,
    not_found,
    signed_in,
)
from streams.http.problems import HttpError

log = Logger()

AT_ONCE: Final = 4
"""Most sign-ins that wait for the provider at once; others wait for these."""


def routes(services: Services) -> list[BaseRoute]:
    """Return the routes of sessions."""

    async def sign_in(request: Request) -> Response:
        to = local_target(request.query_params.get("to", "/"))
        if services.sessions.of(services.token(request)) is not None:
            return secured(RedirectResponse(to, HTTPStatus.SEE_OTHER))
        openid = services.openid
        return page(
            "sign_in.html",
            {
                "begin": link("/sign-in/begin", to=to),
                "provider": openid.name if openid is not None else "",
                "left": request.query_params.get("left") == "1",
            },
        )

    async def enter(request: Request) -> Response:
        try:
            check_host(services, request)
            if services.openid is not None:
                raise not_found("page")
            viewer = services.sessions.use_link(request.query_params.get("token", ""))
            if viewer is None:
                raise HttpError(
                    HTTPStatus.FORBIDDEN,
                    "this link was already used, or has expired",
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
        left = services.openid is not None
        answer = RedirectResponse(link("/sign-in", left=left), HTTPStatus.SEE_OTHER)
        answer.delete_cookie(services.cookie, path="/", secure=services.secure, httponly=True)
        answer.headers["clear-site-data"] = '"cache"'
        return secured(answer)

    return [
        Route("/sign-in", sign_in, methods=["GET"]),
        Route("/enter", enter, methods=["GET"]),
        *_provider_routes(services),
        Route("/sign-out", signed_in(services, sign_out), methods=["POST"]),
    ]


def _provider_routes(services: Services) -> list[BaseRoute]:
    """Return the routes to the provider and back."""
    # the provider may be slow: do not use a thread of the pages for it
    at_once = asyncio.Semaphore(AT_ONCE)

    def asking(
        answer_of: Callable[[OpenId, Request], Response],
    ) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            try:
                check_host(services, request)
                if services.openid is None:
                    raise not_found("page")
                async with at_once:
                    return await run_in_threadpool(answer_of, services.openid, request)
            except TidewatchError as error:
                return failed(services, request, None, error)

        return endpoint

    def begin(openid: OpenId, request: Request) -> Response:
        address, kept = openid.begin(local_target(request.query_params.get("to", "/")))
        answer = RedirectResponse(address, HTTPStatus.SEE_OTHER)
        answer.set_cookie(
            _pending(services),
            kept,
            max_age=SIGN_IN_SECONDS,
            path="/",
            secure=services.secure,
            httponly=True,
            # the provider's answer comes from another site
            samesite="lax",
        )
        return secured(answer)

    def come_back(openid: OpenId, request: Request) -> Response:
        kept = request.cookies.get(_pending(services), "")
        viewer, to = openid.finish(request.query_params, kept)
        services.sessions.end(services.token(request))
        # a page, not a redirect: a request from another site gets no cookie of the session
        answer = page("again.html", {"here": local_target(to)})
        answer.delete_cookie(_pending(services), path="/", secure=services.secure, httponly=True)
        start_session(services, answer, services.sessions.start(viewer))
        log.info("console-signed-in", viewer=viewer.name, role=viewer.role)
        return answer

    def leave(openid: OpenId, _request: Request) -> Response:
        return secured(RedirectResponse(openid.end() or "/sign-in", HTTPStatus.SEE_OTHER))

    return [
        Route("/sign-in/begin", asking(begin), methods=["GET"]),
        Route(CALLBACK, asking(come_back), methods=["GET"]),
        Route("/sign-in/leave", asking(leave), methods=["GET"]),
    ]


def _pending(services: Services) -> str:
    """Return the name of the cookie of a sign-in that was begun."""
    return f"{services.cookie}-sign-in"


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
