"""PEP 740 attestations and sigstore bundles, verified offline against a pinned trust root."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec
import orjson
import pydantic
from cryptography import x509
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    parse_sdist_filename,
    parse_wheel_filename,
)
from pypi_attestations import Attestation, AttestationError, AttestationType
from sigstore.errors import Error as SigstoreError
from sigstore.hashes import Hashed
from sigstore.models import Bundle, InvalidBundle
from sigstore.verify import Verifier, policy
from sigstore_models.common.v1 import HashAlgorithm

from agents.checks.packages.seen import SeenPackage, SignedFile, detect
from agents.checks.provenance.signatures import trust_of
from agents.checks.provenance.trust_root import pinned_trusted_root
from agents.domain.check_names import CheckName
from agents.domain.detection import Detection
from agents.domain.knowledge import Knowledge
from agents.domain.trust_roots import AuthorisedRoot
from schemas.assessments import Check
from schemas.basis import Basis
from schemas.components import component_key
from schemas.errors import TidewatchError
from schemas.findings import Indicator, IndicatorType
from schemas.severity import Status

ATTESTATIONS_LIMIT: Final = 16
"""Attestations of one package that are verified."""
_STATEMENT: Final = "application/vnd.in-toto+json"
_ISSUER: Final = "1.3.6.1.4.1.57264.1.8"
_BUILD_SIGNER: Final = "1.3.6.1.4.1.57264.1.9"
_REPOSITORY: Final = "1.3.6.1.4.1.57264.1.12"
_FORGES: Final = {
    "https://github.com/": "github",
    "https://gitlab.com/": "gitlab",
}
_ISSUERS: Final = {
    "github": "https://token.actions.githubusercontent.com",
    "gitlab": "https://gitlab.com",
}
"""Issuers accepted for identities of a forge's repositories; others are refused."""
_CIRCLECI_ISSUER: Final = "https://oidc.circleci.com"
_CIRCLECI_PROJECT: Final = "https://circleci.com/api/v2/projects/"
_BLOCK: Final = 1024 * 1024


class UnverifiedDistributionError(TidewatchError):
    """A distribution whose signature or attestation does not verify."""


class UnfinishedVerificationError(UnverifiedDistributionError):
    """A distribution that can't be verified: it, its signature or the root is unreadable."""


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a verified signature of a distribution."""

    filename: str
    digest: str
    """SHA-256, hex."""
    publisher: str | None = None
    """Component key of the publisher: `publisher:github/owner/repository`."""
    predicate: str | None = None
    """The type of the attestation; None for a plain signature."""


class _AnySigner:
    """A policy that accepts any signer; the identity is read afterwards."""

    def verify(self, certificate: x509.Certificate) -> None:
        """Accept every certificate that chains to the trust root."""


@cache
def verifier(trusted_root: Path | None = None) -> Verifier:
    """Return a verifier on a pinned trust root.

    Args:
        trusted_root: The operator's `trusted_root.json`; default: bundled.

    Raises:
        UnfinishedVerificationError: the operator's file cannot be read or is not a trust root.
    """
    try:
        return Verifier(trusted_root=pinned_trusted_root(trusted_root))
    except (OSError, ValueError, SigstoreError) as error:
        raise UnfinishedVerificationError(
            f"no trust root to verify with: {str(error).partition(chr(10))[0][:200]}",
            where=str(trusted_root or "sigstore package"),
        ) from error


def _claims_publisher(attestation: Attestation) -> str | None:
    """Return who signed, from the certificate's own claims."""
    claims = attestation.certificate_claims
    repository = claims.get(_REPOSITORY, "")
    for prefix, forge in _FORGES.items():
        if repository.startswith(prefix) and claims.get(_ISSUER) == _ISSUERS.get(forge):
            return component_key("publisher", f"{forge}/{repository.removeprefix(prefix)}")
    signer = claims.get(_BUILD_SIGNER, "")
    if claims.get(_ISSUER) == _CIRCLECI_ISSUER and signer.startswith(_CIRCLECI_PROJECT):
        project = signer.removeprefix(_CIRCLECI_PROJECT).partition("/")[0]
        return component_key("publisher", f"circleci/{project}")
    return _mail_publisher(attestation)


def _mail_publisher(attestation: Attestation) -> str | None:
    certificate = x509.load_der_x509_certificate(attestation.verification_material.certificate)
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None
    mails = names.get_values_for_type(x509.RFC822Name)
    return component_key("publisher", f"mail/{mails[0]}") if mails else None


def _release(filename: str) -> tuple[str, str] | None:
    try:
        if filename.endswith(".whl"):
            wheel = parse_wheel_filename(filename)
            return str(wheel[0]), f"{wheel[1]}-{wheel[2]}-{sorted(map(str, wheel[3]))}"
        name, version = parse_sdist_filename(filename)
    except (InvalidWheelFilename, InvalidSdistFilename):
        return None
    return str(name), str(version)


def verify_attestation(
    document: dict[str, Any],
    filename: str,
    digest: str,
    *,
    expected: policy.VerificationPolicy | None = None,
    trusted_root: Path | None = None,
) -> Verified:
    """Verify a PEP 740 attestation object of a file, and return its publisher.

    Args:
        document: The attestation object.
        filename: The distribution's file name.
        digest: Its SHA-256, hex.
        expected: The required signer; anyone by default.
        trusted_root: The operator's `trusted_root.json`; default: bundled.

    Returns:
        The publisher its certificate names.

    Raises:
        UnverifiedDistributionError: malformed, not signed under the trust root, or about another
            file or digest.

    Source: PEP 740; in-toto Statement v1.
    """
    try:
        attestation = Attestation.model_validate(document)
        kind, payload = verifier(trusted_root).verify_dsse(
            attestation.to_bundle(), expected or _AnySigner()
        )
        publisher = _claims_publisher(attestation)
        statement = orjson.loads(payload)
    except (pydantic.ValidationError, AttestationError, SigstoreError, ValueError) as error:
        reason = str(error).partition("\n")[0][:200]
        raise UnverifiedDistributionError(
            f"the attestation does not verify: {reason}", where=filename
        ) from error
    subjects = statement.get("subject") if isinstance(statement, dict) else None
    if kind != _STATEMENT or not isinstance(subjects, list) or len(subjects) != 1:
        raise UnverifiedDistributionError("the attestation is not a statement about one file")
    # A valid signature does not imply a well-formed statement.
    subject = subjects[0] if isinstance(subjects[0], dict) else {}
    digests = subject.get("digest")
    named, shown = _release(str(subject.get("name"))), _release(filename)
    if named is None or named != shown:
        raise UnverifiedDistributionError(
            f"the attestation is about {str(subject.get('name'))[:200]}", where=filename
        )
    if not isinstance(digests, dict) or digests.get("sha256") != digest:
        raise UnverifiedDistributionError(
            "the attestation is about a file with another digest", where=filename
        )
    predicate = str(statement.get("predicateType"))
    if predicate not in {known_type.value for known_type in AttestationType}:
        raise UnverifiedDistributionError(
            f"unknown kind of attestation {predicate[:200]}", where=filename
        )
    return Verified(filename=filename, digest=digest, publisher=publisher, predicate=predicate)


def _declared(publisher: Any) -> str | None:  # noqa: ANN401 -- part of a producer's document
    """Return the publisher that an index claims to have verified, as a component key."""
    if not isinstance(publisher, dict):
        return None
    kind = str(publisher.get("kind", "")).lower()
    field = {"google": "email", "circleci": "project_id"}.get(kind, "repository")
    name = publisher.get(field)
    if not name:
        return None
    return component_key("publisher", f"{'mail' if kind == 'google' else kind}/{name}")


def attestation_objects(
    documents: Sequence[dict[str, Any]],
) -> list[tuple[dict[str, Any], str | None]]:
    """Return attestation objects, each with the publisher that its bundle declares.

    Args:
        documents: Provenance objects, attestation bundles, or bare attestations (PEP 740).
    """
    result: list[tuple[dict[str, Any], str | None]] = []
    for document in documents:
        bundles = document.get("attestation_bundles")
        if bundles is None:
            bundles = [document] if "attestations" in document else None
        if bundles is None:
            result.append((document, None))
            continue
        for bundle in bundles if isinstance(bundles, list) else [{}]:
            inner = bundle.get("attestations") if isinstance(bundle, dict) else None
            objects = inner if isinstance(inner, list) else [{}]
            declared = _declared(bundle.get("publisher")) if isinstance(bundle, dict) else None
            result.extend((item if isinstance(item, dict) else {}, declared) for item in objects)
    return result[: ATTESTATIONS_LIMIT + 1]


def _require_publisher(result: Verified, declared: str | None) -> None:
    if declared and declared.lower() != (result.publisher or "").lower():
        signer = result.publisher or "an unknown publisher"
        raise UnverifiedDistributionError(
            f"signed by {signer}, not by {declared}", where=result.filename
        )


def check_attestations(
    seen: Sequence[SeenPackage], knowledge: Knowledge
) -> tuple[Check, list[Detection], dict[int, SignedFile]]:
    """Return the check of the attestations that an event carries.

    Args:
        seen: The packages; those without attestations are skipped.
        knowledge: The trust roots and their authorisations.

    Returns:
        The check, the findings, and the signers of valid attestations, by index in `seen`.
    """
    found: list[Detection] = []
    signed: dict[int, SignedFile] = {}
    verified = unsure = 0
    for index, entry in enumerate(seen):
        package = entry.package
        if not package.attestations:
            continue
        filename = package.filename or (package.url or "").partition("#")[0].rpartition("/")[2]
        objects = attestation_objects(package.attestations)
        if not filename or entry.digest is None or len(objects) > ATTESTATIONS_LIMIT:
            unsure += 1
            continue
        publisher, by = None, set[Basis]()
        for document, declared in objects:
            try:
                result = verify_attestation(document, filename, entry.digest)
                _require_publisher(result, declared)
            except UnverifiedDistributionError as error:
                found.append(_failed(entry, filename, error))
                break
            verified += 1
            publisher = result.publisher or publisher
            by |= set(_trusted(result, document, knowledge.signers(entry.key)))
        else:
            order = sorted(by, key=lambda basis: (basis.tenant, basis.by, basis.roots))
            signed[index] = SignedFile(publisher, tuple(order))
    if found:
        check = Check(
            name=CheckName.ATTESTATIONS, status=Status.FAIL, detail=found[0].description[:300]
        )
    elif unsure:
        detail = f"{unsure} without the file name or digest to compare, or with too many"
        check = Check(name=CheckName.ATTESTATIONS, status=Status.INCOMPLETE, detail=detail)
    else:
        check = Check(
            name=CheckName.ATTESTATIONS, status=Status.PASS, detail=f"{verified} verified"
        )
    return check, found, signed


def _trusted(
    result: Verified, document: dict[str, Any], signers: Iterable[AuthorisedRoot]
) -> Iterator[Basis]:
    """Yield the bases of a verified attestation, by authorised trust roots."""
    for signer in signers:
        text = signer.signer.strip()
        if text.startswith("publisher:"):
            if result.publisher and text.lower() == result.publisher.lower():
                yield signer.basis(result.publisher)
            continue
        for identity, issuer in trust_of((text,)).identities:
            expected = policy.Identity(identity=identity, issuer=issuer or None)
            with contextlib.suppress(UnverifiedDistributionError):
                verify_attestation(document, result.filename, result.digest, expected=expected)
                yield signer.basis(identity)


def _failed(entry: SeenPackage, filename: str, error: UnverifiedDistributionError) -> Detection:
    digest = entry.digest or ""
    return detect(
        "TW-PKG-ATTESTATION",
        entry,
        f"{entry.name} {entry.package.version or ''}: {error.what}",
        {"filename": filename, "sha256": digest},
        indicator=Indicator(key=f"sha256:{digest}", type=IndicatorType.FILE_DIGEST, value=digest),
        locator=f"attestation:{entry.name}:{filename}",
    )


def verify_distribution(
    path: Path,
    identity: str,
    issuer: str,
    bundle: Path | bytes | None = None,
    *,
    trusted_root: Path | None = None,
) -> Verified:
    """Verify a sigstore-signed distribution offline, and return its identity.

    Args:
        path: The wheel or source distribution.
        identity: The required signer: the certificate's mail address or workflow URI.
        issuer: The required OpenID issuer of that identity, as a URL.
        bundle: The sigstore bundle or PEP 740 attestation, as a file or its bytes; None: the file
            beside the distribution named `<file>.sigstore.json`, `.sigstore`,
            `.publish.attestation` or `.provenance`.
        trusted_root: The operator's `trusted_root.json`; default: bundled.

    Returns:
        File name, digest and identity.

    Raises:
        UnfinishedVerificationError: a file or the trust root can't be read.
        UnverifiedDistributionError: no bundle, or it does not verify for this file and identity.
    """
    raw = _bundle_bytes(path, bundle)
    digest = _sha256(path)
    expected = policy.Identity(identity=identity, issuer=issuer)
    try:
        document = orjson.loads(raw)
        if not isinstance(document, dict):
            raise ValueError("it is not a JSON object")  # noqa: TRY004, TRY301 -- refused as all below
        if "mediaType" not in document:
            attestation = attestation_objects([document])[0][0]
        else:
            signed = Bundle.from_json(raw)
            if "dsseEnvelope" not in document:
                hashed = Hashed(digest=digest.digest(), algorithm=HashAlgorithm.SHA2_256)
                verifier(trusted_root).verify_artifact(hashed, signed, expected)
                return Verified(
                    filename=path.name,
                    digest=digest.hexdigest(),
                    publisher=component_key("publisher", f"sigstore/{identity}"),
                )
            attestation = orjson.loads(Attestation.from_bundle(signed).model_dump_json())
    except (
        pydantic.ValidationError,
        AttestationError,
        SigstoreError,
        InvalidBundle,
        ValueError,
        IndexError,
    ) as error:
        reason = str(error).partition("\n")[0][:300]
        raise UnverifiedDistributionError(
            f"the signature does not verify: {reason}",
            where=str(path),
            remedy="check --identity and --issuer; if they are right, do not install the file",
        ) from error
    return verify_attestation(
        attestation, path.name, digest.hexdigest(), expected=expected, trusted_root=trusted_root
    )


def _sha256(path: Path) -> hashlib._Hash:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        raise UnfinishedVerificationError(
            f"can't be read ({error.strerror})", where=str(path)
        ) from error
    return digest


def _bundle_bytes(path: Path, bundle: Path | bytes | None) -> bytes:
    if isinstance(bundle, bytes):
        return bundle
    names = (".sigstore.json", ".sigstore", ".publish.attestation", ".provenance")
    paths = [bundle] if bundle is not None else [Path(f"{path}{end}") for end in names]
    for candidate in paths:
        if candidate.is_file():
            try:
                return candidate.read_bytes()
            except OSError as error:
                raise UnfinishedVerificationError(
                    f"can't be read ({error.strerror})", where=str(candidate)
                ) from error
    raise UnverifiedDistributionError(
        "no sigstore bundle or attestation was found",
        where=str(candidate),
        remedy="name it with --signature, or put it beside the file as <file>.sigstore.json",
    )
