"""A tenant's policy: its trust, its own names, its automatic actions."""

from __future__ import annotations

import msgspec

from schemas.findings import Confidence


class Trusted(msgspec.Struct, frozen=True, kw_only=True):
    """The allowed origins; an empty list sets no limit."""

    data_hosts: tuple[str, ...] = ()
    """Hosts or buckets that a pipeline may read data from, `*.name` for all below one, or the
    beginning of a URL."""
    publishers: tuple[str, ...] = ()
    """Publishers whose pushes are expected, as `publisher:<registry>/<name>`."""
    registries: tuple[str, ...] = ()
    """Registries that models may come from, as events name them."""
    indexes: tuple[str, ...] = ()
    """Package indexes that installs may use, by their `simple` URL."""


class Internal(msgspec.Struct, frozen=True, kw_only=True):
    """The tenant's own names and where they may come from."""

    prefixes: tuple[str, ...] = ()
    """Beginnings of the names of the tenant's own packages: elsewhere they are confusion."""
    names: tuple[str, ...] = ()
    """Names of the tenant's own packages that have no such beginning."""
    indexes: tuple[str, ...] = ()
    """Where the tenant's own packages come from, by their `simple` URL."""
    registries: tuple[str, ...] = ()
    """Registries whose component names are private to this tenant."""


class Suppression(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A rule, digest or path not to be reported, with a reason and an expiry."""

    reason: str
    """Why it is harmless, for later readers."""
    expires: str
    """The last day on which it holds, YYYY-MM-DD."""
    rule_id: str | None = None
    """Only findings of this rule."""
    digest: str | None = None
    """Only findings on bytes with this SHA-256."""
    path: str | None = None
    """Only findings in this file of a push or scan."""


class TrustRoot(msgspec.Struct, frozen=True, kw_only=True):
    """A signer, and what its signatures may establish."""

    signer: str = ""
    """A PEM public key, a PEM certificate of an authority, `sigstore:IDENTITY ISSUER`, or for
    attestations of packages the publisher that they prove: `publisher:github/acme/project`."""
    namespaces: tuple[str, ...] = ()
    """Keys of the components and publishers that it is authorised for; a final `*` matches
    everything below, as in `model:huggingface/acme/*`."""


def is_signer(text: str) -> bool:
    """Return whether a text names a signer as a trust root does."""
    return text.strip().startswith(("sigstore:", "publisher:")) or any(
        f"-----BEGIN {kind}-----" in text for kind in ("PUBLIC KEY", "CERTIFICATE")
    )


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """One tenant's policy record."""

    tenant: str
    """The tenant; also the key of its record."""
    version: int = 1
    """Counts the tenant's changes; informational."""
    trusted: Trusted = Trusted()
    internal: Internal = Internal()
    roots: tuple[str, ...] = ()
    """URI prefixes that this tenant's events may have fetched."""
    credentials: str | None = None
    """The table of the operator's credentials that fetches use: a name, never a secret."""
    automatic: tuple[str, ...] = ()
    """Containment actions that need no approval."""
    advised: tuple[str, ...] = ()
    """Containment actions that are only advised."""
    dry_run: bool = True
    """Whether responders only report what they would do."""
    criticality: dict[str, Confidence] = {}
    """System or deployment: how much it matters, 0 to 1; it raises the score."""
    evidence: dict[str, tuple[str, ...]] = {}
    """System: paths of logs, caches and configurations to capture."""
    blocked_sources: tuple[str, ...] = ()
    """What a pipeline must not use: component keys, `organisation/model`, hosts with all below
    them, beginnings of URLs, or SHA-256 of bytes."""
    required_checks: tuple[str, ...] = ()
    """Checks that must have passed before an incident closes automatically; `entry_point`: the
    entry point is closed. `signature` also makes the absence of one a failure. The name of a check
    (`hash`: every `hash_…`) is passed when what replaced the component passed it, any name by an
    evaluation. `evaluation:<name>` is not a check: only a person passes it."""
    signing_keys: tuple[str, ...] = ()
    """PEM public keys, or references to them, that models must be signed with."""
    trust_roots: tuple[TrustRoot, ...] = ()
    """Signers whose statements count as established for this tenant, each for the components that
    it is authorised for. Facts that rest on a signer end when it or its namespace is removed.
    """
    suppressions: tuple[Suppression, ...] = ()
    advice: bool = True
    """Whether to report advice, which rests on other organisations' claims alone."""
    baseline: bool = True
    """Whether events may be marked as a baseline, of which only known malice is alerted; false: a
    mark is ignored. Turn it off once the baseline is recorded."""


def default_policy(tenant: str) -> Policy:
    """Return the default policy: it trusts no one by name and automates nothing."""
    return Policy(tenant=tenant)
