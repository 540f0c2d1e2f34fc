"""A tenant's policy: what it trusts, what it owns, what may be automatic."""

from __future__ import annotations

import msgspec

from schemas.findings import Confidence


class Trusted(msgspec.Struct, frozen=True, kw_only=True):
    """The allowed origins; an empty list sets no limit."""

    data_hosts: tuple[str, ...] = ()
    publishers: tuple[str, ...] = ()
    registries: tuple[str, ...] = ()
    indexes: tuple[str, ...] = ()


class Internal(msgspec.Struct, frozen=True, kw_only=True):
    """The tenant's own names and where they may come from."""

    prefixes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    indexes: tuple[str, ...] = ()
    registries: tuple[str, ...] = ()
    """Registries whose component names are private to this tenant."""


class Suppression(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A rule, digest or path not to be reported, with a reason and an expiry."""

    reason: str
    expires: str
    rule_id: str | None = None
    digest: str | None = None
    path: str | None = None


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """One tenant's policy record."""

    tenant: str
    version: int = 1
    trusted: Trusted = Trusted()
    internal: Internal = Internal()
    roots: tuple[str, ...] = ()
    """URI prefixes that this tenant's events may have fetched."""
    credentials: str | None = None
    """A reference, never a value."""
    automatic: tuple[str, ...] = ()
    """Containment actions that need no approval."""
    advised: tuple[str, ...] = ()
    """Containment actions that are only advised."""
    dry_run: bool = True
    criticality: dict[str, Confidence] = {}
    evidence: dict[str, tuple[str, ...]] = {}
    """System: paths of logs, caches and configurations to capture."""
    blocked_sources: tuple[str, ...] = ()
    required_checks: tuple[str, ...] = ()
    """What must have passed before an incident closes by itself; `entry_point`: the way in is shut.
    `signature` also makes the absence of one a failure. The name of a check (`hash`: every
    `hash_…`) is passed when what replaced the component passed it, any name by an evaluation."""
    signing_keys: tuple[str, ...] = ()
    """PEM public keys, or references to them, that models must be signed with."""
    suppressions: tuple[Suppression, ...] = ()
    advice: bool = True
    """Whether to be told what rests on other organisations' claims alone."""


def default_policy(tenant: str) -> Policy:
    """Return the default policy: it trusts no one by name and automates nothing."""
    return Policy(tenant=tenant)
