"""The identity of a push: its component and publisher keys, and its actual origin."""

from __future__ import annotations

import contextlib
import re
from pathlib import PurePosixPath
from typing import Final

import msgspec
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    parse_sdist_filename,
    parse_wheel_filename,
)

from agents.domain.component_keys import event_key, named_key, own_key
from schemas.components import (
    InvalidComponentError,
    component_key,
    is_sha256,
    split_key,
    tenant_scoped,
)
from schemas.events import ArtifactKind, Event, PushAction, RegistryPush
from schemas.policy import Policy
from schemas.severity import ExposureLevel

REGISTRY_ALIASES: Final = {
    "hf": "huggingface",
    "hf.co": "huggingface",
    "huggingface.co": "huggingface",
    "www.huggingface.co": "huggingface",
}
CASE_BLIND_REGISTRIES: Final = frozenset({"huggingface"})
"""Registries whose repository names are case-insensitive."""
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_SEGMENT: Final = re.compile(r"[^\s/@\\%?#\x00-\x1f\x7f]+")
_KINDS: Final[dict[str, str]] = {
    ArtifactKind.MODEL: "model",
    ArtifactKind.ADAPTER: "model",
    ArtifactKind.TOKENIZER: "model",
    ArtifactKind.DATASET: "dataset",
    ArtifactKind.IMAGE: "image",
}
_PRODUCTION: Final = frozenset({"production", "prod", "serving", "champion", "live"})


class PushOrigin(msgspec.Struct, frozen=True, kw_only=True):
    """A registry, a repository of one or more segments, and a revision."""

    registry: str
    repository: str
    revision: str | None = None

    def text(self) -> str:
        """Return it as `registry/repository[@revision]`."""
        place = f"{self.registry}/{self.repository}"
        return f"{place}@{self.revision}" if self.revision else place


def registry_name(name: str) -> str:
    """Return a registry's name in canonical form, in lower case: an address as its host and path.

    Without scheme, account, default port and trailing dot or slash: however a producer writes the
    address of a tenant's own registry, its names are private, and no credential is part of a key.
    """
    bare = _SCHEME.sub("", name.strip(), count=1).rstrip("/").lower()
    host, slash, path = bare.partition("/")
    named = host if host.startswith("@") else host.rpartition("@")[2]
    while named.endswith((".", ":443")):
        named = named.rstrip(".").removesuffix(":443")
    bare = f"{named or host}{slash}{path}"
    return REGISTRY_ALIASES.get(bare, bare)


def parse_origin(text: str) -> PushOrigin | None:
    """Return the origin that `registry/organisation/name[@revision]` names, or None.

    Deliberately strict: dot segments, percent signs, backslashes and white space are refused, so
    that a string has one interpretation.
    """
    scheme = _SCHEME.match(text)
    bare = text[scheme.end() :] if scheme else text
    if scheme and scheme.group().lower() == "hf://":
        bare = f"huggingface/{bare}"
    place, _, revision = bare.partition("@")
    segments = place.removesuffix("/").split("/")
    if len(segments) < 2 or any(  # noqa: PLR2004 -- a registry and a repository
        segment in {".", ".."} or not _SEGMENT.fullmatch(segment) for segment in segments
    ):
        return None
    if "@" in bare and not _SEGMENT.fullmatch(revision.replace("/", "-")):
        return None
    registry = registry_name(segments[0])
    repository = "/".join(segments[1:])
    if registry in CASE_BLIND_REGISTRIES:
        repository = repository.lower()
    return PushOrigin(registry=registry, repository=repository, revision=revision or None)


def push_origin(push: RegistryPush) -> PushOrigin | None:
    """Return the actual origin of a push as reported by the registry, if any."""
    if not push.registry or not push.repository:
        return None
    return parse_origin(
        f"{registry_name(push.registry)}/{push.repository}"
        + (f"@{push.revision}" if push.revision else "")
    )


def same_origin(expected: PushOrigin, actual: PushOrigin, *, tag: str | None = None) -> bool:
    """Return whether the actual origin is the expected one.

    Args:
        expected: Its revision counts only if present; it may be the name of the tag.
        actual: The actual origin of the component.
        tag: The mutable name that pointed at the actual revision.
    """
    if (expected.registry, expected.repository) != (actual.registry, actual.repository):
        return False
    return expected.revision is None or expected.revision in {actual.revision, tag}


def _is_internal(registry: str | None, policy: Policy) -> bool:
    own = {registry_name(name) for name in policy.internal.registries}
    return registry is not None and registry_name(registry) in own


def distribution_name(push: RegistryPush) -> str | None:
    """Return the project of a pushed Python distribution, None for any other push.

    Its file has the name; without files, the repository's last part is the project's name.
    """
    if push.kind != ArtifactKind.PACKAGE or push.ecosystem != "pypi":
        return None
    for file in push.files:
        name = PurePosixPath(file.path).name
        with contextlib.suppress(InvalidWheelFilename):
            return parse_wheel_filename(name)[0]
        with contextlib.suppress(InvalidSdistFilename):
            return parse_sdist_filename(name)[0]
    return (push.repository or "").rstrip("/").rpartition("/")[2] or None


def push_component(event: Event[RegistryPush], policy: Policy) -> str:
    """Return the component key of a push; of an internal registry, the tenant's own key."""
    push = event.data
    if project := distribution_name(push):
        make = own_key if _is_internal(push.registry, policy) else event_key
        return make("pypi", project, event.tenantid)
    prefix = _KINDS.get(push.kind, "model")
    if push.registry and push.repository:
        name = f"{registry_name(push.registry)}/{push.repository.strip('/')}"
        make = own_key if _is_internal(push.registry, policy) else event_key
        return make(prefix, name, event.tenantid)
    try:
        return named_key(event.subject, event.tenantid)
    except InvalidComponentError:
        # A subject that is not a component key is private to its tenant.
        return tenant_scoped(component_key(prefix, event.subject), event.tenantid)


def reference_component(name: str, registry: str | None, prefix: str, tenant: str) -> str | None:
    """Return the key of a model or dataset that a card names, or None for an unreadable name.

    Args:
        name: `organisation/name`, a component key, or a path with its registry.
        registry: The registry of the card, for a bare name.
        prefix: model or dataset.
        tenant: The card's tenant.
    """
    bare = name.strip()
    if not bare or not bare.isprintable():
        return None
    try:
        return named_key(bare, tenant)
    except InvalidComponentError:
        pass
    place = registry_name(registry) if registry else "huggingface"
    return event_key(prefix, f"{place}/{bare.strip('/')}", tenant)


def push_publisher(event: Event[RegistryPush], policy: Policy) -> str | None:
    """Return the component key of the publisher, or None if the event has none."""
    push = event.data
    name = push.publisher.name
    if not name or not name.strip():
        return None
    registry = registry_name(push.registry) if push.registry else "unknown"
    make = own_key if _is_internal(push.registry, policy) else event_key
    return make("publisher", f"{registry}/{name}", event.tenantid)


def pinned_digest(push: RegistryPush) -> str | None:
    """Return the digest in a revision (`sha256:…`, of an OCI manifest), or None."""
    bare = (push.revision or "").removeprefix("sha256:")
    return bare if bare != push.revision and is_sha256(bare) else None


def push_version(push: RegistryPush) -> str | None:
    """Return the revision of a push, or its tag if it has no revision."""
    return push.revision or push.tag


def push_exposure(push: RegistryPush) -> ExposureLevel:
    """Return the exposure of a push: staged, delivered or serving.

    A push without systems is only in its registry; a promotion to production is serving.
    """
    if push.action == PushAction.PROMOTE and (push.tag or "").lower() in _PRODUCTION:
        return ExposureLevel.SERVING
    if push.action in {PushAction.PULL, PushAction.PROMOTE} or (
        push.systems and push.action != PushAction.DELETE
    ):
        return ExposureLevel.DELIVERED
    return ExposureLevel.STAGED


def bare_name(key: str) -> str:
    """Return the name part of a component key."""
    return split_key(key)[1]
