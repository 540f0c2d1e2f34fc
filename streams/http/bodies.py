"""Reads the body of a request within limits of size and time."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from starlette.requests import ClientDisconnect, Request

from schemas import dead_letters as reasons
from streams.http.problems import HttpError

TIMED_OUT = "timeout"
ENCODED = "content-encoding"


def declared_size(request: Request) -> int | None:
    """Return the declared size of a request's body, None if it is sent in chunks.

    Raises:
        HttpError: The size is not a number.
    """
    value = request.headers.get("content-length")
    if value is None:
        return None if "transfer-encoding" in request.headers else 0
    if not (value.isascii() and value.isdigit() and len(value) < 20):  # noqa: PLR2004 -- an int64
        raise HttpError(HTTPStatus.BAD_REQUEST, "the size is not a number", where="content-length")
    return int(value)


def refuse_unreadable(request: Request, limit: int) -> None:
    """Refuse a body that is compressed, or is declared larger than the limit, before it is read.

    Raises:
        HttpError: 415 or 413.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"identity", ""}:
        raise HttpError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "the body is compressed",
            where="content-encoding",
            remedy="send it as it is",
            reason=ENCODED,
            headers={"accept-encoding": "identity"},
        )
    size = declared_size(request)
    if size is not None and size > limit:
        raise too_large(limit)


def too_large(limit: int) -> HttpError:
    """Return the error of a body that is too large."""
    return HttpError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"the body has more than {limit} bytes",
        where="body",
        remedy="send smaller requests",
        reason=reasons.TOO_LARGE,
    )


async def read_body(request: Request, *, limit: int, seconds: float) -> bytes:
    """Return the body of a request.

    Args:
        request: The request.
        limit: Its most bytes.
        seconds: How long it may take in all.

    Raises:
        HttpError: 413 too large, 415 compressed, 408 too slow.
        ClientDisconnect: The client went away.
    """
    refuse_unreadable(request, limit)
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    raise too_large(limit)
    except TimeoutError:
        raise HttpError(
            HTTPStatus.REQUEST_TIMEOUT,
            f"the body did not arrive within {seconds:g} s",
            where="body",
            reason=TIMED_OUT,
        ) from None
    return bytes(body)


__all__ = ["ClientDisconnect", "declared_size", "read_body", "refuse_unreadable", "too_large"]
