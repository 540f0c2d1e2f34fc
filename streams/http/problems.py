"""Errors as problem documents (RFC 9457), made from the errors of the rest of Tidewatch."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from schemas.errors import TidewatchError, UnreadableRecordError

PROBLEM_TYPE: Final = "application/problem+json"


class HttpError(TidewatchError):
    """An error with the status that a client is answered.

    Args:
        status: The HTTP status.
        what: What was wrong, in one sentence.
        where: The field or header it was found in.
        remedy: What the client can do about it.
        reason: A code for programs.
        headers: More headers of the answer, as Retry-After.
    """

    def __init__(
        self,
        status: HTTPStatus,
        what: str,
        *,
        where: str = "",
        remedy: str = "",
        reason: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Keep the status and the code beside the three parts of the error."""
        self.status = status
        self.reason = reason
        self.headers = dict(headers or {})
        super().__init__(what, where=where, remedy=remedy)


def problem_bytes(
    status: int,
    title: str,
    *,
    detail: str = "",
    reason: str = "",
    remedy: str = "",
    more: Mapping[str, Any] | None = None,
) -> bytes:
    """Return a problem document.

    Args:
        status: The HTTP status.
        title: What was wrong.
        detail: Where it was found.
        reason: A code for programs, kept stable.
        remedy: What the client can do about it.
        more: Further members.
    """
    members = {"detail": detail, "reason": reason, "remedy": remedy, **(more or {})}
    return orjson.dumps(
        {
            "type": "about:blank",
            "title": _plain(title),
            "status": status,
            **{
                name: _plain(value) if isinstance(value, str) else value
                for name, value in members.items()
                if value not in ("", None)
            },
        }
    )


def _plain(text: str) -> str:
    """Return text that can be encoded: a lone surrogate of a request can't."""
    return text.encode("utf-8", "replace").decode()


def problem_of(error: TidewatchError, more: Mapping[str, Any] | None = None) -> Response:
    """Return the answer for an error.

    An `HttpError` has its own status, an unreadable record is a 400, anything else is an internal
    fault: its text goes to the log, not to the client.

    Args:
        error: The error.
        more: Further members of the document.
    """
    if isinstance(error, HttpError):
        return Response(
            problem_bytes(
                error.status,
                error.what,
                detail=error.where,
                reason=error.reason,
                remedy=error.remedy,
                more=more,
            ),
            error.status,
            error.headers,
            PROBLEM_TYPE,
        )
    if isinstance(error, UnreadableRecordError):
        body = problem_bytes(
            HTTPStatus.BAD_REQUEST,
            "the request can't be read",
            detail=error.error,
            reason=error.reason,
            more=more,
        )
        return Response(body, HTTPStatus.BAD_REQUEST, media_type=PROBLEM_TYPE)
    return plain_problem(HTTPStatus.INTERNAL_SERVER_ERROR)


def plain_problem(status: int, headers: Mapping[str, str] | None = None) -> Response:
    """Return the answer for a status without details."""
    body = problem_bytes(status, HTTPStatus(status).phrase)
    return Response(body, status, dict(headers or {}), PROBLEM_TYPE)


async def on_http_exception(_request: Request, error: Exception) -> Response:
    """Answer Starlette's own errors: no such page, a method that is not allowed."""
    status = getattr(error, "status_code", HTTPStatus.INTERNAL_SERVER_ERROR)
    return plain_problem(status, getattr(error, "headers", None))


async def on_tidewatch_error(_request: Request, error: Exception) -> Response:
    """Answer an error of Tidewatch; the guard logs errors that the client did not cause."""
    if isinstance(error, HttpError | UnreadableRecordError):
        return problem_of(error)
    raise error


async def on_fault(_request: Request, _error: Exception) -> Response:
    """Answer a fault, whose text the guard logs."""
    return plain_problem(HTTPStatus.INTERNAL_SERVER_ERROR)
