"""Signed in-toto statements on how artifacts were made, verified offline.

The signer states the digests of the subjects, and what they were made from (SLSA provenance).
"""

from __future__ import annotations

import base64
import binascii
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from packageurl import PackageURL

from agents.checks.provenance.signatures import Trust
from agents.checks.provenance.trust_root import pinned_trusted_root
from schemas.components import InvalidComponentError, component_key, is_sha256, normalise_key

STATEMENT_TYPE: Final = "application/vnd.in-toto+json"
_PROVENANCE: Final = frozenset(
    {"https://slsa.dev/provenance/v1", "https://slsa.dev/provenance/v0.2"}
)
SUBJECTS: Final = 20_000
"""Most subjects of a statement that is read."""
MATERIALS: Final = 128
"""Most digests and names that a statement's artifacts were made from."""
_NAMES: Final = {"pypi": "pypi:", "huggingface": "model:huggingface/", "mlflow": "model:mlflow/"}
"""Kinds of component by type of purl."""


class Subject(msgspec.Struct, frozen=True):
    """An artifact that a statement is about."""

    digest: str
    """SHA-256, hex."""
    key: str | None = None
    """The component key, where its name is one or a purl."""
    version: str | None = None


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """A signed statement about artifacts."""

    subjects: tuple[Subject, ...]
    materials: tuple[str, ...]
    """The materials: `<key>@<version>` and `sha256:<digest>`."""


class Signed(msgspec.Struct, frozen=True, kw_only=True):
    """A statement with a valid signature."""

    identity: str
    """The signer, in readable form."""
    statement: Statement


def is_provenance(raw: bytes) -> bool:
    """Return whether a bundle claims to hold a provenance statement, by any signer."""
    try:
        payload = orjson.loads(_payload(orjson.loads(raw)))
        return payload["predicateType"] in _PROVENANCE
    except (ValueError, KeyError, TypeError):
        return False


def _payload(bundle: Any) -> bytes:  # noqa: ANN401 -- a producer's document
    return base64.b64decode(bundle["dsseEnvelope"]["payload"], validate=True)


def verify_statement(raw: bytes, trust: Trust) -> Signed:
    """Verify a bundle that holds a statement on provenance.

    Args:
        raw: The Sigstore bundle, JSON.
        trust: The trusted signers.

    Returns:
        The statement and who signed it.

    Raises:
        ValueError: it has no trusted signature, or it can't be read.

    Source: in-toto Statement v1, SLSA provenance v1 and v0.2, DSSE.
    """
    reason = "no signer is trusted"
    for identity, verified in _attempts(raw, trust):
        try:
            kind, payload = verified()
        except Exception as error:  # noqa: BLE001 -- whatever a verifier raises, it did not verify
            reason = f"{type(error).__name__}: {str(error)[:200]}"
            continue
        if kind != STATEMENT_TYPE:
            raise ValueError(f"the signature is over {kind[:60]!r}, not over a statement")
        return Signed(identity=identity, statement=read_statement(payload))
    raise ValueError(f"does not verify: {reason}")


def _attempts(raw: bytes, trust: Trust) -> Iterator[tuple[str, Any]]:
    for pem in trust.keys:
        yield "a trusted key", lambda pem=pem: _by_key(raw, pem)
    for authority in trust.certificates:
        yield (
            "a certificate of a trusted authority",
            lambda authority=authority: _by_certificate(raw, authority),
        )
    for who in trust.identities:
        yield who[0], lambda who=who: _by_sigstore(raw, who, trust.trusted_root)


def _by_key(raw: bytes, pem: str) -> tuple[str, bytes]:
    envelope = orjson.loads(raw)["dsseEnvelope"]
    kind = str(envelope["payloadType"])
    payload = base64.b64decode(envelope["payload"], validate=True)
    # DSSE's pre-authentication encoding: the payload and its type are signed.
    encoded = b"DSSEv1 %d %s %d " % (len(kind.encode()), kind.encode(), len(payload)) + payload
    key = serialization.load_pem_public_key(pem.encode())
    for entry in envelope["signatures"][:8]:
        try:
            signature = base64.b64decode(entry["sig"], validate=True)
            if isinstance(key, ec.EllipticCurvePublicKey):
                key.verify(signature, encoded, ec.ECDSA(_hash_of(key)))
            elif isinstance(key, ed25519.Ed25519PublicKey):
                key.verify(signature, encoded)
            else:
                raise ValueError("keys of this kind sign no statements")  # noqa: TRY004 -- as all that does not verify
        except (InvalidSignature, binascii.Error):
            continue
        return kind, payload
    raise ValueError("the key signed something else")


def _hash_of(key: ec.EllipticCurvePublicKey) -> hashes.HashAlgorithm:
    return {256: hashes.SHA256(), 384: hashes.SHA384()}.get(key.key_size, hashes.SHA512())


def _by_certificate(raw: bytes, authority: str) -> tuple[str, bytes]:
    from model_signing._signing import (  # noqa: PLC0415 -- slow import
        sign_certificate,
        sign_sigstore_pb,
    )

    with tempfile.TemporaryDirectory() as folder:
        bundle, chain = Path(folder, "bundle.json"), Path(folder, "authority.pem")
        bundle.write_bytes(raw)
        chain.write_text(authority + "\n")
        signature = sign_sigstore_pb.Signature.read(bundle)
        kind, payload = sign_certificate.Verifier([chain])._verify_signed_content(signature)  # noqa: SLF001 -- its public method reads manifests alone
        return str(kind), bytes(payload)


def _by_sigstore(raw: bytes, who: tuple[str, str], root: Path | None) -> tuple[str, bytes]:
    from sigstore.models import Bundle  # noqa: PLC0415 -- slow import
    from sigstore.verify import Verifier, policy  # noqa: PLC0415 -- slow import

    identity, issuer = who
    kind, payload = Verifier(trusted_root=pinned_trusted_root(root)).verify_dsse(
        Bundle.from_json(raw), policy.Identity(identity=identity, issuer=issuer or None)
    )
    return str(kind), payload


def read_statement(payload: bytes) -> Statement:
    """Return the statement about digests in a payload.

    Args:
        payload: The in-toto statement, JSON.

    Raises:
        ValueError: not a statement on provenance, or one with too many subjects.
    """
    try:
        found = orjson.loads(payload)
        predicate, kind = found["predicate"], found["predicateType"]
        given = found["subject"]
        if kind not in _PROVENANCE or len(given) > SUBJECTS:
            raise ValueError("not a provenance statement, or one with too many subjects")
        subjects = tuple(_subjects(given))
        materials = (
            predicate["buildDefinition"].get("resolvedDependencies")
            if "buildDefinition" in predicate
            else predicate.get("materials")
        )
        entries = dict.fromkeys(_entries(materials or ()))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a statement: {type(error).__name__}") from error
    return Statement(subjects=subjects, materials=tuple(entries)[:MATERIALS])


def _subjects(given: Iterable[Any]) -> Iterator[Subject]:
    for subject in given:
        digest = str(subject["digest"].get("sha256", "")).lower()
        if is_sha256(digest):
            yield Subject(digest, *named(str(subject.get("name", ""))))


def _entries(materials: Iterable[Any]) -> Iterator[str]:
    for material in materials:
        digest = str((material.get("digest") or {}).get("sha256", "")).lower()
        if is_sha256(digest):
            yield f"sha256:{digest}"
        key, version = named(str(material.get("uri") or material.get("name") or ""))
        # A tenant's own names are meaningless to others.
        if key is not None and not key.partition(":")[2].startswith("@"):
            if version is not None:
                yield f"{key}@{version}"
            if is_sha256(digest):
                yield f"{key}@sha256:{digest}"


def named(text: str) -> tuple[str | None, str | None]:
    """Return the component key and version that a purl or a key with its version names."""
    if text.startswith("pkg:"):
        try:
            purl = PackageURL.from_string(text)
        except ValueError:
            return None, None
        start = _NAMES.get(purl.type)
        if start is None:
            return None, None
        name = "/".join(part for part in (purl.namespace, purl.name) if part)
        prefix, _, place = start.partition(":")
        return component_key(prefix, place + name), purl.version
    key, at, version = text.rpartition("@")
    try:
        return (normalise_key(key), version or None) if at else (normalise_key(text), None)
    except InvalidComponentError:
        return None, None
