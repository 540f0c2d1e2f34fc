"""Test vectors of the signatures of records: keys of known seeds, records, and expected results."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schemas.documents.openc2 import COMMAND_TYPE
from schemas.signing import REPLAY_WINDOW, SIGNATURE_HEADER, SIGNED_HEADERS, SigningKey

FOLDER: Final = "signatures"
"""Of the vectors, below the pages of the contract."""
VECTORS: Final = "vectors.tsv"
KEYS: Final = "keys"
REFUSED: Final = "refused"
_KEY_IDS: Final = ("commands", "commands-2")
"""The key in use, and the next one, which is trusted before it is used."""
_AT_MS: Final = 1_795_162_530_120
"""2026-11-20T08:15:30.120Z."""


class Vector(msgspec.Struct, frozen=True, kw_only=True):
    """A record, and the id of the key that signed it or `refused`."""

    name: str
    expected: str
    headers: dict[str, bytes]
    value: bytes
    timestamp_ms: int = _AT_MS


def known_key(seed: int, kid: str) -> SigningKey:
    """Return a key for tests only: its seed makes it public.

    Args:
        seed: 0 to 255; the private key is 32 bytes of it.
        kid: The key's id.
    """
    private = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
    pem = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return SigningKey(kid=kid, pem=pem)


def trusted_keys() -> dict[str, bytes]:
    """Return the ring of the vectors: public keys in PEM by key id."""
    return {kid: known_key(seed, kid).public_pem() for seed, kid in enumerate(_KEY_IDS, 1)}


def _record(key: SigningKey, **changes: Any) -> tuple[dict[str, bytes], bytes]:  # noqa: ANN401 -- headers by name, and the value
    headers = {
        "ce_id": b"cmd_5b1d8f6c0a2e",
        "ce_type": COMMAND_TYPE.encode(),
        "ce_tenantid": b"acme",
        "ce_time": b"2026-11-20T08:15:30.120Z",
    }
    value = changes.pop("value", b'{"action":"contain"}')
    headers |= changes
    name, signature = key.sign(tuple(headers.items()), value)
    return {**headers, name: signature}, value


def vectors() -> tuple[Vector, ...]:
    """Return all vectors; what is signed is signed by the code that signs commands."""
    first, second = (known_key(seed, kid) for seed, kid in enumerate(_KEY_IDS, 1))
    found: list[Vector] = []

    def add(name: str, expected: str, record: tuple[dict[str, bytes], bytes], **more: Any) -> None:  # noqa: ANN401 -- fields of a vector
        found.append(
            Vector(name=name, expected=expected, headers=record[0], value=record[1], **more)
        )

    plain, value = _record(first)
    add("valid", first.kid, (plain, value))
    add("valid: the next key", second.kid, _record(second))
    add("valid: an empty value", first.kid, _record(first, value=b""))
    add("valid: a tenant beyond ASCII", first.kid, _record(first, ce_tenantid="acmé".encode()))
    add(
        "valid: a time with an offset",
        first.kid,
        _record(first, ce_time=b"2026-11-20T09:15:30+01:00"),
    )
    window_ms = int(REPLAY_WINDOW / timedelta(milliseconds=1))
    for days, at in (("later", _AT_MS + window_ms), ("earlier", _AT_MS - window_ms)):
        add(f"valid: seven days {days}", first.kid, (plain, value), timestamp_ms=at)
        beyond = at + (1 if at > _AT_MS else -1)
        add(f"a replay: more than seven days {days}", REFUSED, (plain, value), timestamp_ms=beyond)
    add("the value was changed", REFUSED, (plain, value + b" "))
    for name in SIGNED_HEADERS:
        changed = b"2026-11-20T08:15:31.120Z" if name == "ce_time" else plain[name] + b"x"
        add(f"{name} was changed", REFUSED, ({**plain, name: changed}, value))
        rest = {key: raw for key, raw in plain.items() if key != name}
        add(f"{name} is missing", REFUSED, (rest, value))
    moved = {**plain, "ce_id": plain["ce_id"] + b"t", "ce_type": plain["ce_type"][1:]}
    add("bytes moved between headers", REFUSED, (moved, value))
    signature = plain[SIGNATURE_HEADER].decode()
    scheme, kid, text = signature.split(";")
    for why, forged in (
        ("no signature", ""),
        ("a key that is not trusted", f"{scheme};kid=stranger;{text}"),
        ("the id of another key", f"{scheme};kid={second.kid};{text}"),
        ("another scheme", f"rsa;{kid};{text}"),
        ("no key id", f"{scheme};{text}"),
        ("a part too many", f"{signature};x"),
        ("a signature that is not base64", f"{scheme};{kid};{text[:-2]}*="),
        ("a signature cut short", f"{scheme};{kid};{base64.b64encode(b'short').decode()}"),
    ):
        add(why, REFUSED, ({**plain, SIGNATURE_HEADER: forged.encode()}, value))
    stranger = known_key(99, first.kid)
    add("another key under a trusted id", REFUSED, _record(stranger))
    return tuple(found)


def vector_files() -> dict[str, str]:
    """Return the files of the vectors, by their path below the contract's pages."""
    columns = (*SIGNED_HEADERS, SIGNATURE_HEADER)
    lines = ["\t".join(("name", "expected", "timestamp_ms", *columns, "value"))]
    for vector in vectors():
        cells = [vector.headers.get(name, b"").decode() for name in columns]
        value = base64.b64encode(vector.value).decode()
        lines.append(
            "\t".join((vector.name, vector.expected, str(vector.timestamp_ms), *cells, value))
        )
    files = {f"{FOLDER}/{VECTORS}": "\n".join(lines) + "\n"}
    for kid, pem in trusted_keys().items():
        files[f"{FOLDER}/{KEYS}/{kid}.pem"] = pem.decode()
    return files
