"""Syft's own JSON, its default output."""

from __future__ import annotations

import msgspec

from schemas.events import Installer
from streams.adapters.manifests.components import Component, add_components
from streams.adapters.manifests.found import Found, InstallOptions, entries, table, word
from streams.adapters.payload import refuse


def read(raw: bytes, _options: InstallOptions) -> Found:
    """Return the packages of a syft document."""
    document = table(msgspec.json.decode(raw.removeprefix(b"\xef\xbb\xbf")))
    if "artifacts" not in document or "descriptor" not in document:
        raise refuse("no artifacts and descriptor: not of syft")
    descriptor = table(document["descriptor"])
    found = Found(
        installer=Installer(
            name=word(descriptor.get("name")), version=word(descriptor.get("version"))
        )
    )
    edges: dict[str, list[str]] = {}
    for relationship in entries(document.get("artifactRelationships")):
        if relationship.get("type") == "dependency-of":
            edges.setdefault(str(relationship.get("child")), []).append(
                str(relationship.get("parent"))
            )
    components = [
        Component(
            name=word(artifact.get("name")) or "(no name)",
            version=word(artifact.get("version")),
            purl=word(artifact.get("purl")),
            reference=word(artifact.get("id")),
        )
        for artifact in entries(document["artifacts"])
    ]
    add_components(found, components, edges, [])
    return found
