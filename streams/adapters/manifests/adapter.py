"""Turns a manifest of any kind into package-install events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from schemas.events import Event, PackageInstall
from streams.adapters.manifests.events import install_events
from streams.adapters.manifests.found import Found, InstallOptions
from streams.adapters.manifests.kinds import Kind
from streams.adapters.manifests.locks import read_lock
from streams.adapters.manifests.reading import read_as
from streams.adapters.manifests.requirements import parsed_requirements, requirement_texts
from streams.adapters.payload import refuse

_OPTIONS: Final = frozenset(InstallOptions.__struct_fields__)
_FOREIGN_EVENT: Final = "nothing in it is checked: "


def adapt_manifest(
    kind: Kind,
    payload: bytes | str | Mapping[str, Any],
    **options: Any,  # noqa: ANN401 -- see InstallOptions
) -> list[Event[PackageInstall]]:
    """Return the package-install events of a manifest, for `tidewatch send --as KIND`.

    Args:
        kind: Its kind, one of `PACKAGES`.
        payload: The file.
        options: Fields of `InstallOptions`; others are ignored.

    Raises:
        UnreadableRecordError: it is not of the kind, or nothing in it is checked.
    """
    raw = _bytes(payload)
    given = InstallOptions(**{key: options[key] for key in options if key in _OPTIONS})
    found = read_as(kind, raw, given)
    _add_options(found, given)
    said = found.packages or found.requirements or found.index_url or found.extra_index_urls
    if not said and (unchecked := found.unchecked()):
        raise refuse(f"0 packages, {_FOREIGN_EVENT}{'; '.join(unchecked)[:500]}")
    return install_events(kind.name, raw, found, given)


def _bytes(payload: bytes | str | Mapping[str, Any]) -> bytes:
    if isinstance(payload, str):
        return payload.encode()
    return payload if isinstance(payload, bytes) else msgspec.json.encode(payload)


def _add_options(found: Found, options: InstallOptions) -> None:
    """Add the options of the sender."""
    found.index_url = options.index_url or found.index_url
    found.extra_index_urls = (*options.extra_index_urls, *found.extra_index_urls)
    if options.lock is not None:
        for entry, digests in read_lock(options.lock).items():
            found.lock[entry] = tuple(dict.fromkeys((*found.lock.get(entry, ()), *digests)))
    if options.requirements is not None:
        parsed = parsed_requirements(options.requirements, options.files, "requirements.txt")
        found.requirements.extend(requirement_texts(parsed))
