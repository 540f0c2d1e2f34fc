"""CycloneDX 1.2 to 1.7, in JSON and in XML.

The few fields are read here and not by cyclonedx-python-lib, which builds every object of a BOM
and refuses the whole for one that it does not know: a licence of a later list, a null, a model
card (its support is still open). It is what the tests write their BOMs with.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final
from xml.etree import ElementTree as ET

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
from streams.adapters.payload import moment, refuse

_DEPTH: Final = 64
_COMPONENTS: Final = 200_000
_ASSEMBLIES: Final = frozenset({"application", "container", "platform"})
_NOT_PACKAGES: Final = frozenset({"file", "data", "machine-learning-model", "operating-system",
                                  "device", "firmware", "cryptographic-asset"})  # fmt: skip
"""Types of components that are in no package index; without a purl they are ignored."""


def read(raw: bytes, _options: InstallOptions) -> Found:
    """Return the packages of a BOM, those within others too."""
    if raw.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<":
        document = _from_xml(raw)
    else:
        document = table(msgspec.json.decode(raw.removeprefix(b"\xef\xbb\xbf")))
        if document.get("bomFormat") != "CycloneDX":
            raise refuse("no bomFormat CycloneDX")
    metadata = table(document.get("metadata"))
    tools = metadata.get("tools")
    first = (entries(table(tools).get("components")) or entries(tools) or [{}])[0]
    found = Found(
        installer=Installer(name=word(first.get("name")), version=word(first.get("version"))),
        time=moment(metadata.get("timestamp")),
    )
    edges = {
        str(dependency.get("ref")): texts(dependency.get("dependsOn"))
        for dependency in entries(document.get("dependencies"))
    }
    about = table(metadata.get("component"))
    root = word(about.get("bom-ref"))
    # What a BOM is about may hold the components as well.
    listed = [*entries(document.get("components")), *entries(about.get("components"))]
    components = [_component(component) for component in _nested(listed) if _is_package(component)]
    add_components(found, components, edges, [root] if root else [])
    return found


def _nested(listed: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 -- any JSON value
    stack = [(item, 1) for item in reversed(entries(listed))]
    count = 0
    while stack:
        component, depth = stack.pop()
        count += 1
        if count > _COMPONENTS or depth > _DEPTH:
            raise refuse(f"more than {_COMPONENTS:,} components, or nested deeper than {_DEPTH}")
        yield component
        stack += [(inner, depth + 1) for inner in reversed(entries(component.get("components")))]


def _is_package(component: dict[str, Any]) -> bool:
    """Return whether a component is a package: what holds others, such as an image, is none."""
    if component.get("purl"):
        return True
    holds_others = component.get("type") in _ASSEMBLIES and entries(component.get("components"))
    return component.get("type") not in _NOT_PACKAGES and not holds_others


def _component(component: dict[str, Any]) -> Component:
    purl = word(component.get("purl"))
    return Component(
        name=word(component.get("name")) or "(no name)",
        version=word(component.get("version")),
        purl=purl,
        files=tuple(_files(component)),
        reference=word(component.get("bom-ref")) or purl,
    )


def _files(component: dict[str, Any]) -> list[Distribution]:
    """Return the files that a component names, each with one digest of each kind.

    cyclonedx-py lists the hashes of all files of a requirement under one reference.
    """
    files: list[Distribution] = []
    for reference in entries(component.get("externalReferences")):
        if reference.get("type") == "distribution":
            files += [
                Distribution(word(reference.get("url")), dict([_hash(hash_entry)]))
                for hash_entry in entries(reference.get("hashes"))
            ]
    own = dict(_hash(hash_entry) for hash_entry in entries(component.get("hashes")))
    return [*files, Distribution(None, own)] if own else files


def _hash(entry: dict[str, Any]) -> tuple[str, str]:
    kind = str(entry.get("alg") or "").replace("-", "").lower()
    return kind, str(entry.get("content") or "").lower()


def _from_xml(raw: bytes) -> dict[str, Any]:
    """Return the needed fields of an XML BOM, in the structure of the JSON format."""
    # Over 60 lines with its readers of nodes, which share the document's namespace.
    if b"<!DOCTYPE" in raw or b"<!ENTITY" in raw:
        raise refuse("XML with a document type: it could expand without end")
    root = ET.fromstring(raw)  # noqa: S314 -- without a document type there are no entities
    if not root.tag.startswith("{http://cyclonedx.org/schema/bom/"):
        raise refuse("XML of another namespace than CycloneDX's")
    space = root.tag.partition("}")[0] + "}"

    def child(node: ET.Element, *path: str) -> ET.Element | None:
        return node.find("/".join(f"{space}{name}" for name in path))

    def text(node: ET.Element, *path: str) -> str | None:
        found = child(node, *path)
        return found.text if found is not None else None

    def every(node: ET.Element, *path: str) -> list[ET.Element]:
        return node.findall("/".join(f"{space}{name}" for name in path))

    def hashes(node: ET.Element) -> list[dict[str, Any]]:
        return [
            {"alg": entry.get("alg"), "content": entry.text}
            for entry in every(node, "hashes", "hash")
        ]

    def component(node: ET.Element, depth: int = 1) -> dict[str, Any]:
        if depth > _DEPTH:
            raise refuse(f"components nested deeper than {_DEPTH}")
        return {
            "type": node.get("type"),
            "bom-ref": node.get("bom-ref"),
            **{name: text(node, name) for name in ("name", "version", "purl")},
            "hashes": hashes(node),
            "externalReferences": [
                {
                    "type": reference.get("type"),
                    "url": text(reference, "url"),
                    "hashes": hashes(reference),
                }
                for reference in every(node, "externalReferences", "reference")
            ],
            "components": [
                component(inner, depth + 1) for inner in every(node, "components", "component")
            ],
        }

    tools = [
        {"name": text(tool, "name"), "version": text(tool, "version")}
        for path in (("tool",), ("components", "component"))
        for tool in every(root, "metadata", "tools", *path)
    ]
    about = child(root, "metadata", "component")
    return {
        "metadata": {
            "timestamp": text(root, "metadata", "timestamp"),
            "tools": tools,
            "component": component(about) if about is not None else None,
        },
        "components": [component(entry) for entry in every(root, "components", "component")],
        "dependencies": [
            {
                "ref": dependency.get("ref"),
                "dependsOn": [inner.get("ref") for inner in every(dependency, "dependency")],
            }
            for dependency in every(root, "dependencies", "dependency")
        ],
    }
