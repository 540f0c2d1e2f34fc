"""Reads a manifest of any kind; refuses other files, naming the kind they seem to be."""

from __future__ import annotations

import tomllib
from typing import Final
from xml.etree import ElementTree as ET

import msgspec

from schemas import dead_letters as reasons
from schemas.errors import UnreadableRecordError
from streams.adapters.manifests.found import Found, InstallOptions
from streams.adapters.manifests.kinds import Kind, kind_of_content
from streams.adapters.payload import refuse

PAYLOAD_LIMIT: Final = 256 << 20


def read_as(kind: Kind, raw: bytes, options: InstallOptions) -> Found:
    """Return the contents of a manifest.

    Raises:
        UnreadableRecordError: too large, or not of the kind: names the kind it seems to be.
    """
    if len(raw) > PAYLOAD_LIMIT:
        raise refuse(f"{len(raw):,} bytes exceed {PAYLOAD_LIMIT:,}", reasons.TOO_LARGE)
    try:
        return kind.read()(raw, options)
    except (
        msgspec.DecodeError,
        tomllib.TOMLDecodeError,
        UnicodeDecodeError,
        ET.ParseError,
    ) as error:
        raise refuse(f"not {kind.name}: {str(error)[:200]}{_guess(kind.name, raw)}") from error
    except UnreadableRecordError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        shown = f"an entry of the wrong shape ({error!r:.120})"
        raise refuse(f"not {kind.name}: {shown}{_guess(kind.name, raw)}") from error


def _guess(kind: str, raw: bytes) -> str:
    likely = kind_of_content(raw)
    return f"; it looks like {likely.name}" if likely and likely.name != kind else ""
