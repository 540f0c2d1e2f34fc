"""Reads the bare JSON records of internal topics, intel, policy and decisions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import msgspec

from schemas import dead_letters as reasons
from schemas.errors import UnreadableRecordError

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Decoder(Protocol[T_co]):
    """Decodes JSON text as one type; raises what `msgspec.json.Decoder` raises."""

    def decode(self, raw: bytes | msgspec.Raw, /) -> T_co:
        """Return the value."""


def decode_as(decoder: Decoder[T], raw: bytes | msgspec.Raw, reason: str) -> T:
    """Decode JSON.

    Args:
        decoder: Reads it.
        raw: The JSON text.
        reason: The reason code for JSON of another shape.

    Raises:
        UnreadableRecordError: It has another shape, or is not valid JSON within the limits.
    """
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise UnreadableRecordError(reason, str(error)) from error
    except msgspec.DecodeError as error:
        raise UnreadableRecordError(reasons.INVALID_JSON, str(error)) from error
    except UnicodeDecodeError as error:
        raise UnreadableRecordError(reasons.INVALID_UTF8, f"byte {error.start}") from error
    except RecursionError as error:
        raise UnreadableRecordError(reasons.TOO_DEEP, "nested too deeply") from error


def record_reader(kind: Any) -> Callable[[bytes | None], Any]:  # noqa: ANN401 -- a type or union
    """Return a function that reads a record's value as `kind`.

    The function raises `UnreadableRecordError` for other values.
    """
    decoder = msgspec.json.Decoder(kind)

    def read(value: bytes | None) -> Any:  # noqa: ANN401 -- what the decoder was made for
        if value is None:
            raise UnreadableRecordError(reasons.NULL_VALUE, "the record has no value")
        return decode_as(decoder, value, reasons.INVALID_EVENT)

    return read
