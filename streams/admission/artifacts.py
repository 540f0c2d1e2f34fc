"""Finds the images and models that a Kubernetes object of any kind names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from agents.checks.provenance.contents import MANIFEST

MAX_NODES: Final = 200_000
MAX_ARTIFACTS: Final = 500
"""Most artifacts read from one object; an object with more is undecided."""
_IMAGE: Final = "image"
_MODEL_KEYS: Final = frozenset({"storageUri", "storage_uri", "modelUri", "sourceUri"})
"""KServe's and Seldon's fields of a model's location."""
_SOURCE_ANNOTATION: Final = "internal.serving.kserve.io/storage-initializer-sourceuri"
"""On the pods of KServe: where their model is fetched from."""
_NOT_IMAGES: Final = frozenset({"rbd"})
"""Parents whose `image` is a block device."""
_UNREAD: Final = frozenset({"metadata", "status", "managedFields"})
_SERVING: Final = "serving.kserve.io/"
_DIGEST: Final = re.compile(r"[^\s@]{1,512}@sha256:([0-9a-f]{64})")
_HUB: Final = re.compile(
    r"hf://(?P<name>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)[:@](?P<commit>[0-9a-f]{40})"
)


class Artifact(msgspec.Struct, frozen=True, kw_only=True):
    """An image or model that an object names."""

    where: str
    """The path of the field."""
    reference: str
    """As the object names it."""
    content: str | None = None
    """Its content, as `Assessment.contents` names it; None if it is mutable."""


class Named(msgspec.Struct, frozen=True, kw_only=True):
    """All that an object names."""

    artifacts: tuple[Artifact, ...]
    whole: bool
    """Whether all of the object was read."""


def artifacts_of(document: Any) -> Named:  # noqa: ANN401 -- any JSON value
    """Return the images and models that an object names.

    It looks for the fields that name them wherever they are, so that custom resources which hold
    pods or models count as much as pods: templates, init and ephemeral containers, image volumes,
    the models of inference services.

    Args:
        document: The object, decoded.
    """
    found: dict[tuple[str, str], Artifact] = {}
    whole = True
    for artifact in _walk(document):
        if artifact is None or len(found) >= MAX_ARTIFACTS:
            whole = False
            break
        found.setdefault((artifact.where, artifact.reference), artifact)
    return Named(artifacts=tuple(found.values()), whole=whole)


def _walk(document: Any) -> Iterator[Artifact | None]:  # noqa: ANN401 -- any JSON value
    """Yield the named artifacts; then None if there are more than are read."""
    serving = isinstance(document, dict) and str(document.get("apiVersion", "")).startswith(
        _SERVING
    )
    left: list[tuple[str, str, Any]] = [("", "", document)]
    seen = 0
    while left:
        path, name, value = left.pop()
        seen += 1
        if seen > MAX_NODES:
            yield None
            return
        if isinstance(value, list):
            left += [(f"{path}[{at}]", name, child) for at, child in reversed([*enumerate(value)])]
        elif isinstance(value, dict):
            yield from _of_object(path, name, value, serving=serving)
            left += [
                (f"{path}.{key}" if path else key, key, child)
                for key, child in reversed(value.items())
                if key not in _UNREAD and isinstance(child, dict | list)
            ]


def _of_object(
    path: str, name: str, value: Mapping[str, Any], *, serving: bool
) -> Iterator[Artifact]:
    prefix = f"{path}." if path else ""
    image = value.get(_IMAGE)
    if isinstance(image, str) and image.strip() and name not in _NOT_IMAGES:
        yield _image(f"{prefix}{_IMAGE}", image)
    elif isinstance(image, dict) and image:
        reference = image.get("reference")
        if isinstance(reference, str) and reference.strip():
            yield _image(f"{prefix}{_IMAGE}.reference", reference)
        else:
            yield Artifact(where=f"{prefix}{_IMAGE}", reference="an image in parts")
    for key in _MODEL_KEYS & value.keys():
        yield from _model(f"{prefix}{key}", value[key])
    if serving and isinstance(value.get("storage"), dict):
        yield from _stored(f"{prefix}storage", value["storage"])
    if serving and name == "model" and "uri" in value:
        yield from _model(f"{prefix}uri", value["uri"])
    metadata = value.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    if isinstance(annotations, dict) and _SOURCE_ANNOTATION in annotations:
        where = f"{prefix}metadata.annotations.{_SOURCE_ANNOTATION}"
        yield from _model(where, annotations[_SOURCE_ANNOTATION])


def _manifest(match: re.Match[str] | None) -> str | None:
    return f"{MANIFEST}{match[1]}" if match is not None else None


def _image(where: str, reference: str) -> Artifact:
    match = _DIGEST.fullmatch(reference.strip())
    return Artifact(where=where, reference=reference, content=_manifest(match))


def _model(where: str, value: Any) -> Iterator[Artifact]:  # noqa: ANN401 -- any JSON value
    if not isinstance(value, str) or not value.strip():
        return
    text = value.strip()
    hub = _HUB.fullmatch(text)
    if hub is not None:
        yield Artifact(where=where, reference=value, content=f"hf://{hub['name']}@{hub['commit']}")
        return
    scheme, separator, rest = text.partition("://")
    if separator and scheme.startswith("oci"):
        match = _DIGEST.fullmatch(rest)
        yield Artifact(where=where, reference=value, content=_manifest(match))
        return
    yield Artifact(where=where, reference=value)


def _stored(where: str, storage: Mapping[str, Any]) -> Iterator[Artifact]:
    """Yield the model of KServe's storage specification; its location may change."""
    path = storage.get("path") or storage.get("key")
    if isinstance(path, str) and not any(key in storage for key in _MODEL_KEYS):
        yield Artifact(where=where, reference=path)
