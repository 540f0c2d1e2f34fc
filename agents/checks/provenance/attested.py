"""Establishes facts of a push by signatures under trust roots: version, lineage, publisher."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final

import msgspec

from agents.checks.provenance.file_checks import is_signature
from agents.checks.provenance.signatures import SignedFiles, Trust, trust_of, verify_signature
from agents.checks.provenance.statements import (
    Statement,
    Subject,
    is_provenance,
    verify_statement,
)
from agents.domain.detection import Detection
from agents.domain.trust_roots import AuthorisedRoot
from agents.fetching.errors import FetchError
from schemas.basis import Basis
from schemas.severity import Status

BUNDLES: Final = 8
"""Most signatures of one push that are verified under trust roots."""
BUNDLE_BYTES: Final = 4 << 20
_TARGET: Final = re.compile(r"\.(sigstore\.json|sigstore|sig)$", re.IGNORECASE)


class Pushed(msgspec.Struct, frozen=True, kw_only=True):
    """The claims of a push, to compare a statement with."""

    component: str
    version: str | None
    digests: Mapping[str, str]
    """Path to SHA-256 of its files."""
    whole: str | None
    """The digest of all of them together."""
    pinned: bool = False
    """Whether that digest is a manifest's, which may name other files."""


class Attested(msgspec.Struct, frozen=True, kw_only=True):
    """The established facts, and their trust roots."""

    lineage: Mapping[tuple[str, ...], tuple[Basis, ...]] = {}
    """By parent: the signers who attest that the whole was made from it."""
    bound_by: tuple[Basis, ...] = ()
    """The signers who attest that the version has its digest."""
    signed: Mapping[str, tuple[tuple[AuthorisedRoot, Basis], ...]] = {}
    """By SHA-256: the signers of a file with these bytes."""


class _Said(msgspec.Struct, frozen=True, kw_only=True):
    """The facts that one signature attests under one trust root."""

    identity: str
    covered: frozenset[str]
    """SHA-256 of the files that were signed."""
    materials: tuple[str, ...] = ()
    binds: bool = False


def attest(
    pushed: Pushed,
    files: SignedFiles,
    bundles: Mapping[str, bytes],
    signers: Collection[AuthorisedRoot],
) -> Attested:
    """Return what the signatures of a push attest.

    A signature covers only the component in the namespace that its trust root is authorised for,
    not other components with the same bytes.

    Args:
        pushed: The claims of the push.
        files: Its files.
        bundles: Its signatures, by name.
        signers: The trust roots authorised for its component.
    """
    lineage: dict[tuple[str, ...], list[Basis]] = {}
    bound: list[Basis] = []
    signed: dict[str, list[tuple[AuthorisedRoot, Basis]]] = {}
    for signer, said in _all(pushed, files, bundles, signers):
        basis = signer.basis(said.identity)
        for digest in said.covered:
            signed.setdefault(digest, []).append((signer, basis))
        if said.materials:
            lineage.setdefault(said.materials, []).append(basis)
        if said.binds:
            bound.append(basis)
    return Attested(
        lineage={materials: tuple(dict.fromkeys(by)) for materials, by in lineage.items()},
        bound_by=tuple(dict.fromkeys(bound)),
        signed={digest: tuple(by) for digest, by in signed.items()},
    )


def _all(
    pushed: Pushed,
    files: SignedFiles,
    bundles: Mapping[str, bytes],
    signers: Collection[AuthorisedRoot],
) -> Iterator[tuple[AuthorisedRoot, _Said]]:
    # Each is read once for each trust root, so very large ones are skipped.
    chosen = [item for item in sorted(bundles.items()) if len(item[1]) <= BUNDLE_BYTES][:BUNDLES]
    # Several tenants may trust one signer: each signature is verified once for all of them.
    for text in dict.fromkeys(signer.signer for signer in signers):
        trust = trust_of((text,))
        for name, raw in chosen if trust else ():
            said = _said(pushed, files, name, raw, trust)
            if said is not None:
                yield from ((signer, said) for signer in signers if signer.signer == text)


def _said(pushed: Pushed, files: SignedFiles, name: str, raw: bytes, trust: Trust) -> _Said | None:
    if is_provenance(raw):
        try:
            found = verify_statement(raw, trust)
        except ValueError:
            return None
        return _of_statement(pushed, found.identity, found.statement)
    own = frozenset(path for path in files.paths() if is_signature(path))
    try:
        result = verify_signature(raw, files, trust, own=own, target=_TARGET.sub("", name) or None)
    except FetchError:
        return None
    if result.status is not Status.PASS:
        return None
    covered = {pushed.digests[path] for path in result.covered if path in pushed.digests}
    return _Said(identity=result.signer or "", covered=frozenset(covered))


def _of_statement(pushed: Pushed, identity: str, statement: Statement) -> _Said | None:
    spoken = {subject.digest for subject in statement.subjects}
    covered = spoken.intersection(pushed.digests.values())
    # The digest of a tree proves its files; for a manifest, its bytes do.
    of_whole = pushed.whole in spoken or (bool(covered) and not pushed.pinned)
    if not of_whole:
        return None
    return _Said(
        identity=identity,
        covered=frozenset(covered),
        materials=statement.materials if pushed.whole is not None else (),
        binds=any(_binds(pushed, subject) for subject in statement.subjects),
    )


def _binds(pushed: Pushed, subject: Subject) -> bool:
    return (
        pushed.version is not None
        and (subject.key, subject.version) == (pushed.component, pushed.version)
        and subject.digest == pushed.whole
    )


def with_publisher(
    detection: Detection, attested: Attested, publishers: Iterable[AuthorisedRoot]
) -> Detection:
    """Return a detection with the authorised signers of its file's publisher.

    Args:
        detection: A scan's finding in a file.
        attested: Facts of the push that signatures establish.
        publishers: The trust roots authorised for its publisher.
    """
    may = tuple(publishers)
    digest = str(detection.evidence.get("sha256", ""))
    by = [
        # It rests on the authorisation for the component and on that for the publisher.
        msgspec.structs.replace(basis, roots=tuple(sorted({*basis.roots, publisher.root})))
        for signer, basis in attested.signed.get(digest, ())
        for publisher in may
        if signer.is_same(publisher)
    ]
    return msgspec.structs.replace(detection, publisher_attested=tuple(dict.fromkeys(by)))
