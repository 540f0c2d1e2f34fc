"""The packages of an inventory (an SBOM): by their purls, of the Python index or of others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from schemas.events import Package
from streams.adapters.manifests.found import (
    Distribution,
    Found,
    digests_of,
    filename_of,
    from_files,
    lock_in,
)
from streams.adapters.payload import Purl, read_purl

NO_PURL = "no known ecosystem (they have no purl)"
"""The ecosystem of packages without a purl, whose index is unknown."""


class Component(msgspec.Struct, frozen=True, kw_only=True):
    """One package of an inventory."""

    name: str
    version: str | None = None
    purl: str | None = None
    files: tuple[Distribution, ...] = ()
    reference: str | None = None
    """The reference that the inventory's edges use."""


def add_components(
    found: Found,
    components: Sequence[Component],
    edges: dict[str, list[str]],
    roots: Sequence[str],
) -> None:
    """Add the packages of an inventory.

    Args:
        found: The result to add them to.
        components: The packages.
        edges: Dependencies by reference.
        roots: References of the subjects of the inventory: their dependencies were requested.
    """
    named: dict[str, str] = {}
    known: list[tuple[Component, Purl]] = []
    for component in components:
        purl = read_purl(component.purl or "")
        if purl is None:
            found.add_foreign(NO_PURL, component.name)
        elif purl.type != "pypi":
            found.add_foreign(purl.type, purl.name)
        else:
            known.append((component, purl))
            if component.reference:
                named[component.reference] = purl.name
    wanted = {named[ref] for root in roots for ref in edges.get(root, ()) if ref in named}
    for component, purl in known:
        version = purl.version or component.version
        lock_in(found.lock, purl.name, version, digests_of(component.files))
        found.packages.append(
            Package(
                name=purl.name,
                version=version,
                requested=purl.name in wanted,
                requires_dist=tuple(
                    named[ref] for ref in edges.get(component.reference or "", ()) if ref in named
                ),
                **{**from_files(component.files), **_qualified(purl)},
            )
        )


def _qualified(purl: Purl) -> dict[str, Any]:
    """Return the origin of a package from the qualifiers of its purl."""
    fields: dict[str, Any] = {}
    if index := purl.qualifiers.get("repository_url"):
        fields["index_url"] = index if "://" in index else f"https://{index}"
    if url := purl.qualifiers.get("download_url"):
        fields |= {"url": url, "filename": filename_of(url)}
    if name := purl.qualifiers.get("file_name"):
        fields["filename"] = name
    return fields
