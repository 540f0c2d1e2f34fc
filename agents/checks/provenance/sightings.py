"""Sightings of a push for the component ledger: the model, its files, publisher and parents."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from typing import Final

import msgspec

from agents.checks.artifacts.formats.names import is_passive, suffix_of
from agents.checks.provenance.attested import Attested
from agents.checks.provenance.file_checks import is_signature, plain_path, sha256_of
from agents.checks.provenance.subject import PushSubject
from agents.domain.roles import role_of
from schemas.canonical import stable_id
from schemas.components import component_key, digest_of_files
from schemas.events import PushAction, RegistryPush
from schemas.observations import Sighting, SightingKind
from schemas.policy import Policy
from schemas.severity import ExposureLevel

MAX_SIGHTINGS: Final = 2000
"""Sightings of one event; weights and code come first, descriptions last."""
MAX_PARTS: Final = 4
"""Most files whose digests identify a version; more shards are identified by the digest of all."""
_KINDS: Final[dict[str, SightingKind]] = {
    PushAction.PUSH: SightingKind.PUSHED,
    PushAction.PROMOTE: SightingKind.PUSHED,
    PushAction.TAG: SightingKind.PUSHED,
    PushAction.PULL: SightingKind.PULLED,
    PushAction.DELETE: SightingKind.DELETED,
    PushAction.MOVE: SightingKind.MOVED,
}


class PushSightings(msgspec.Struct, frozen=True, kw_only=True):
    """The sightings of a push, and the number omitted by the limit."""

    sightings: tuple[Sighting, ...]
    left_out: int = 0


def sightings_of(
    subject: PushSubject,
    digests: Mapping[str, str],
    *,
    complete: bool,
    signed: bool | None = None,
    computed: Collection[str] = (),
    listed: bool = False,
    bound: bool = False,
    attested: Attested | None = None,
    found: Collection[str] = (),
) -> PushSightings:
    """Return the sightings of a push, one set for each system it names.

    Args:
        subject: The push.
        digests: Path to SHA-256 of the files whose digest is known.
        complete: Every file's digest is known, so that the model's own digest can be computed.
        signed: Whether a signature was verified; None where it was not.
        computed: The paths whose digest Tidewatch computed from the bytes; the event declares the
            others.
        listed: The files are those of a manifest that was fetched by the push's own digest.
        bound: Whether they are public under the push's name and version, and the version is
            immutable.
        attested: Facts of the push that signatures establish.
        found: The paths in which a scan found something: they come before the other files.
    """
    attested = attested or Attested()
    push = subject.push
    registry = subject.registry or subject.event.source
    systems = tuple(dict.fromkeys(push.systems)) or (f"registry:{registry}",)
    base = _base(subject, registry, systems[0], signed=signed)
    # Content that an OCI registry addresses by digest has that digest, even if layers are unknown.
    pinned = subject.pinned
    whole = pinned or (digest_of_files(digests) if complete and digests else None)
    # The digest of a tree proves its files: by the listing, or the manifest.
    has_tree = whole is not None and (listed if pinned else len(digests) > 1)
    tree = component_key("tree", whole) if whole is not None and has_tree else ""
    # A registry may serve other bytes than those that its manifest names.
    named = {plain_path(file.path): sha256_of(file.digests) for file in push.files}
    in_tree = frozenset(
        path for path, digest in digests.items() if not pinned or named.get(path) == digest
    )
    files = _files(digests, frozenset(found))
    total = len(systems) * (
        1
        + (subject.publisher is not None)
        + bool(tree)
        + len(files)
        + len(subject.parents)
        + len(attested.lineage)
    )
    sent = tuple(
        islice(
            _all(
                base,
                subject=subject,
                systems=systems,
                digests=digests,
                files=files,
                whole=whole,
                tree=tree,
                in_tree=in_tree,
                computed=frozenset(computed),
                bound=bound and whole is not None,
                attested=attested,
            ),
            MAX_SIGHTINGS,
        )
    )
    return PushSightings(sightings=sent, left_out=max(total - len(sent), 0))


def _files(digests: Mapping[str, str], found: frozenset[str]) -> dict[tuple[str, str], str]:
    """Return a path for each digest and role, in the order in which they are reported.

    The same bytes under two names may be harmless in the one role and hostile in the other.
    """
    files: dict[tuple[str, str], str] = {}
    for path in sorted(digests, key=lambda path: (path not in found, is_passive(path), path)):
        files.setdefault((digests[path], role_of(path)), path)
    return files


def _base(subject: PushSubject, registry: str, system: str, *, signed: bool | None) -> Sighting:
    """Return the common fields of all sightings of the push."""
    event, push = subject.event, subject.push
    return Sighting(
        id="",
        component=subject.component,
        tenant=event.tenantid,
        system=system,
        event_id=event.id,
        source=event.source,
        occurred_at=event.time,
        kind=_KINDS.get(push.action, SightingKind.SEEN),
        version=subject.version,
        tag=push.tag,
        publisher=subject.publisher,
        publisher_id=push.publisher.id,
        account=push.publisher.account,
        auth=push.publisher.auth if push.publisher.auth != "unknown" else None,
        mfa=push.publisher.mfa,
        origin=registry,
        exposure=subject.exposure,
        identities=push.identities,
        signed=signed,
        has_signature=_has_signature(push),
        appended=event.position,
    )


def _has_signature(push: RegistryPush) -> bool | None:
    if not push.files and not push.signatures:
        return None
    return bool(push.signatures) or any(is_signature(file.path) for file in push.files)


def _all(
    base: Sighting,
    *,
    subject: PushSubject,
    systems: tuple[str, ...],
    digests: Mapping[str, str],
    files: Mapping[tuple[str, str], str],
    whole: str | None,
    tree: str,
    in_tree: frozenset[str],
    computed: frozenset[str],
    bound: bool,
    attested: Attested,
) -> Iterator[Sighting]:
    push, policy, publisher = subject.push, subject.policy, subject.publisher
    paths = [file.path for file in push.files] or list(digests)
    formats = tuple(sorted({suffix_of(path).lstrip(".") for path in paths} - {""}))[:32]
    named = {digest: path for path, digest in sorted(digests.items()) if not is_passive(path)}
    parts = tuple(sorted(named)) if len(named) <= MAX_PARTS else ()
    model = msgspec.structs.replace(
        base,
        digest=whole,
        made_from=subject.parents,
        formats=formats,
        parts=parts,
        part_names=tuple(named[digest] for digest in parts),
        verified=bool(digests) and computed.issuperset(digests) and subject.pinned is None,
        bound=bound,
    )
    for system in systems:
        yield _placed(model, system, policy)
        if tree:
            held = msgspec.structs.replace(
                model,
                component=tree,
                name=base.component,
                parts=(),
                part_names=(),
                bound_by=attested.bound_by,
            )
            yield _placed(held, system, policy)
        for materials, by in attested.lineage.items():
            signed = msgspec.structs.replace(
                model, made_from=materials, attested=by, bound_by=attested.bound_by
            )
            yield _placed(signed, system, policy)
    for parent in subject.parents:
        # A push that names a base model involves it, even if the model itself was never seen.
        mentioned = _named(base, parent)
        for system in systems:
            yield _placed(mentioned, system, policy)
    if publisher:
        by_publisher = msgspec.structs.replace(base, component=publisher, name=base.component)
        for system in systems:
            yield _placed(by_publisher, system, policy)
    first: set[str] = set()
    for (digest, role), path in files.items():
        again = digest in first
        first.add(digest)
        file = msgspec.structs.replace(
            base,
            component=component_key("sha256", digest),
            name=base.component,
            digest=digest,
            filename=path,
            tree=tree if path in in_tree else "",
            verified=path in computed,
            bound=bound and digest == whole,
            bound_by=attested.bound_by if digest == whole else (),
            formats=(suffix_of(path).lstrip("."),) if suffix_of(path) else (),
        )
        for system in systems:
            yield _placed(file, system, policy, f"/{role}" if again else "")


def _named(base: Sighting, parent: str) -> Sighting:
    """Return the sighting of a parent that a push names, without the push's own claims."""
    return msgspec.structs.replace(
        base,
        component=parent,
        kind=SightingKind.NAMED,
        version=None,
        tag=None,
        publisher=None,
        publisher_id=None,
        account=None,
        auth=None,
        mfa=None,
        exposure=ExposureLevel.STAGED,
        signed=None,
        has_signature=None,
    )


def _placed(sighting: Sighting, system: str, policy: Policy, role: str = "") -> Sighting:
    return msgspec.structs.replace(
        sighting,
        id=stable_id(
            "obs",
            sighting.tenant,
            sighting.source,
            sighting.event_id,
            sighting.component,
            system,
            sighting.digest or "",
            *(name for basis in sighting.attested for name in basis.by),
            *([role] if role else []),
        ),
        system=system,
        criticality=policy.criticality.get(system),
    )
