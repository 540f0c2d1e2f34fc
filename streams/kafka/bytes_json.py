"""Encodes raw bytes in JSON: as text if they are UTF-8, else as base64."""

from __future__ import annotations

import base64


def as_json(raw: bytes | None) -> str | dict[str, str] | None:
    """Return bytes as text, or as `{"base64": …}` if they are not UTF-8."""
    if raw is None:
        return None
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(raw).decode()}
