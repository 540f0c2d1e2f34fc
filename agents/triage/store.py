"""Typed rows over the partition's raw rows: read once, changed in place, written once a batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, TypeVar

import msgspec

from agents.ports import Rows
from agents.triage.bounded_sets import clip

S = TypeVar("S", bound=msgspec.Struct)
SEPARATOR: Final = "\x1f"
_ESCAPE: Final = "\x1e"
KEY_PART_BYTES: Final = 640
_ENCODER: Final = msgspec.msgpack.Encoder(order="deterministic")
_DECODERS: Final[dict[type[Any], msgspec.msgpack.Decoder[Any]]] = {}


def row_key(kind: str, *parts: str) -> str:
    """Return the key of a row: its kind and parts, unambiguous even if parts contain separators."""
    joined = SEPARATOR.join(parts)
    if (
        joined.count(SEPARATOR) >= len(parts)
        or _ESCAPE in joined
        or len(joined) > KEY_PART_BYTES // 4
    ):
        joined = SEPARATOR.join(
            clip(
                part.replace(_ESCAPE, _ESCAPE + "0").replace(SEPARATOR, _ESCAPE + "1"),
                KEY_PART_BYTES,
            )
            for part in parts
        )
    return f"{kind}{SEPARATOR}{joined}"


def _decode(raw: bytes, row_type: type[S]) -> S:
    decoder = _DECODERS.get(row_type)
    if decoder is None:
        decoder = _DECODERS[row_type] = msgspec.msgpack.Decoder(row_type)
    row: S = decoder.decode(raw)
    return row


class Store:
    """One batch's view of the rows. Rows are changed in place and marked with `save`."""

    def __init__(self, rows: Rows) -> None:
        """Open the rows of a partition."""
        self._rows = rows
        self._loaded: dict[str, Any] = {}
        self._dirty: dict[str, dict[str, None]] = {}
        """By kind, the keys of the rows to be written."""

    def load(self, key: str, row_type: type[S]) -> S | None:
        """Return the row, or None. The same object for the whole batch."""
        if key in self._loaded:
            found: S | None = self._loaded[key]
            return found
        raw = self._rows.get(key)
        row = None if raw is None else _decode(raw, row_type)
        self._loaded[key] = row
        return row

    def save(self, key: str, row: msgspec.Struct) -> None:
        """Mark the row for writing when the batch ends."""
        self._loaded[key] = row
        self._mark(key)

    def delete(self, key: str) -> None:
        """Remove the row."""
        self._loaded[key] = None
        self._mark(key)

    def _mark(self, key: str) -> None:
        self._dirty.setdefault(key.partition(SEPARATOR)[0], {})[key] = None

    def scan(
        self, kind: str, *parts: str, row_type: type[S], limit: int, after: str = ""
    ) -> Iterator[tuple[str, S]]:
        """Yield at most `limit` rows below `parts` with keys after `after`, in key order."""
        self._write(kind)
        prefix = row_key(kind, *parts) + SEPARATOR if parts else kind + SEPARATOR
        for key, raw in list(self._rows.scan(prefix, limit=limit, after=after)):
            held = self._loaded.get(key)
            if held is None:
                held = _decode(raw, row_type)
                self._loaded[key] = held
            yield key, held

    def scan_keys(self, prefix: str, limit: int) -> list[str]:
        """Return the keys of at most `limit` rows that start with `prefix`, in key order.

        Args:
            prefix: The kind of rows, and parts of their keys.
            limit: The most keys.
        """
        self._write(prefix.partition(SEPARATOR)[0])
        return [key for key, _ in self._rows.scan(prefix, limit=limit)]

    def flush(self) -> None:
        """Write the changed rows."""
        for kind in list(self._dirty):
            self._write(kind)

    def _write(self, kind: str) -> None:
        """Write the changed rows of a kind: a scan sees no others."""
        for key in self._dirty.pop(kind, ()):
            row = self._loaded[key]
            if row is None:
                self._rows.delete(key)
            else:
                self._rows.put(key, _ENCODER.encode(row))
