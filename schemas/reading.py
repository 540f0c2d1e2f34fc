"""Reads the bare JSON records of internal topics, intel, policy and decisions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from schemas import dead_letters as reasons
from schemas.errors import UnreadableRecordError

T = TypeVar("T")


def record_reader(kind: Any) -> Callable[[bytes | None], Any]:  # noqa: ANN401 -- a type or union
    """Return a function that reads a record's value as `kind`.

    The function raises `UnreadableRecordError` for what is not of that kind.
    """
    decoder = msgspec.json.Decoder(kind)

    def read(value: bytes | None) -> Any:  # noqa: ANN401 -- what the decoder was made for
        if value is None:
            raise UnreadableRecordError(reasons.NULL_VALUE, "the record has no value")
        try:
            return decoder.decode(value)
        except msgspec.ValidationError as error:
            raise UnreadableRecordError(reasons.INVALID_EVENT, str(error)) from error
        except msgspec.DecodeError as error:
            raise UnreadableRecordError(reasons.INVALID_JSON, str(error)) from error
        except UnicodeDecodeError as error:
            raise UnreadableRecordError(reasons.INVALID_UTF8, f"byte {error.start}") from error
        except RecursionError as error:
            raise UnreadableRecordError(reasons.TOO_DEEP, "nested too deeply") from error

    return read
