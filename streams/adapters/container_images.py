"""Shared rules of container registries: kinds, manifests, digests."""

from __future__ import annotations

from typing import Final

from schemas.events import File
from streams.adapters.payload import sha256_digest

_MODEL_MEDIA: Final = ("model", "vnd.docker.ai", "vnd.ollama", "vnd.cncf.ai", "mlflow")
_MANIFEST: Final = ("manifest", "image.index")


def kind_of_media(media_type: str | None) -> str:
    """Return `model` for the media type of a packaged model, else `image`."""
    lowered = (media_type or "").lower()
    return "model" if any(mark in lowered for mark in _MODEL_MEDIA) else "image"


def is_manifest(media_type: str | None) -> bool:
    """Return whether a media type is a manifest or index, which tags point at."""
    lowered = (media_type or "").lower()
    return any(mark in lowered for mark in _MANIFEST)


def manifest_file(digest: str | None, size: object = None) -> tuple[File, ...]:
    """Return the manifest as the only file of a push; its digest is that of the artifact."""
    digests = sha256_digest(digest)
    if not digests:
        return ()
    known = size if isinstance(size, int) and not isinstance(size, bool) and size >= 0 else None
    return (File(path="manifest.json", digests=digests, size=known),)
