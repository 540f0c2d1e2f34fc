"""The stream of server-sent events that notifies pages of changes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from schemas.errors import TidewatchError
from streams.console.pages import secured
from streams.console.queries import IndexReader
from streams.console.sessions import Session
from streams.console.signed_in import Services, check_host, failed
from streams.http.problems import HttpError

LOOK_SECONDS: Final = 1.0
"""Interval of polls for changes; several changes are notified together."""
SILENCE_SECONDS: Final = 15.0
"""Pause after which a comment is sent: proxies close silent connections."""
MOST_STREAMS: Final = 12
"""Most open pages of one session that are notified."""
RETRY_MS: Final = 3_000


def routes(services: Services) -> list[BaseRoute]:
    """Return the route of the stream."""

    async def events(request: Request) -> Response:
        session = services.sessions.of(services.token(request))
        try:
            check_host(services, request)
            if session is None:
                raise HttpError(HTTPStatus.UNAUTHORIZED, "you are not signed in")
            if session.streams >= MOST_STREAMS:
                raise HttpError(HTTPStatus.TOO_MANY_REQUESTS, "too many pages are open")
        except TidewatchError as error:
            return failed(services, request, None, error)
        # counted before anything else runs: a burst would pass a later count
        session.streams += 1
        answer = _Stream(
            _changes(services, session, request), session, media_type="text/event-stream"
        )
        answer.headers["x-accel-buffering"] = "no"
        return secured(answer)

    return [Route("/events", events, methods=["GET"])]


class _Stream(StreamingResponse):
    """A stream that its session counts until it ends, even if it ends before its first event."""

    def __init__(self, content: AsyncIterator[bytes], session: Session, *, media_type: str) -> None:
        super().__init__(content, media_type=media_type)
        self._session = session

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._session.streams -= 1


async def _changes(services: Services, session: Session, request: Request) -> AsyncIterator[bytes]:
    """Yield an event for each change that the viewer may read of, without its content."""
    reader = IndexReader(services.index, session.viewer)
    token = services.token(request)
    yield f"retry: {RETRY_MS}\n\n".encode()
    sent, silent = reader.revision, 0.0
    while not services.stop.is_set() and services.sessions.lives(token):
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(services.stop.wait(), LOOK_SECONDS)
        revision = reader.revision
        silent += LOOK_SECONDS
        if revision != sent:
            sent, silent = revision, 0.0
            yield f"event: changed\ndata: {revision}\n\n".encode()
        elif silent >= SILENCE_SECONDS:
            silent = 0.0
            yield b": still here\n\n"
