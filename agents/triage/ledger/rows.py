"""The rows of the component ledger: component, its tenants, systems, children, facts, files."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import msgspec

from agents.domain.roles import TREE, USES, role_of, use_of
from agents.triage.bounded_sets import Tally, clip, trim
from agents.triage.store import KEY_PART_BYTES
from schemas.basis import BareFinding, Basis, BasisKind, Position
from schemas.findings import Finding
from schemas.intel import IntelFact
from schemas.ledger import Revision
from schemas.observations import Sighting

DAY_MS: Final = 86_400_000
HOUR_MS: Final = 3_600_000
KEEP_DAYS: Final = 400
"""Days after its last event when a sighting is forgotten, unless an incident is open."""
HOLDINGS: Final = 32
"""Versions of a component that one system's row holds: those seen last."""
INPUTS: Final = 256
"""Most inputs of one component, and most that are remembered as reported."""
MARKS: Final = 24
FACTS: Final = 64
TENANTS: Final = 256
SYSTEMS: Final = 64
SLOTS: Final = 96
VALUES: Final = 8
EDGES: Final = 256
BOUND_DIGESTS: Final = 4
"""Digests that one version may be bound to; of more nothing follows."""
OF_COMPONENT: Final = "!"
"""Prefix of the rank of a slot that is about no single version or tag."""
SIGNALS: Final = 64
FINDING_IDS: Final = 256
MEMBERS: Final = 64
"""Hostile components of one publisher."""
VERSIONS_KEPT: Final = 64
"""Most versions of a component that are kept as a tenant's rollback targets."""
RELATED: Final = 8
"""Most incidents that one key links; a key of more says nothing."""
SCAN: Final = 5_000
"""Sources examined per tick; the next tick continues behind them."""
SOURCES: Final = 1_000
"""Most sources of one tenant in a partition: those heard last."""
PAGE: Final = 128
"""Rows read for one message; the ledger sends itself a message to continue behind them.

What follows from a page is read before the next page is, and the records of others wait for it: so
few that this takes a fraction of a second."""
OF_TENANT: Final = 2_000
"""Most systems of one tenant that are looked through on account of one message."""
MAX_DEPTH: Final = 8
"""Most steps that a taint is passed on."""
PATH_BYTES: Final = 200
"""Most bytes of one step of a taint's path."""
KEY_BYTES: Final = KEY_PART_BYTES
"""Most bytes of a component key in a row: what a row's key can hold."""
NAME_BYTES: Final = 300
TEXT_BYTES: Final = 120
IDENTITIES: Final = 4
CHECKS: Final = 16
"""Most required checks kept for one version on one system."""
SUPPRESSIONS: Final = 16
"""Most facts and dismissed incidents that one indicator keeps."""

# Bytes that the parts of a row may take, so that no text makes it outgrow the store's 64 KiB.
HOLDINGS_ROOM: Final = 36 * 1024
SLOTS_ROOM: Final = 18 * 1024
PUSHES_ROOM: Final = 10 * 1024
SIGNALS_ROOM: Final = 9 * 1024
USERS_ROOM: Final = 9 * 1024
HOLDERS_ROOM: Final = 5 * 1024
MARKS_ROOM: Final = 16 * 1024
NAMES_ROOM: Final = 7 * 1024
EDGES_ROOM: Final = 36 * 1024
VERSIONS_ROOM: Final = 20 * 1024

DIGEST_KEYS: Final = ("sha256:", "tree:")
"""Prefixes of keys of digests: what is known of one is about the bytes, whoever holds them."""
EXPOSURE_RANK: Final = {"staged": 0, "delivered": 1, "executed": 2, "serving": 3}

# Row kinds: the first part of a row's key.
COMPONENT: Final = "c"
TENANT: Final = "t"
SYSTEM: Final = "s"
CHILD: Final = "k"
FACT: Final = "i"
FILE: Final = "f"
IOC: Final = "x"
EXPIRY: Final = "e"
SOURCE: Final = "b"
CLOCK: Final = "z"
VERSIONS: Final = "v"
CLAIMS: Final = "m"
ADVICE: Final = "a"
BOUND: Final = "d"


def to_ms(moment: datetime) -> int:
    """Return milliseconds since the epoch."""
    return round(moment.timestamp() * 1000)


def from_ms(milliseconds: int) -> datetime:
    """Return the moment, in UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, tz=UTC)


class Holding(msgspec.Struct, array_like=True):
    """One version of a component on one system."""

    name: str | None
    """For a digest's or publisher's row: the component it was seen as."""
    version: str | None
    digest: str | None
    first_ms: int
    first_event: str
    last_ms: int
    """When it was last reported: exact where versions alternated, else right to the day. The checks
    report an unchanged system once a day, and any change on it at once, so that which
    version came last is always right, but the hour of the last repetition is not known."""
    last_event: str
    exposure: str = "delivered"
    kind: str = "seen"
    tag: str | None = None
    publisher: str | None = None
    origin: str | None = None
    stage: str | None = None
    source: str = ""
    filename: str | None = None
    signed: bool | None = None
    criticality: float | None = None
    identities: list[str] = msgspec.field(default_factory=list)
    checks: dict[str, bool] = msgspec.field(default_factory=dict)
    """Checks that the tenant requires, and whether the version ever passed them."""
    verified: bool = False
    """Tidewatch computed the digest from the bytes; else the tenant's events claim it."""


class SystemRow(msgspec.Struct, array_like=True):
    """What one system of one tenant has of one component."""

    tenant: str
    system: str
    holdings: dict[str, Holding] = msgspec.field(default_factory=dict)
    inputs: Tally = msgspec.field(default_factory=Tally)
    full: bool = False
    last_ms: int = 0
    appended: Position | None = None
    """For a digest's row: the first record about it."""


class Seen(msgspec.Struct, array_like=True, frozen=True, order=True):
    """When and by which event a value was first seen."""

    first_ms: int
    event_id: str
    value: str
    system: str = ""
    source: str = ""


def value_seen(seen: Sighting, value: str) -> Seen:
    """Return that a sighting showed a value, in a size that fits a row."""
    return Seen(
        first_ms=to_ms(seen.occurred_at),
        event_id=clip(seen.event_id, TEXT_BYTES),
        value=clip(value, TEXT_BYTES),
        system=clip(seen.system, TEXT_BYTES),
        source=clip(seen.source, TEXT_BYTES),
    )


class Publication(msgspec.Struct, array_like=True, frozen=True):
    """How one version of a component was published, as its first push or pull says."""

    first_ms: int
    event_id: str
    kind: str
    """pushed or pulled."""
    strength: int
    """Of the authentication; 0: not known."""
    account: str
    mfa: bool | None
    signed: bool | None
    version: str
    system: str
    source: str


class TenantRow(msgspec.Struct, array_like=True):
    """What one tenant knows of one component: values that should not change, and signals."""

    tenant: str
    slots: dict[str, dict[str, Seen]] = msgspec.field(default_factory=dict)
    """Slot (publisher, version:…, tag:…): values by rank."""
    pushes: dict[str, tuple[int, str, bool, str, str, str]] = msgspec.field(default_factory=dict)
    """Version by rank: first seen, event, signed, version, system, source."""
    signals: dict[str, tuple[int, str, str, str, str]] = msgspec.field(default_factory=dict)
    """For combinations in time: when, what, event, system, source; by rank."""
    users: dict[str, Seen] = msgspec.field(default_factory=dict)
    """For a domain: which components reached it; a publisher: its hostile ones; by rank."""
    full: bool = False
    push_count: int = 0
    """Changes of `pushes` and `publications`: the later state is the one that holds."""
    publications: dict[str, Publication] = msgspec.field(default_factory=dict)
    """By rank of kind, version and digest."""

    def keep_slots(self) -> bool:
        """Keep the slots of the component as such, then those that were filled last.

        Returns:
            Whether any was left out.
        """
        latest = {
            rank: max((seen.first_ms for seen in values.values()), default=0)
            for rank, values in self.slots.items()
        }
        return trim(
            self.slots,
            SLOTS,
            SLOTS_ROOM,
            lambda rank: (not rank.startswith(OF_COMPONENT), -latest[rank], rank),
        )


UNSPECIFIC: Final = "?"
"""The version of a mark that covers only builds that name neither version nor digest."""


class Mark(msgspec.Struct, array_like=True):
    """The component, or a version of it, is part of an incident."""

    incident: str
    root: str
    cause: str
    version: str | None
    digest: str | None
    path: list[str]
    """From the origin to the parent; empty: the component is the origin."""
    active: bool
    revision: Revision
    tenant: str = ""
    """Set: it rests on this tenant's claim and covers its holdings alone. Empty: everybody's."""
    advice: bool = False
    """It only advises: it rests on what another tenant claims."""
    basis: Basis | None = None
    """How it is known; None in rows of an earlier version, which affect nobody else."""
    found: BareFinding | None = None
    """What was found where it began."""
    appended: Position | None = None
    """Set: advice by `tenant` to the other holders of a digest, as long as `tenant` introduced the
    digest with the record that lies there."""
    undigested: bool = False
    """By its version it means only holdings without a digest; the digest decides for
    the others."""

    def applies_to(self, tenant: str) -> bool:
        """Return whether it may concern what a tenant holds."""
        if self.appended is not None:
            return tenant != self.tenant
        return tenant == self.tenant if self.tenant else self.basis is not None

    def fits(self, holding: Holding | Version, tenant: str) -> bool:
        """Return whether a holding, or a version that a tenant had, is what is marked."""
        if not self.applies_to(tenant) or not self._is_in_role(holding):
            return False
        if self.digest is not None and holding.digest == self.digest:
            return True
        if self._is_bound() and isinstance(holding, Holding) and holding.verified:
            return False  # Tidewatch read its bytes: they are not what everybody gets as that
        if self.version is not None:
            return holding.version == self.version and not (
                self.undigested and holding.digest is not None
            )
        return self.digest is None

    def _is_in_role(self, holding: Holding | Version) -> bool:
        role = self.basis.role if self.basis is not None else ""
        if self._is_by_scan() and isinstance(holding, Holding) and use_of(holding.name):
            return False
        if not role:
            return True
        if not isinstance(holding, Holding):
            return False
        if role == TREE:
            # What has it, a run says without saying whether it is a file or a tree.
            return holding.filename is None
        return role_of(holding.filename) == role

    def _is_bound(self) -> bool:
        """Return whether it came from a digest to the version that has it, whoever names it."""
        return not self.tenant and self.version is not None and self.digest is not None

    def _is_by_scan(self) -> bool:
        return self.basis is not None and self.basis.kind is BasisKind.VERIFIED

    def reaches(self, edge: Edge) -> bool:
        """Return whether something built from the component as an edge names it is affected.

        What names neither version nor digest of the component may be affected by what is known of
        any of them: in full it is by the tenant's own marks and by those that mean just that.
        """
        if not edge.is_of_all and not self.applies_to(edge.tenant):
            return False
        role = self.basis.role if self.basis is not None else ""
        if edge.verified and role and role != edge.role:
            return False
        if edge.version in USES:
            # It names a digest, and as part of what the digest's file was used.
            return not self._is_by_scan()
        if self.version == UNSPECIFIC:
            return edge.version is None
        if self.version is None and self.digest is None:
            return True
        if edge.version is None:
            return bool(self.tenant)
        if self.undigested and self.digest is not None and edge.digest is not None:
            return edge.digest == self.digest
        return edge.version in {self.version, f"sha256:{self.digest}"}


class ClaimsRow(msgspec.Struct, array_like=True):
    """What rests on one tenant's claims about one component, apart from the shared row."""

    tenant: str
    marks: dict[str, Mark] = msgspec.field(default_factory=dict)
    incidents: list[str] = msgspec.field(default_factory=list)
    """Of the tenant, about the component."""
    cases: dict[str, tuple[str, Revision]] = msgspec.field(default_factory=dict)
    """What the tenant decided about them."""


class ComponentRow(msgspec.Struct, array_like=True):
    """What is known of one component over all tenants."""

    first_ms: int = 0
    first_event: str = ""
    tenants: Tally = msgspec.field(default_factory=Tally)
    flagged: Tally = msgspec.field(default_factory=Tally)
    """Tenants in which something was found against it."""
    marks: dict[str, Mark] = msgspec.field(default_factory=dict)
    facts: dict[str, str] = msgspec.field(default_factory=dict)
    """Fact keys by rank."""
    incidents: dict[str, tuple[str, list[str]]] = msgspec.field(default_factory=dict)
    """Incidents about it, by rank; the lists are unused."""
    bad_components: dict[str, str] = msgspec.field(default_factory=dict)
    """Unused: of a publisher, in rows of an earlier version."""
    full: bool = False
    cases: dict[str, tuple[str, Revision]] = msgspec.field(default_factory=dict)
    over_correlating: bool = False
    prevalent: dict[str, tuple[str, str]] = msgspec.field(default_factory=dict)
    """Incidents that get its prevalence, with their roots, by rank."""
    claims: bool = False
    """There are rows of tenants' claims about it."""
    introducer: tuple[Position, str, bool] | None = None
    """For a digest: the first record that reported it, whose it was, and whether that event made or
    pushed it: else nobody introduced it."""
    popular: bool = False
    """So many organisations hold it that a scan alone only proposes containment."""
    owners: dict[str, str] = msgspec.field(default_factory=dict)
    """By rank of an incident in `prevalent` or `incidents`: in whose share it counts; empty:
    several tenants found it, or nobody's claim is part of it."""


class Edge(msgspec.Struct, array_like=True, frozen=True):
    """One build: by whom, of which version from which."""

    tenant: str
    """Whose event says so, or who alone trusts the signature; empty: nobody's, it follows from the
    child's digest, or the operator trusts the signature."""
    version: str | None
    child_version: str | None
    child_digest: str | None
    appended: Position | None = None
    """The first record about it."""
    verified: bool = False
    """The child is not made from the parent but holds it, or has it as its digest: a listing that
    hashes to the child names the file, or a binding ties the name to the digest."""
    role: str = ""
    """Of the file in the listing."""
    digest: str | None = None
    """Of the parent's version, where the build says both."""
    basis: Basis | None = None
    """By whose signature it is known; None: as an event says, or as follows from the digest."""

    @property
    def is_of_all(self) -> bool:
        """Whether what is known of the parent reaches whoever holds the child."""
        return not self.tenant and (self.verified or self.basis is not None)


class Version(msgspec.Struct, array_like=True):
    """One version of a component that a tenant had on any of its systems."""

    version: str | None
    digest: str | None
    first_ms: int
    signed: bool


class VersionsRow(msgspec.Struct, array_like=True):
    """The versions of a marked component that one affected tenant had."""

    tenant: str
    versions: dict[str, Version] = msgspec.field(default_factory=dict)
    """By rank of version and digest."""
    reported: dict[str, dict[str, tuple[bool, bool, bool, int]]] = msgspec.field(
        default_factory=dict
    )
    """By incident and rank, as reported: usable, signed, vouched for, first seen."""


class ChildRow(msgspec.Struct, array_like=True):
    """How one component was built from another."""

    child: str
    edges: dict[str, Edge] = msgspec.field(default_factory=dict)
    """By rank."""
    full: bool = False


class BoundRow(msgspec.Struct, array_like=True):
    """The digests that one immutable version of a public name was bound to; usually one."""

    digests: list[str] = msgspec.field(default_factory=list)


class FactRow(msgspec.Struct, array_like=True):
    """A fact in its latest revision; None: withdrawn."""

    fact_key: str
    fact: IntelFact | None
    revision: Revision


class FileRow(msgspec.Struct, array_like=True):
    """The digests of one package file name, and who first had each."""

    digests: dict[str, list[Seen]] = msgspec.field(default_factory=dict)
    full: bool = False
    signed: dict[str, list[Basis]] = msgspec.field(default_factory=dict)
    """By digest: under whose trust roots it is signed as that file."""


class IocRow(msgspec.Struct, array_like=True):
    """One indicator of one tenant and kind."""

    finding: Finding
    revision: Revision
    ids: dict[str, tuple[str, Revision, bool]] = msgspec.field(default_factory=dict)
    """Finding ids by rank, each with its latest revision and whether it still holds."""
    first_ms: int = 0
    last_ms: int = 0
    suppressed: dict[str, tuple[Revision, bool]] = msgspec.field(default_factory=dict)
    """By reason (fact key or incident): since when, and whether it still holds."""
    reported: str = ""
    """Hash of what was last published."""
    published: int = 0
    """How often it was published: the revision of the record."""
    incident: str = ""
    """The incident the findings belong to, or would if they were severe enough."""

    def active(self) -> bool:
        """Return whether any finding still holds and nothing suppresses it."""
        return any(state[2] for state in self.ids.values()) and not any(
            state[1] for state in self.suppressed.values()
        )


class AdviceRow(msgspec.Struct, array_like=True):
    """The advice a tenant has, to keep its quotas."""

    tenant: str
    given: dict[str, dict[str, set[int]]] = msgspec.field(default_factory=dict)
    """By introducer and incident: the ranks of the reported holdings."""


class SourceRow(msgspec.Struct, array_like=True):
    """When one source of one tenant was heard, and how its events fared."""

    tenant: str
    source: str
    last_ms: int = 0
    hours: list[int] = msgspec.field(default_factory=list)
    days: dict[str, tuple[Tally, Tally, Tally]] = msgspec.field(default_factory=dict)
    """By day since the epoch: all sampled events, the incomplete ones, dead letters."""
    silent_since: int = 0
    reported: dict[str, int] = msgspec.field(default_factory=dict)


class ExpiryRow(msgspec.Struct, array_like=True):
    """Points to a system row to look at on a given day."""

    component: str
    key: str


class ClockRow(msgspec.Struct, array_like=True):
    """The last tick that was acted upon."""

    time_ms: int = 0
    source: str = ""
    """The source to continue behind."""
