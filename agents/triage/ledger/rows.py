"""The rows of the component ledger: components, tenants, systems, builds, facts, files.

Over 500 lines, since the byte limits of all rows are read together.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec

from agents.domain.roles import TREE, USES, role_of, use_of
from agents.triage.bounded_sets import Tally, clip, trim
from agents.triage.store import KEY_PART_BYTES
from schemas.basis import BareFinding, Basis, BasisKind, Position
from schemas.findings import Finding
from schemas.intel import IntelFact
from schemas.ledger import Revision
from schemas.observations import Sighting, SightingKind
from schemas.severity import ExposureLevel

DAY_MS: Final = 86_400_000
HOUR_MS: Final = 3_600_000
KEEP_DAYS: Final = 400
"""Days after its last event until a sighting expires, unless an incident is open."""
HOLDINGS: Final = 32
"""The most versions of a component in one system's row: those last seen."""
INPUTS: Final = 256
"""Most inputs of one component, and most remembered as reported."""
MARKS: Final = 24
FACTS: Final = 64
TENANTS: Final = 256
SYSTEMS: Final = 64
SLOTS: Final = 96
VALUES: Final = 8
EDGES: Final = 256
ROOTS: Final = 16
"""The most trust roots that one mark rests on."""
BOUND_DIGESTS: Final = 4
"""The most digests that a version may be bound to; more are ambiguous."""
OF_COMPONENT: Final = "!"
"""Prefix of the rank of a slot that isn't about a single version or tag."""
SIGNALS: Final = 64
FINDING_IDS: Final = 256
MEMBERS: Final = 64
"""The most hostile components of one publisher."""
VERSIONS_KEPT: Final = 64
"""Most versions of a component that are kept as a tenant's rollback targets."""
RELATED: Final = 8
"""Most incidents that one key links; a key with more links none."""
SCAN: Final = 5_000
"""Sources, and trust roots, examined per tick; the next tick continues after them."""
SOURCES: Final = 1_000
"""Most sources of one tenant in a partition: those last heard."""
PAGE: Final = 128
"""Rows read for one message; the ledger sends itself a message to continue after them.

The messages of a page are read before the next page, and other records wait for them: a page takes
a fraction of a second."""
OF_TENANT: Final = 2_000
"""Most systems of one tenant examined for one message."""
MAX_DEPTH: Final = 8
"""Most steps that a taint is passed on."""
PATH_BYTES: Final = 200
"""Most bytes of one step of a taint's path."""
KEY_BYTES: Final = KEY_PART_BYTES
"""Most bytes of a component key in a row: the limit of a row's key."""
NAME_BYTES: Final = 300
TEXT_BYTES: Final = 120
IDENTITIES: Final = 4
CHECKS: Final = 16
"""Most required checks kept for one version on one system."""
SUPPRESSIONS: Final = 16
"""Most facts and dismissed incidents that one indicator keeps."""

# Byte limits of the parts of a row, so that it fits the store's 64 KiB.
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
"""Prefixes of keys of digests, which identify bytes for every holder."""

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
ROOT: Final = "r"
ROOT_USE: Final = "u"


TIMES: Final = 4_096
"""Moments that are remembered: the documents of one incident name the same few again and again."""


def to_ms(moment: datetime) -> int:
    """Return milliseconds since the epoch."""
    return round(moment.timestamp() * 1000)


@lru_cache(TIMES)
def from_ms(milliseconds: int) -> datetime:
    """Return the moment, in UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, tz=UTC)


class Holding(msgspec.Struct, array_like=True):
    """One version of a component on one system."""

    name: str | None
    """In a digest's or publisher's row: the component it was seen as."""
    version: str | None
    digest: str | None
    first_ms: int
    first_event: str
    last_ms: int
    """When it was last reported: exact if versions alternated, else to the day. The checks report
    an unchanged system once a day and any change at once, so that the last version is always right,
    but the hour of the last repetition is not."""
    last_event: str
    exposure: ExposureLevel = ExposureLevel.DELIVERED
    kind: SightingKind = SightingKind.SEEN
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
    """The tenant's required checks, and whether the version ever passed them."""
    verified: bool = False
    """Whether Tidewatch computed the digest from the bytes; else the tenant's events claim it."""


class SystemRow(msgspec.Struct, array_like=True):
    """What one system of one tenant has of one component."""

    tenant: str
    system: str
    holdings: dict[str, Holding] = msgspec.field(default_factory=dict)
    inputs: Tally = msgspec.field(default_factory=Tally)
    full: bool = False
    last_ms: int = 0
    appended: Position | None = None
    """In a digest's row: the first record about it."""


class Seen(msgspec.Struct, array_like=True, frozen=True, order=True):
    """When and by which event a value was first seen."""

    first_ms: int
    event_id: str
    value: str
    system: str = ""
    source: str = ""


def value_seen(seen: Sighting, value: str) -> Seen:
    """Return a sighting of a value, clipped to fit a row."""
    return Seen(
        first_ms=to_ms(seen.occurred_at),
        event_id=clip(seen.event_id, TEXT_BYTES),
        value=clip(value, TEXT_BYTES),
        system=clip(seen.system, TEXT_BYTES),
        source=clip(seen.source, TEXT_BYTES),
    )


class Publication(msgspec.Struct, array_like=True, frozen=True):
    """How one version of a component was published, by its first push or pull."""

    first_ms: int
    event_id: str
    kind: SightingKind
    """Pushed or pulled."""
    strength: int
    """The rank of the authentication; 0: unknown."""
    account: str
    mfa: bool | None
    signed: bool | None
    version: str
    system: str
    source: str


class TenantRow(msgspec.Struct, array_like=True):
    """A tenant's history of a component: values that should not change, and signals."""

    tenant: str
    slots: dict[str, dict[str, Seen]] = msgspec.field(default_factory=dict)
    """Slot (publisher, version:…, tag:…): values by rank."""
    pushes: dict[str, tuple[int, str, bool, str, str, str]] = msgspec.field(default_factory=dict)
    """Version by rank: first seen, event, signed, version, system, source."""
    signals: dict[str, tuple[int, str, str, str, str]] = msgspec.field(default_factory=dict)
    """For combinations in time, by rank: when, what, event, system, source."""
    users: dict[str, Seen] = msgspec.field(default_factory=dict)
    """By rank: the components that reached a domain, or a publisher's hostile ones."""
    full: bool = False
    push_count: int = 0
    """The number of changes of `pushes` and `publications`; the later state wins."""
    publications: dict[str, Publication] = msgspec.field(default_factory=dict)
    """By rank of kind, version and digest."""
    attested: dict[str, list[list[str]]] = msgspec.field(default_factory=dict)
    """By rank of a publisher's hostile component that counts by signatures alone: for each, the
    ids of the trust roots that it rests on."""
    turned_ms: int = 0
    """When the end or return of a trust root last changed what counts."""

    def keep_slots(self) -> bool:
        """Keep the slots of the component itself, then those last filled.

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
"""The version of a mark that covers only builds without version and digest."""


class MarkState(NamedTuple):
    """Whether a mark counts, and since which revision."""

    active: bool
    since: Revision


class Mark(msgspec.Struct, array_like=True):
    """The component, or a version of it, is part of an incident."""

    incident: str
    root: str
    cause: str
    version: str | None
    digest: str | None
    path: list[str]
    """The path from the origin to the parent; empty: the component is the origin."""
    active: bool
    revision: Revision
    tenant: str = ""
    """The tenant whose claim it rests on and whose holdings it covers; empty: shared."""
    advice: bool = False
    """Whether it only advises, resting on another tenant's claim."""
    basis: Basis | None = None
    """How it is known; None in rows of an earlier version, which affect no other tenant."""
    found: BareFinding | None = None
    """The finding at its origin."""
    appended: Position | None = None
    """If set, it is advice by `tenant` to the digest's other holders, while `tenant` is its
    introducer with the record at this position."""
    undigested: bool = False
    """Whether its version covers only holdings without a digest; others match by digest."""
    roots: list[str] = msgspec.field(default_factory=list)
    """The ids of the trust roots that it rests on, sorted."""
    turns: int = 0
    """How often it ended with one of them, and began again: it is ended if the count is odd."""

    @property
    def ended(self) -> bool:
        """Whether a trust root that it rests on was removed."""
        return self.turns % 2 == 1

    @property
    def state(self) -> MarkState:
        """Whether it is active, and since when; each turn is later than the one before."""
        first, second = self.revision
        return MarkState(self.active and not self.ended, (first, second + self.turns))

    def applies_to(self, tenant: str) -> bool:
        """Return whether it may concern a tenant's holdings."""
        if self.appended is not None:
            return tenant != self.tenant
        return tenant == self.tenant if self.tenant else self.basis is not None

    def fits(self, holding: Holding | Version, tenant: str) -> bool:
        """Return whether it covers a holding, or a version that a tenant had."""
        if not self.applies_to(tenant) or not self._is_in_role(holding):
            return False
        if self.digest is not None and holding.digest == self.digest:
            return True
        if self._is_bound() and isinstance(holding, Holding) and holding.verified:
            return False  # Tidewatch read its bytes: they differ from the public ones of that
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
            # A run names its digest without saying whether it is a file's or a tree's.
            return holding.filename is None
        return role_of(holding.filename) == role

    def _is_bound(self) -> bool:
        """Return whether it passed from a digest to the version bound to it."""
        return not self.tenant and self.version is not None and self.digest is not None

    def _is_by_scan(self) -> bool:
        return self.basis is not None and self.basis.kind is BasisKind.VERIFIED

    def reaches(self, edge: Edge) -> bool:
        """Return whether a build along an edge is affected.

        A build that names neither version nor digest may be affected by marks on any of them: in
        full by the tenant's own marks and by those that cover such builds.
        """
        if not edge.is_of_all and not self.applies_to(edge.tenant):
            return False
        role = self.basis.role if self.basis is not None else ""
        if edge.verified and role and role != edge.role:
            return False
        if edge.version in USES:
            # It names a digest, and the role in which the file was used.
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
    """Marks and signals from one tenant's claims about one component, apart from the shared row."""

    tenant: str
    marks: dict[str, Mark] = msgspec.field(default_factory=dict)
    incidents: list[str] = msgspec.field(default_factory=list)
    """The tenant's findings about the component."""
    cases: dict[str, tuple[str, Revision]] = msgspec.field(default_factory=dict)
    """The tenant's decisions about them."""


class ComponentRow(msgspec.Struct, array_like=True):
    """The shared state of one component."""

    first_ms: int = 0
    first_event: str = ""
    tenants: Tally = msgspec.field(default_factory=Tally)
    flagged: Tally = msgspec.field(default_factory=Tally)
    """Tenants in which something was found against it."""
    marks: dict[str, Mark] = msgspec.field(default_factory=dict)
    facts: dict[str, str] = msgspec.field(default_factory=dict)
    """Fact keys by rank."""
    incidents: dict[str, tuple[str, list[str]]] = msgspec.field(default_factory=dict)
    """Incidents about it, by rank; the values are unused."""
    bad_components: dict[str, str] = msgspec.field(default_factory=dict)
    """Unused: of a publisher, in rows of an earlier version."""
    full: bool = False
    cases: dict[str, tuple[str, Revision]] = msgspec.field(default_factory=dict)
    over_correlating: bool = False
    prevalent: dict[str, tuple[str, str]] = msgspec.field(default_factory=dict)
    """Incidents that get its prevalence, with their roots, by rank."""
    claims: bool = False
    """Whether there are rows of tenants' claims about it."""
    introducer: tuple[Position, str, bool] | None = None
    """For a digest: the first record that reported it, its tenant, and whether that event made or
    pushed it; if not, it has no introducer."""
    popular: bool = False
    """Whether it is popular, so that a scan alone only proposes containment."""
    owners: dict[str, str] = msgspec.field(default_factory=dict)
    """By rank of an incident in `prevalent` or `incidents`: the owner of its share; empty: several
    tenants found it, or it rests on no claim."""


class Edge(msgspec.Struct, array_like=True, frozen=True):
    """One build: its tenant, and the versions of child and parent."""

    tenant: str
    """The tenant whose event reports it, or who alone trusts the signature; empty: it follows from
    the child's digest, or the operator trusts the signature."""
    version: str | None
    child_version: str | None
    child_digest: str | None
    appended: Position | None = None
    """The first record about it."""
    verified: bool = False
    """Whether the child contains the parent or has it as its digest, instead of being made from it:
    a listing that hashes to the child names the file, or a binding ties the name to the digest."""
    role: str = ""
    """The path of the file in the listing."""
    digest: str | None = None
    """The digest of the parent's version, if the build names both."""
    basis: Basis | None = None
    """The signer who attests it; None: an event claims it, or it follows from the digest."""

    @property
    def is_of_all(self) -> bool:
        """Whether marks on the parent reach every holder of the child."""
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
    """The digests that an immutable version of a public name was bound to; usually one."""

    digests: list[str] = msgspec.field(default_factory=list)


class FactRow(msgspec.Struct, array_like=True):
    """A fact at its latest revision; None: withdrawn."""

    fact_key: str
    fact: IntelFact | None
    revision: Revision
    signed_ms: int = 0
    """The latest time at which one of its records was signed; 0: none was."""


class FileRow(msgspec.Struct, array_like=True):
    """The digests of one package file name, and who first had each."""

    digests: dict[str, list[Seen]] = msgspec.field(default_factory=dict)
    full: bool = False
    signed: dict[str, list[Basis]] = msgspec.field(default_factory=dict)
    """By digest: the owners of the trust roots under which it is signed as that file."""
    filename: str = ""
    """The file, if a digest is signed."""
    version: str | None = None
    turned_ms: int = 0
    """When the end or return of a trust root last changed what is signed."""


class RootRow(msgspec.Struct, array_like=True):
    """Whether a trust root is in force, as the partition last took note of it."""

    root: str
    stands: bool
    turned_ms: int = 0


class RootUseRow(msgspec.Struct, array_like=True):
    """Points to a row of a component with something that rests on a trust root."""

    component: str
    key: str


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
    """The incident of its findings, or the one they would open if severe enough."""

    def active(self) -> bool:
        """Return whether any finding still holds and nothing suppresses it."""
        return any(state[2] for state in self.ids.values()) and not any(
            state[1] for state in self.suppressed.values()
        )


class AdviceRow(msgspec.Struct, array_like=True):
    """A tenant's advice, counted against its quotas."""

    tenant: str
    given: dict[str, dict[str, set[int]]] = msgspec.field(default_factory=dict)
    """By introducer and incident: the ranks of the reported holdings."""


class SourceRow(msgspec.Struct, array_like=True):
    """When a tenant's source was heard, and the outcomes of its events."""

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
    """The last tick that was processed."""

    time_ms: int = 0
    source: str = ""
    """The source to continue after."""
    expiring: bool = False
    """Whether more is due for expiry than one tick takes."""
