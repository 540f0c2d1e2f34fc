"""SPDX 2.2 and 2.3 in JSON, YAML and tag-value, SPDX 3 in JSON-LD, and GitHub's `{"sbom": …}`.

The few fields are read here and not by spdx-tools, which brings an RDF library and eight more
packages, knows no SPDX 3, and refuses a document for any field that breaks the specification.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from schemas.events import Installer
from streams.adapters.manifests.components import Component, add_components
from streams.adapters.manifests.found import (
    Distribution,
    Found,
    InstallOptions,
    entries,
    table,
    texts,
    word,
)
from streams.adapters.manifests.yaml_text import read_yaml
from streams.adapters.payload import moment, refuse

_TAG: Final = re.compile(r"^([A-Za-z]+):\s*(.*)$")
_TAGGED: Final = re.compile(rb"(?m)^SPDXVersion:")
_NOTHING: Final = frozenset({"NOASSERTION", "NONE", ""})


def read(raw: bytes, _options: InstallOptions) -> Found:
    """Return the packages of an SPDX document of either generation."""
    body = raw.removeprefix(b"\xef\xbb\xbf").lstrip()
    if body[:1] == b"{":
        document = table(msgspec.json.decode(body))
    elif _TAGGED.search(body):
        document = _from_tags(body.decode())
    else:
        document = table(read_yaml(body))
    if isinstance(document.get("sbom"), dict):
        document = document["sbom"]
    if "@graph" in document:
        return _read_graph(document)
    if "spdxVersion" not in document:
        raise refuse("no spdxVersion and no @graph: not SPDX")
    return _read_document(document)


def _read_document(document: dict[str, Any]) -> Found:
    info = table(document.get("creationInfo"))
    tool = next(
        (creator[5:].strip() for creator in texts(info.get("creators")) if creator[:5] == "Tool:"),
        None,
    )
    found = Found(installer=Installer(name=tool), time=moment(info.get("created")))
    edges: dict[str, list[str]] = {}
    roots = set(texts(document.get("documentDescribes")))
    for relationship in entries(document.get("relationships")):
        left, right = (
            str(relationship.get("spdxElementId")),
            str(relationship.get("relatedSpdxElement")),
        )
        match relationship.get("relationshipType"):
            case "DESCRIBES":
                roots.add(right)
            case "DEPENDS_ON" | "CONTAINS":
                edges.setdefault(left, []).append(right)
            case "DEPENDENCY_OF" | "CONTAINED_BY":
                edges.setdefault(right, []).append(left)
    packages = entries(document.get("packages"))
    # The subject of the document does not count as a package if there are others.
    about = {word(package.get("SPDXID")) for package in packages} & roots
    if len(about) == len(packages):
        about = set()
    components = [
        _component(package) for package in packages if word(package.get("SPDXID")) not in about
    ]
    add_components(found, components, edges, [*roots, word(document.get("SPDXID")) or ""])
    return found


def _component(package: dict[str, Any]) -> Component:
    purls = [
        word(external_ref.get("referenceLocator"))
        for external_ref in entries(package.get("externalRefs"))
        if external_ref.get("referenceType") == "purl"
    ]
    digests = {
        str(checksum.get("algorithm") or "").replace("-", "").lower(): str(
            checksum.get("checksumValue") or ""
        )
        for checksum in entries(package.get("checksums"))
    }
    url = word(package.get("downloadLocation"))
    return Component(
        name=word(package.get("name")) or "(no name)",
        version=word(package.get("versionInfo")),
        purl=purls[0] if purls else None,
        files=(Distribution(None if url in _NOTHING else url, digests),) if digests else (),
        reference=word(package.get("SPDXID")),
    )


def _read_graph(document: dict[str, Any]) -> Found:
    """Return the packages of SPDX 3, whose elements are one list of objects."""
    elements = entries(document["@graph"])
    created = next(
        (element.get("created") for element in elements if element.get("type") == "CreationInfo"),
        None,
    )
    found = Found(installer=Installer(name="spdx"), time=moment(created))
    edges: dict[str, list[str]] = {}
    roots: list[str] = []
    components: list[Component] = []
    for element in elements:
        kind = str(element.get("type") or element.get("@type") or "")
        if kind.endswith("Package"):
            components.append(_graph_component(element))
        elif kind.endswith(("Sbom", "SpdxDocument")):
            roots += texts(element.get("rootElement"))
        elif kind.endswith("Relationship") and element.get("relationshipType") in {
            "dependsOn",
            "contains",
        }:
            edges.setdefault(str(element.get("from")), []).extend(texts(element.get("to")))
    about = {component.reference for component in components} & set(roots)
    if len(about) == len(components):
        about = set()
    add_components(
        found,
        [component for component in components if component.reference not in about],
        edges,
        roots,
    )
    return found


def _graph_component(element: dict[str, Any]) -> Component:
    purl = next(
        (
            word(identifier.get("identifier"))
            for identifier in entries(element.get("externalIdentifier"))
            if identifier.get("externalIdentifierType") in {"packageUrl", "purl"}
        ),
        None,
    )
    digests = {
        str(integrity.get("algorithm") or "").lower(): str(integrity.get("hashValue") or "")
        for integrity in entries(element.get("verifiedUsing"))
        if integrity.get("hashValue")
    }
    url = word(element.get("software_downloadLocation"))
    return Component(
        name=word(element.get("name")) or "(no name)",
        version=word(element.get("software_packageVersion")),
        purl=word(element.get("software_packageUrl")) or purl,
        files=(Distribution(url, digests),) if digests else (),
        reference=word(element.get("spdxId")) or word(element.get("@id")),
    )


def _from_tags(text: str) -> dict[str, Any]:
    """Return the needed fields of a tag-value document, in the structure of the JSON format."""
    document: dict[str, Any] = {"packages": [], "relationships": [], "creationInfo": {}}
    creators: list[str] = []
    package: dict[str, Any] | None = None
    for line in text.splitlines():
        match = _TAG.match(line.strip())
        if match is None:
            continue
        tag, value = match[1], match[2].strip()
        match tag:
            case "SPDXVersion":
                document["spdxVersion"] = value
            case "Creator":
                creators.append(value)
            case "Created":
                document["creationInfo"]["created"] = value
            case "PackageName":
                package = {"name": value, "externalRefs": [], "checksums": []}
                document["packages"].append(package)
            case "FileName" | "SnippetSPDXID":
                package = None
            case "SPDXID":
                (document if package is None else package).setdefault("SPDXID", value)
            case "PackageVersion" if package is not None:
                package["versionInfo"] = value
            case "PackageDownloadLocation" if package is not None:
                package["downloadLocation"] = value
            case "PackageChecksum" if package is not None:
                kind, _, digest = value.partition(":")
                package["checksums"].append({"algorithm": kind, "checksumValue": digest.strip()})
            case "ExternalRef" if package is not None:
                words = value.split()
                if len(words) == 3:  # noqa: PLR2004 -- category, type, locator
                    package["externalRefs"].append(
                        {"referenceType": words[1], "referenceLocator": words[2]}
                    )
            case "Relationship":
                words = value.split()
                if len(words) == 3:  # noqa: PLR2004 -- left, kind, right
                    document["relationships"].append(
                        {
                            "spdxElementId": words[0],
                            "relationshipType": words[1],
                            "relatedSpdxElement": words[2],
                        }
                    )
    document["creationInfo"]["creators"] = creators
    return document
