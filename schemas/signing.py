"""Ed25519 signatures over CloudEvents records: what is signed, key ids, rotation, replay window.

Signed bytes: for each of `ce_id`, `ce_type`, `ce_tenantid`, `ce_time` and the record's value, four
bytes of big-endian length and then the bytes themselves. The header `ce_signature` is
`ed25519;kid=<key id>;<base64 of the 64 bytes>`. A ring holds several keys, so that a new one is
trusted before the old one is retired.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from schemas.cloudevents import first_headers
from schemas.errors import TidewatchError

SIGNATURE_HEADER: Final = "ce_signature"
SIGNED_HEADERS: Final = ("ce_id", "ce_type", "ce_tenantid", "ce_time")
REPLAY_WINDOW: Final = timedelta(days=7)
"""A record whose `ce_time` is further than this from the broker's timestamp is a replay."""
_SCHEME: Final = "ed25519"
_SCHEME_PARTS: Final = 3


class InvalidSignatureError(TidewatchError):
    """A record that is unsigned, signed by an unknown key, or replayed."""


class SigningKey(msgspec.Struct, frozen=True, kw_only=True):
    """A private key and its id."""

    kid: str
    pem: bytes

    def __repr__(self) -> str:
        """Show only the id."""
        return f"SigningKey(kid={self.kid!r})"

    def _private(self) -> Ed25519PrivateKey:
        key = _private_key(self.pem)
        if key is None:
            raise InvalidSignatureError(
                "the signing key is not an Ed25519 key",
                where=self.kid,
                remedy="make one with: openssl genpkey -algorithm ed25519",
            )
        return key

    def public_pem(self) -> bytes:
        """Return the public half, PEM."""
        return (
            self._private()
            .public_key()
            .public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )

    def sign(self, headers: Sequence[tuple[str, bytes]], value: bytes) -> tuple[str, bytes]:
        """Return the signature header of a record.

        Args:
            headers: The record's headers, with the four that are signed.
            value: The record's value.

        Raises:
            InvalidSignatureError: the key is not Ed25519, or a signed header is missing.
        """
        signature = self._private().sign(signed_bytes(headers, value))
        text = f"{_SCHEME};kid={self.kid};{base64.b64encode(signature).decode()}"
        return SIGNATURE_HEADER, text.encode()


@lru_cache(maxsize=16)
def _private_key(pem: bytes) -> Ed25519PrivateKey | None:
    """Return the key of a PEM, None if it is no Ed25519 key; a process signs with one or two."""
    key = serialization.load_pem_private_key(pem, password=None)
    return key if isinstance(key, Ed25519PrivateKey) else None


def new_signing_key(kid: str) -> SigningKey:
    """Return a new key from the system's random source."""
    return SigningKey(
        kid=kid,
        pem=Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )


@lru_cache(maxsize=256)
def _public_key(pem: bytes) -> Ed25519PublicKey | None:
    """Return the key of a PEM, None if it is no Ed25519 key."""
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, Ed25519PublicKey) else None


def signed_bytes(headers: Sequence[tuple[str, bytes]], value: bytes) -> bytes:
    """Return the bytes that are signed.

    Raises:
        InvalidSignatureError: one of the signed headers is missing.
    """
    by_name = first_headers(headers)
    parts: list[bytes] = []
    for name in SIGNED_HEADERS:
        if name not in by_name:
            raise InvalidSignatureError(f"the record has no header {name}")
        parts.append(by_name[name])
    parts.append(value)
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def verify_signature(
    headers: Sequence[tuple[str, bytes]],
    value: bytes,
    ring: Mapping[str, bytes],
    *,
    timestamp_ms: int,
    window: timedelta = REPLAY_WINDOW,
) -> str:
    """Verify the signature of a record and return the id of the key that made it.

    Args:
        headers: The record's headers.
        value: The record's value.
        ring: Public keys in PEM, by key id.
        timestamp_ms: The broker's timestamp of the record, milliseconds since the epoch.
        window: How far `ce_time` may be from it.

    Raises:
        InvalidSignatureError: no or a malformed signature, an unknown key, a wrong signature, or a
            time outside the window.
    """
    by_name = first_headers(headers)
    parts = by_name.get(SIGNATURE_HEADER, b"").decode("ascii", "replace").split(";")
    if len(parts) != _SCHEME_PARTS or parts[0] != _SCHEME or not parts[1].startswith("kid="):
        raise InvalidSignatureError("the record is not signed", where=SIGNATURE_HEADER)
    kid = parts[1].removeprefix("kid=")
    pem = ring.get(kid)
    if pem is None:
        raise InvalidSignatureError(
            f"signed by a key that is not trusted: {kid[:40]!r}",
            remedy="add its public key to the ring, if it is yours",
        )
    key = _public_key(pem)
    if key is None:
        raise InvalidSignatureError("the trusted key is not an Ed25519 key", where=kid)
    try:
        key.verify(base64.b64decode(parts[2], validate=True), signed_bytes(headers, value))
    except (InvalidSignature, binascii.Error) as error:
        raise InvalidSignatureError("the signature does not match the record", where=kid) from error
    try:
        time = msgspec.convert(by_name["ce_time"].decode("ascii"), datetime)
    except (UnicodeDecodeError, msgspec.ValidationError) as error:
        raise InvalidSignatureError("ce_time is not a time", where=kid) from error
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    if abs(datetime.fromtimestamp(timestamp_ms / 1000, UTC) - time) > window:
        raise InvalidSignatureError("the record is outside the replay window", where=kid)
    return kid
