"""The records on `observations`, the input of the component ledger, keyed by component."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from schemas.basis import BareFinding, Basis, Position
from schemas.findings import Finding
from schemas.incidents.states import CaseOutcome
from schemas.intel import IntelFact
from schemas.observations import Sighting

Revision = tuple[int, int]
"""Broker timestamp in milliseconds and offset of the record that caused it: the later one wins."""


class FindingSeen(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="finding-seen"
):
    """A finding of a check; sent under the indicator, the component and the publisher."""

    key: str
    """The component key it is filed under here."""
    incident: str
    """The incident the finding belongs to, or would if it were severe enough."""
    finding: Finding
    revision: Revision = (0, 0)
    """Of the fact, or of the state of the ledger, that caused it: the later wins."""
    active: bool = True
    """False: it was withdrawn."""
    withheld: bool = False
    """Its tenant's policy suppresses it: the other holders of the bytes are alerted, the tenant is
    not."""


class FactChange(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="fact"):
    """An intel fact was published or withdrawn."""

    key: str
    """The component it is about: the fact's own key, or one of its digests."""
    fact_key: str
    """The key the fact has on the intel topic."""
    fact: IntelFact | None = None
    """None: withdrawn."""
    revision: Revision = (0, 0)
    after: str = ""
    """The ledger's own note to continue after this row: a search is done page by page."""
    before: IntelFact | None = None
    """When it continues: the fact that `fact` replaced."""
    edges_after: str = ""
    """The ledger's own note to continue marking the versions that builds name, after this row."""
    indicators_after: str = ""
    """The ledger's own note to go on taking indicators back behind this row."""
    bound: str = ""
    """The ledger's own note that this version's digest was established: findings made before it was
    known are withdrawn, after the row `after`."""
    signed_ms: int = 0
    """When its record was signed, milliseconds since the epoch; 0: it is unsigned."""


class Derived(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="derived"):
    """Something was built from the component `key`."""

    key: str
    child: str
    tenant: str
    system: str
    event_id: str
    occurred_at: datetime
    version: str | None = None
    """The version of `key` that was used; None: not known."""
    digest: str | None = None
    """Its digest, where the build says both; None: not known, or `version` is the digest."""
    child_version: str | None = None
    child_digest: str | None = None
    stage: str | None = None
    appended: Position | None = None
    """Of the record of the build; it decides whether the build introduced the child."""
    basis: Basis | None = None
    """By whose signature the build is known; None: as the event says."""


class Taint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="taint"):
    """A component it was built from is part of an incident; passed on to its own children."""

    key: str
    incident: str
    root: str
    cause: str = ""
    """The key of the fact that caused it; empty: findings of events."""
    origin: str
    """The component key where the taint began."""
    path: tuple[str, ...]
    """From the origin to the parent of `key`."""
    version: str | None = None
    """The version of `key` that is tainted; None: all."""
    digest: str | None = None
    active: bool = True
    revision: Revision = (0, 0)
    tenant: str = ""
    """Only components this tenant holds; empty: all."""
    confined: bool = False
    """It stays within `tenant`, however far it is passed on."""
    after: str = ""
    """The ledger's own note to continue with the systems after this row."""
    children_after: str = ""
    """The ledger's own note to continue passing it on to children after this row."""
    basis: Basis | None = None
    """How it is known that `key` is tainted; None: as `tenant` claims."""
    found: BareFinding | None = None
    """What was found where the taint began."""
    advice: bool = False
    """It only advises."""
    appended: Position | None = None
    """Advice to other holders of the digest: the position of the event, which must be the one that
    introduced it."""
    roots: tuple[str, ...] = ()
    """The ids of the trust roots that it rests on; it ends when one of them is removed."""
    turns: int = 0
    """The ledger's own note, where it continues: how often the mark ended and began again."""


class SourceOutcome(StrEnum):
    """The outcome of an event of a source."""

    OK = "ok"
    INCOMPLETE = "incomplete"
    """Something of it could not be checked."""
    DEAD_LETTER = "dead-letter"


class CaseState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="case"):
    """An incident that involves the component opened, closed or was dismissed."""

    key: str
    incident: str
    state: CaseOutcome
    """What became of it; once it is dismissed, marks are lifted."""
    revision: Revision = (0, 0)
    tenant: str = ""
    """Whose part it is about, and whose claims alone it ends; empty: the whole, by the operator."""
    after: str = ""
    """The ledger's own note to go on taking indicators back behind this row."""


class GoBack(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="go-back"):
    """The ledger's own note to recompute which versions are rollback targets."""

    key: str
    after: str = ""
    """Continue after this row: it is done page by page."""


class AdviceOffered(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="advice"):
    """The ledger's own note of advice for a tenant, within the tenant's quotas."""

    key: str
    """`advice:` and the tenant."""
    exposure: msgspec.Raw
    """The message to the incident, as JSON."""


class RootTurned(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="root-turned"):
    """The ledger's own note to continue with the rows that rest on a changed trust root."""

    key: str
    """A component of the same partition."""
    root: str
    """The id of the trust root."""
    at_ms: int
    """When it turned; another turn since makes the note void."""
    after: str = ""
    """Continue after this row: it is done page by page."""


class SourceSeen(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="source"):
    """A source of events sent something; sampled by event id, keyed by tenant and source."""

    key: str
    tenant: str
    source: str
    event_id: str
    at_ms: int
    """The broker's timestamp of the event, milliseconds since the epoch."""
    outcome: SourceOutcome = SourceOutcome.OK
    """The outcome of the event."""


class Tick(msgspec.Struct, frozen=True, kw_only=True, tag="tick"):
    """A tick: processing time enters here and nowhere else. Sent to every partition."""

    time_ms: int
    """Milliseconds since the epoch."""
    partition: int = 0


LedgerMessage = (
    Sighting
    | FindingSeen
    | FactChange
    | Derived
    | Taint
    | CaseState
    | GoBack
    | AdviceOffered
    | RootTurned
    | SourceSeen
    | Tick
)


class OperatorAlert(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An alert for the operator of Tidewatch: a blind spot, or a bound reached."""

    id: str
    """Hash of kind and subject: the same when it is repeated."""
    kind: str
    """source-silent, source-recovered, incomplete-share, dead-letters, over-correlating,
    bound-reached, records-gone, foreign-key, replayed-fact, topic-paused, topic-unreadable,
    escalation, tenant-without-policy, baseline-recorded."""
    subject: str
    """The source, component key or incident it is about."""
    detail: str
    """What happened, in a sentence."""
    tenant: str | None = None
    """The tenant it is about, if it is about one."""
    since: datetime | None = None
    """From when it has been so."""
    runbook: str = ""
    """What to do."""
    figures: dict[str, float] = {}
    """The numbers behind it, by name."""
