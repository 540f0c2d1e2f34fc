"""Canonical JSON and identities that are the same on every replay."""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Final

import orjson

ID_HEX_DIGITS = 32
"""128 bits of SHA-256: no collision in practice, short enough for a key and a command id."""
_SHORT: Final = 256
_SIZES: Final = tuple(size.to_bytes(4, "big") for size in range(_SHORT))


def canonical_json(document: Any) -> bytes:  # noqa: ANN401 -- any JSON document
    """Return `document` as JSON with sorted keys and no spaces.

    Args:
        document: Anything orjson writes.

    Returns:
        UTF-8 bytes; equal documents give equal bytes.
    """
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)


def stable_hash(*parts: str) -> str:
    """Return the SHA-256, in hex, over the length-prefixed UTF-8 of `parts`.

    Length prefixes keep ("ab", "c") and ("a", "bc") apart.
    """
    hashed: list[bytes] = []
    for part in parts:  # as `length_prefixed`, without a call for each
        raw = part.encode("utf-8", "surrogatepass")
        size = len(raw)
        hashed.append(_SIZES[size] if size < _SHORT else size.to_bytes(4, "big"))
        hashed.append(raw)
    return sha256(b"".join(hashed)).hexdigest()


def length_prefixed(part: str) -> bytes:
    """Return the input of a stable hash for one part: its length in 4 bytes, and its UTF-8."""
    raw = part.encode("utf-8", "surrogatepass")
    return len(raw).to_bytes(4, "big") + raw


def stable_id(prefix: str, *parts: str) -> str:
    """Return `prefix-` and 128 bits of the stable hash of `parts`, in hex."""
    return f"{prefix}-{stable_hash(prefix, *parts)[:ID_HEX_DIGITS]}"
