"""Reads a manifest of any kind; refuses other files, naming the kind they seem to be."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from typing import Any, Final
from xml.etree import ElementTree as ET

import msgspec

from schemas import dead_letters as reasons
from schemas.errors import UnreadableRecordError
from schemas.events import Event, PackageInstall
from streams.adapters.manifests.events import install_events
from streams.adapters.manifests.found import Found, InstallOptions
from streams.adapters.manifests.kinds import kind_of_content
from streams.adapters.payload import refuse

PAYLOAD_LIMIT: Final = 256 << 20
Reader = Callable[[bytes, InstallOptions], Found]
_OPTIONS: Final = frozenset(InstallOptions.__struct_fields__)
_FOREIGN_EVENT: Final = "nothing in it is checked: "


def install_adapter(kind: str, read: Reader) -> Callable[..., list[Event[PackageInstall]]]:
    """Return the adapter of a kind of manifest, for `tidewatch send --as KIND`.

    Args:
        kind: Its name.
        read: Its reader.
    """

    def adapted(
        payload: bytes | str | Mapping[str, Any],
        **options: Any,  # noqa: ANN401 -- see InstallOptions
    ) -> list[Event[PackageInstall]]:
        raw = _bytes(payload)
        given = InstallOptions(**{key: options[key] for key in options if key in _OPTIONS})
        found = read_as(kind, read, raw, given)
        _add_options(found, given)
        said = found.packages or found.requirements or found.index_url or found.extra_index_urls
        if not said and (unchecked := found.unchecked()):
            raise refuse(f"0 packages, {_FOREIGN_EVENT}{'; '.join(unchecked)[:500]}")
        return install_events(kind, raw, found, given)

    adapted.__doc__ = f"Return the package-install events of a {kind} file."
    return adapted


def read_as(kind: str, read: Reader, raw: bytes, options: InstallOptions) -> Found:
    """Return the contents of a manifest.

    Raises:
        UnreadableRecordError: too large, or not of the kind: names the kind it seems to be.
    """
    if len(raw) > PAYLOAD_LIMIT:
        raise refuse(f"{len(raw):,} bytes exceed {PAYLOAD_LIMIT:,}", reasons.TOO_LARGE)
    try:
        return read(raw, options)
    except (
        msgspec.DecodeError,
        tomllib.TOMLDecodeError,
        UnicodeDecodeError,
        ET.ParseError,
    ) as error:
        raise refuse(f"not {kind}: {str(error)[:200]}{_guess(kind, raw)}") from error
    except UnreadableRecordError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        shown = f"an entry of the wrong shape ({error!r:.120})"
        raise refuse(f"not {kind}: {shown}{_guess(kind, raw)}") from error


def _bytes(payload: bytes | str | Mapping[str, Any]) -> bytes:
    if isinstance(payload, str):
        return payload.encode()
    return payload if isinstance(payload, bytes) else msgspec.json.encode(payload)


def _guess(kind: str, raw: bytes) -> str:
    likely = kind_of_content(raw)
    return f"; it looks like {likely.name}" if likely and likely.name != kind else ""


def _add_options(found: Found, options: InstallOptions) -> None:
    """Add the options of the sender."""
    from streams.adapters.manifests.locks import read_lock  # noqa: PLC0415 -- it reads every kind
    from streams.adapters.manifests.requirements import (  # noqa: PLC0415 -- it is a reader itself
        parsed_requirements,
        requirement_texts,
    )

    found.index_url = options.index_url or found.index_url
    found.extra_index_urls = (*options.extra_index_urls, *found.extra_index_urls)
    if options.lock is not None:
        for entry, digests in read_lock(options.lock).items():
            found.lock[entry] = tuple(dict.fromkeys((*found.lock.get(entry, ()), *digests)))
    if options.requirements is not None:
        parsed = parsed_requirements(options.requirements, options.files, "requirements.txt")
        found.requirements.extend(requirement_texts(parsed))
