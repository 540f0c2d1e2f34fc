"""Who saw which component: the observations that checks send to the component ledger."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from schemas.basis import Basis, Position
from schemas.severity import ExposureLevel


class SightingKind(StrEnum):
    """What the system did with the component."""

    SEEN = "seen"
    INSTALLED = "installed"
    PUSHED = "pushed"
    PULLED = "pulled"
    USED = "used"
    """The input of a run."""
    MADE = "made"
    """The output of a run."""
    SERVED = "served"
    DELETED = "deleted"
    """From its registry."""
    MOVED = "moved"
    """From its registry."""
    CONFIG = "config"
    """A digest that is the baseline of a pipeline's configuration."""
    NAMED = "named"
    """A push names it as what its version was made from."""


class Sighting(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="sighting"):
    """One tenant's system saw one component in one event."""

    id: str
    component: str
    tenant: str
    system: str
    """The host, runner, registry or pipeline that had it."""
    event_id: str
    source: str
    occurred_at: datetime
    kind: SightingKind = SightingKind.SEEN
    """What the system did with it."""
    name: str | None = None
    """For a digest's key: the component it was seen as."""
    version: str | None = None
    tag: str | None = None
    """The mutable name (tag, branch, alias) that pointed at `version`."""
    digest: str | None = None
    """SHA-256, hex."""
    filename: str | None = None
    publisher: str | None = None
    publisher_id: str | None = None
    account: str | None = None
    """Of a push or pull: the account that published the version."""
    auth: str | None = None
    """How that account signed in: oidc, token or password; None: not known."""
    mfa: bool | None = None
    """Whether it used a second factor; None: not known."""
    origin: str | None = None
    """Its origin: registry, index or host."""
    made_from: tuple[str, ...] = ()
    """Component keys it was built from: `<key>@<version>` where the version is known,
    `<key>@sha256:<digest>` where the digest is and the version may be reused, and
    also `sha256:<digest>`, so that only what was actually used taints."""
    stage: str | None = None
    exposure: ExposureLevel = ExposureLevel.DELIVERED
    """staged, delivered, executed or serving."""
    criticality: float | None = None
    identities: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    signed: bool | None = None
    """Whether a signature was verified; None if it was not checked."""
    has_signature: bool | None = None
    """Whether there is one at all, verified or not; None if the event does not say."""
    parts: tuple[str, ...] = ()
    """SHA-256 of each file other than descriptions, if they are few."""
    part_names: tuple[str, ...] = ()
    """The paths of these files, in the same order."""
    passed: tuple[str, ...] = ()
    """Checks that the tenant's policy requires and that it passed."""
    not_passed: tuple[str, ...] = ()
    """Checks that the tenant's policy requires, and that ran on it and did not pass."""
    verified: bool = False
    """Tidewatch computed the digest from the bytes itself; else the event claims it."""
    tree: str = ""
    """For a file's digest: the `tree:` key of the listing that names the file."""
    bound: bool = False
    """The name has the digest at `version` for every tenant. The version is immutable, reachable
    from a branch or tag, and Tidewatch fetched it from the operator's host without credentials.
    """
    bound_by: tuple[Basis, ...] = ()
    """The signers who attest that the name has the digest at `version`."""
    attested: tuple[Basis, ...] = ()
    """The signers who attest what the digest was made from; empty: the event's claim."""
    baseline: bool = False
    """It was there before monitoring began: the ledger learns from it, and reports only what
    intelligence or a scan knows to be malicious."""
    appended: Position | None = None
    """The position of the input record; it decides who was first."""
