"""Signed snapshots of a feed: the signer, the number of records, and the digest."""

from __future__ import annotations

import base64
import hashlib
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from agents.intelligence.feed import Feed, InvalidFeedError
from schemas.canonical import canonical_json
from schemas.counting import counted

MANIFEST_LIMIT: Final = 65_536


class SnapshotManifest(msgspec.Struct, frozen=True, kw_only=True):
    """The publisher's signed statement about a snapshot."""

    source: str
    count: int
    """Number of records in the snapshot."""
    sha256: str
    created: str
    key_id: str
    signature: str = ""
    """Ed25519 over the canonical JSON of the other fields, in base64."""


_MANIFESTS: Final = msgspec.json.Decoder(SnapshotManifest)


def signed_bytes(manifest: SnapshotManifest) -> bytes:
    """Return the bytes that a manifest's signature covers."""
    fields = msgspec.to_builtins(msgspec.structs.replace(manifest, signature=""))
    return canonical_json(fields)


def check_snapshot(raw: bytes, manifest: bytes, public_pem: bytes, where: str) -> SnapshotManifest:
    """Return a snapshot's manifest after verifying its signature and digest.

    Args:
        raw: The snapshot.
        manifest: Its manifest, JSON.
        public_pem: The publisher's Ed25519 public key, PEM.
        where: The snapshot's name, for errors.

    Raises:
        InvalidFeedError: the manifest, key or signature is invalid, or the digest differs.
    """
    try:
        read = _MANIFESTS.decode(manifest[:MANIFEST_LIMIT])
        key = load_pem_public_key(public_pem)
        if not isinstance(key, Ed25519PublicKey):
            raise InvalidFeedError("the key is not Ed25519", where=where)
        key.verify(base64.b64decode(read.signature, validate=True), signed_bytes(read))
    except InvalidSignature as error:
        raise InvalidFeedError(
            "the snapshot's signature is wrong",
            where=where,
            remedy="don't import it; ask its publisher",
        ) from error
    except (msgspec.DecodeError, ValueError) as error:
        raise InvalidFeedError(f"manifest or key can't be read ({error})", where=where) from error
    if hashlib.sha256(raw).hexdigest() != read.sha256:
        raise InvalidFeedError("the snapshot is not the one that was signed", where=where)
    return read


def require_count(feed: Feed, manifest: SnapshotManifest, where: str) -> None:
    """Refuse a feed whose number of records differs from the signed number.

    Raises:
        InvalidFeedError: the numbers differ.
    """
    if feed.records != manifest.count:
        raise InvalidFeedError(
            f"{counted(feed.records, 'record')}, where {manifest.count} were signed", where=where
        )
