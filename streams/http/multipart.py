"""Reads forms that carry files, `multipart/form-data`: RFC 7578.

Only what browsers send is read: no nesting, no transfer encodings, no continued headers.
"""

from __future__ import annotations

import re
from email.policy import HTTP
from http import HTTPStatus
from typing import Final

import msgspec

from streams.http.problems import HttpError

KIND: Final = "multipart/form-data"
MOST_HEADER: Final = 4_096
"""Most bytes of the headers of one part."""
_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
_DISPOSITION: Final = re.compile(
    r'content-disposition:[ \t]*form-data;[ \t]*name="([^"]*)"(?:;[ \t]*filename="([^"]*)")?[ \t]*',
    re.IGNORECASE,
)


class Part(msgspec.Struct, frozen=True):
    """One field of a form."""

    name: str
    value: bytes
    file: str | None = None
    """The file's name as the browser says it; None: it is no file."""


def parts_of(raw: bytes, kind: str, most: int) -> list[Part]:
    """Return the parts of a body.

    Args:
        raw: The body.
        kind: Its content type, with its boundary.
        most: Most parts.

    Raises:
        HttpError: 400, it is not well-formed or has more parts.
    """
    declared = HTTP.header_factory("content-type", kind).params.get("boundary", "")
    if not _BOUNDARY.fullmatch(declared):
        raise _unreadable()
    limit = b"\r\n--" + declared.encode("ascii")
    # each part begins behind a boundary; the last boundary ends with two hyphens
    first, *pieces = (b"\r\n" + raw).split(limit, most + 1)
    if first or not pieces or pieces.pop() not in {b"--", b"--\r\n"}:
        raise _unreadable()
    return [_part(piece) for piece in pieces]


def _part(piece: bytes) -> Part:
    head, found, value = piece.partition(b"\r\n\r\n")
    if not found or not head.startswith(b"\r\n") or len(head) > MOST_HEADER:
        raise _unreadable()
    try:
        lines = head[2:].decode("utf-8").split("\r\n")
    except UnicodeDecodeError:
        raise _unreadable() from None
    named = [match for line in lines if (match := _DISPOSITION.fullmatch(line))]
    if len(named) != 1:
        raise _unreadable()
    return Part(named[0][1], value, named[0][2])


def _unreadable() -> HttpError:
    return HttpError(HTTPStatus.BAD_REQUEST, "the form can't be read", where="body")
