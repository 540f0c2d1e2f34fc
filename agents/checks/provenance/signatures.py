"""OpenSSF Model Signing and Sigstore bundles, verified offline.

A signature covers a manifest of all files. Every file of the model must be in it with the digest it
has; added files are never ignored: the switch of `model_signing` for that would let an extra pickle
pass.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import tempfile
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Final, Protocol

import blake3
import msgspec
import orjson

from agents.checks.artifacts.formats.names import is_passive
from agents.checks.provenance.trust_root import pinned_trusted_root
from agents.domain.detection import Detection, Outcome
from agents.fetching.sources import CHUNK
from schemas.assessments import Check
from schemas.policy import Policy
from schemas.severity import Status

SIGNATURE_BYTES: Final = 32 << 20
"""A manifest names every file and shard; larger ones are refused."""
_GIT: Final = frozenset({".gitattributes", ".gitignore"})
"""Excluded by every signer's defaults, and read by no loader."""
_SIGSTORE_PREFIX: Final = "sigstore:"
_SHOWN: Final = 10


class Trust(msgspec.Struct, frozen=True, kw_only=True):
    """The trusted signers; none when empty."""

    keys: tuple[str, ...] = ()
    """PEM public keys."""
    certificates: tuple[str, ...] = ()
    """PEM certificates of authorities."""
    identities: tuple[tuple[str, str], ...] = ()
    """Sigstore identity and OpenID Connect issuer."""
    trusted_root: Path | None = None
    """The operator's pinned Sigstore trust root; default: bundled."""

    def __bool__(self) -> bool:
        """Return whether any signer is trusted."""
        return bool(self.keys or self.certificates or self.identities)


def policy_trust(policy: Policy, references: Mapping[str, str] | None = None) -> Trust:
    """Return the signers that a tenant trusts.

    Args:
        policy: `signing_keys` holds PEM public keys, PEM certificates of authorities,
            `sigstore:IDENTITY ISSUER`, or references to any of these.
        references: The operator's values by reference.
    """
    return trust_of(policy.signing_keys, references)


def trust_of(entries: Iterable[str], references: Mapping[str, str] | None = None) -> Trust:
    """Return the signers that entries name.

    Args:
        entries: As in a policy's `signing_keys`.
        references: The operator's values by reference.
    """
    keys, certificates, identities = [], [], []
    for entry in entries:
        text = (references or {}).get(entry, entry).strip()
        if "BEGIN CERTIFICATE" in text:
            certificates.append(text)
        elif "BEGIN PUBLIC KEY" in text:
            keys.append(text)
        elif text.startswith(_SIGSTORE_PREFIX):
            identity, _, issuer = text.removeprefix(_SIGSTORE_PREFIX).strip().partition(" ")
            identities.append((identity, issuer.strip()))
    return Trust(keys=tuple(keys), certificates=tuple(certificates), identities=tuple(identities))


class _Readable(Protocol):
    @property
    def size(self) -> int: ...

    def read(self, offset: int, length: int) -> bytes: ...


class SignedFiles(Protocol):
    """The files of a model to compare a signature with."""

    def paths(self) -> tuple[str, ...]:
        """Return the path of every file."""

    def sha256(self, path: str) -> str:
        """Return the SHA-256 of a file, in hex."""

    def source(self, path: str) -> contextlib.AbstractContextManager[_Readable]:
        """Return the bytes of a file."""


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """The result of verifying one signature."""

    status: Status
    detail: str
    signer: str | None = None
    covered: tuple[str, ...] = ()
    """The files that the signature covers."""


def _hasher(algorithm: str) -> Any:  # noqa: ANN401 -- hashlib's and blake3's have no shared type
    match algorithm.removesuffix("-sharded").partition("-sharded")[0].lower():
        case "sha256":
            return hashlib.sha256()
        case "blake2b" | "blake2":
            return hashlib.blake2b()
        case "blake3":
            return blake3.blake3()
        case other:
            raise ValueError(f"the manifest uses an unknown hash, {other[:40]!r}")


def _digest(files: SignedFiles, path: str, algorithm: str, start: int, end: int | None) -> str:
    if end is None and algorithm.lower() == "sha256":
        return files.sha256(path)
    hasher = _hasher(algorithm)
    with files.source(path) as source:
        last = source.size if end is None else min(end, source.size)
        while start < last:
            chunk = source.read(start, min(CHUNK, last - start))
            if not chunk:
                raise ValueError(f"{path} ends before its size")
            hasher.update(chunk)
            start += len(chunk)
    return str(hasher.hexdigest())


def _compare(manifest: Any, files: SignedFiles, own: frozenset[str]) -> list[str]:  # noqa: ANN401
    """Return the differences between a signed manifest and the files."""
    signed: dict[str, int] = {}
    differs: list[str] = []
    present = set(files.paths())
    sharded = manifest.serialization_type.get("method") == "shards"
    for resource in manifest.resource_descriptors():
        path, start, end = str(resource.identifier), 0, None
        if sharded:
            path, first, last = path.rsplit(":", 2)
            start, end = int(first), int(last)
        # A model of one file is signed as ".": its name is not signed.
        if path == "." and len(present - own) == 1:
            path = next(iter(present - own))
        signed[path] = max(signed.get(path, 0), end or 0)
        if path not in present:
            differs.append(f"missing: {path}")
        elif _digest(files, path, resource.digest.algorithm, start, end) != (
            resource.digest.digest_hex
        ):
            differs.append(f"changed: {path}")
    for path, end in signed.items():
        if sharded and path in present:
            with files.source(path) as source:
                if source.size > end:
                    differs.append(f"longer than signed: {path}")
    ignored = {
        PurePosixPath(str(path)) for path in manifest.serialization_type.get("ignore_paths", ())
    }
    for path in sorted(present - set(signed) - own):
        left_out = path in _GIT or (
            is_passive(path) and bool({PurePosixPath(path), *PurePosixPath(path).parents} & ignored)
        )
        if not left_out:
            differs.append(f"added: {path}")
    return sorted(set(differs))


def verify_signature(
    raw: bytes, files: SignedFiles, trust: Trust, *, own: frozenset[str], target: str | None = None
) -> Verification:
    """Verify one signature against the files it should cover.

    Args:
        raw: The bundle, JSON.
        files: The model.
        trust: The trusted signers.
        own: Paths of signature files, which no signature covers.
        target: For a bundle over one file: that file.
    """
    try:
        bundle = orjson.loads(raw)
        material = bundle["verificationMaterial"]
        kinds = set(material)
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return Verification(status=Status.FAIL, detail="not a signature bundle")
    if "publicKey" in kinds:
        return _first(
            [(partial(_by_key, raw, pem), "the trusted key") for pem in trust.keys],
            files,
            own,
            "signed with a key, and no key is trusted",
        )
    if "x509CertificateChain" in kinds and not material.get("tlogEntries"):
        authorities = trust.certificates
        checks: list[tuple[Callable[[], Any], str]] = [
            (partial(_by_certificate, raw, authorities), "a certificate of a trusted authority")
        ]
        return _first(
            checks if authorities else [],
            files,
            own,
            "signed with a certificate, and no authority is trusted",
        )
    if "messageSignature" in bundle:
        return _artifact(raw, files, trust, target)
    return _first(
        [(partial(_by_sigstore, raw, who, trust.trusted_root), who[0]) for who in trust.identities],
        files,
        own,
        "signed with Sigstore, and no identity is trusted",
    )


def _first(
    attempts: list[tuple[Callable[[], Any], str]],
    files: SignedFiles,
    own: frozenset[str],
    nobody: str,
) -> Verification:
    if not attempts:
        return Verification(status=Status.WARN, detail=nobody)
    reason = ""
    for verify, signer in attempts:
        try:
            # model_signing prints warnings to stdout, which programs parse.
            with contextlib.redirect_stdout(io.StringIO()):
                manifest = verify()
        except Exception as error:  # noqa: BLE001 -- whatever a verifier raises, it did not verify
            reason = f"{type(error).__name__}: {str(error)[:200]}"
            continue
        try:
            differs = _compare(manifest, files, own)
        except ValueError as error:
            return Verification(status=Status.FAIL, detail=str(error)[:300], signer=signer)
        if differs:
            shown = "; ".join(differs[:_SHOWN])
            more = f" and {len(differs) - _SHOWN} more" if len(differs) > _SHOWN else ""
            return Verification(
                status=Status.FAIL, detail=f"not as signed: {shown[:1000]}{more}", signer=signer
            )
        return Verification(
            status=Status.PASS,
            detail=f"signed by {signer}",
            signer=signer,
            covered=files.paths(),
        )
    return Verification(status=Status.FAIL, detail=f"does not verify: {reason}")


def _by_key(raw: bytes, pem: str) -> Any:  # noqa: ANN401 -- the library is untyped
    from model_signing._signing import sign_ec_key, sign_sigstore_pb  # noqa: PLC0415 -- slow import

    with tempfile.TemporaryDirectory() as folder:
        key, bundle = Path(folder, "key.pem"), Path(folder, "bundle.json")
        key.write_text(pem)
        bundle.write_bytes(raw)
        return sign_ec_key.Verifier(key).verify(sign_sigstore_pb.Signature.read(bundle))


def _by_certificate(raw: bytes, authorities: tuple[str, ...]) -> Any:  # noqa: ANN401 -- untyped
    from model_signing._signing import (  # noqa: PLC0415 -- slow import
        sign_certificate,
        sign_sigstore_pb,
    )

    with tempfile.TemporaryDirectory() as folder:
        bundle, chain = Path(folder, "bundle.json"), Path(folder, "authorities.pem")
        bundle.write_bytes(raw)
        chain.write_text("\n".join(authorities) + "\n")
        return sign_certificate.Verifier([chain]).verify(sign_sigstore_pb.Signature.read(bundle))


def _by_sigstore(raw: bytes, who: tuple[str, str], root: Path | None) -> Any:  # noqa: ANN401
    from model_signing._signing import signing  # noqa: PLC0415 -- slow import
    from sigstore.models import Bundle  # noqa: PLC0415 -- slow import
    from sigstore.verify import Verifier, policy  # noqa: PLC0415 -- slow import

    identity, issuer = who
    kind, payload = Verifier(trusted_root=pinned_trusted_root(root)).verify_dsse(
        Bundle.from_json(raw), policy.Identity(identity=identity, issuer=issuer or None)
    )
    if kind != "application/vnd.in-toto+json":
        raise ValueError(f"the signature is over {kind[:60]!r}, not over a manifest")
    return signing.dsse_payload_to_manifest(orjson.loads(payload))


def _artifact(raw: bytes, files: SignedFiles, trust: Trust, target: str | None) -> Verification:
    """Verify a Sigstore bundle over one file."""
    if not trust.identities:
        return Verification(
            status=Status.WARN, detail="signed with Sigstore, and no identity is trusted"
        )
    if target is None or target not in files.paths():
        return Verification(status=Status.FAIL, detail="the signed file is missing")
    from sigstore.hashes import Hashed  # noqa: PLC0415 -- slow import
    from sigstore.models import Bundle  # noqa: PLC0415 -- slow import
    from sigstore.verify import Verifier, policy  # noqa: PLC0415 -- slow import
    from sigstore_models.common.v1 import HashAlgorithm  # noqa: PLC0415 -- slow import

    reason = ""
    for identity, issuer in trust.identities:
        try:
            Verifier(trusted_root=pinned_trusted_root(trust.trusted_root)).verify_artifact(
                Hashed(
                    algorithm=HashAlgorithm.SHA2_256, digest=bytes.fromhex(files.sha256(target))
                ),
                Bundle.from_json(raw),
                policy.Identity(identity=identity, issuer=issuer or None),
            )
        except Exception as error:  # noqa: BLE001 -- whatever a verifier raises, it did not verify
            reason = f"{type(error).__name__}: {str(error)[:200]}"
            continue
        return Verification(
            status=Status.PASS, detail=f"signed by {identity}", signer=identity, covered=(target,)
        )
    return Verification(status=Status.FAIL, detail=f"does not verify: {reason}")


def signature_outcome(name: str, path: str, result: Verification) -> Outcome:
    """Return the check of a signature, and the finding of an invalid one."""
    check = Check(name=name, status=result.status, detail=result.detail)
    if result.status is not Status.FAIL:
        return Outcome(checks=(check,))
    return Outcome(
        checks=(check,),
        detections=(
            Detection(
                rule_id="TW-PROV-SIGNATURE-INVALID",
                description=f"the signature {path[:200]} does not hold: {result.detail[:300]}",
                evidence={"file": path, "detail": result.detail[:1000]},
                locator=f"{path}#signature",
            ),
        ),
    )
