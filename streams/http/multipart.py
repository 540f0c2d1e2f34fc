"""Reads forms that carry files, `multipart/form-data` (RFC 7578), with python-multipart.

It refuses forms that the library accepts but no browser sends: without an end, with data after the
end, or with parts that name no field.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import msgspec
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from streams.http.problems import HttpError

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

KIND: Final = "multipart/form-data"
MOST_HEADER: Final = 4_096
"""Most bytes of a header of one part."""
MOST_HEADERS: Final = 8
"""Most headers of one part."""
MOST_BOUNDARY: Final = 70
"""Most bytes of a boundary: RFC 2046, 5.1.1."""

# it warns of each unreadable form; the answer reports it already
logging.getLogger("python_multipart").setLevel(logging.ERROR)


class FormField(msgspec.Struct, frozen=True):
    """One field of a form."""

    name: str
    value: bytes
    file: str | None = None
    """The file's name as sent by the browser; None: not a file."""


def parts_of(raw: bytes, kind: str, most: int) -> list[FormField]:
    """Return the parts of a body.

    Its cost is a fraction of a microsecond for each byte at worst: call it in a thread.

    Args:
        raw: The body.
        kind: Its content type, with its boundary.
        most: Most parts.

    Raises:
        HttpError: 400, it is not well-formed or has more parts.
    """
    boundary = parse_options_header(kind)[1].get(b"boundary", b"")
    end = b"--" + boundary + b"--"
    if not 0 < len(boundary) <= MOST_BOUNDARY or not raw.endswith((end, end + b"\r\n")):
        raise _unreadable()
    form = _Form(most)
    try:
        parser = MultipartParser(
            boundary, form.callbacks(), max_header_count=MOST_HEADERS, max_header_size=MOST_HEADER
        )
        parser.write(raw)
    except FormParserError:
        raise _unreadable() from None
    if not form.ended:
        raise _unreadable()
    return form.parts


class _Form:
    """What the parser has found in one form."""

    def __init__(self, most: int) -> None:
        self.parts: list[FormField] = []
        self.ended = False
        self._most = most
        self._field, self._text, self._value = bytearray(), bytearray(), bytearray()
        self._dispositions: list[bytes] = []

    def callbacks(self) -> MultipartCallbacks:
        """Return the callbacks of the parser."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._field.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._text.extend(data[start:end]),
            "on_header_end": self._header,
            "on_part_data": lambda data, start, end: self._value.extend(data[start:end]),
            "on_part_end": self._part,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        if len(self.parts) == self._most:
            raise _unreadable()
        self._dispositions = []

    def _header(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._dispositions.append(bytes(self._text))
        self._field.clear()
        self._text.clear()

    def _part(self) -> None:
        said = [parse_options_header(disposition) for disposition in self._dispositions]
        if len(said) != 1 or said[0][0] != b"form-data" or b"name" not in said[0][1]:
            raise _unreadable()
        options = said[0][1]
        try:
            name = options[b"name"].decode("utf-8")
            file = options[b"filename"].decode("utf-8") if b"filename" in options else None
        except UnicodeDecodeError:
            raise _unreadable() from None
        self.parts.append(FormField(name, bytes(self._value), file))
        self._value.clear()

    def _end(self) -> None:
        self.ended = True


def _unreadable() -> HttpError:
    return HttpError(HTTPStatus.BAD_REQUEST, "the form can't be read", where="body")
