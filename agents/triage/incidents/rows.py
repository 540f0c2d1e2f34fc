"""The rows of an incident: its core, and per tenant its findings, systems and actions."""

from __future__ import annotations

from typing import Final

import msgspec

from agents.triage.bounded_sets import Tally, stable_rank
from schemas.basis import BareFinding
from schemas.decisions import Decision
from schemas.findings import Finding
from schemas.incidents.commands import CommandSpec
from schemas.incidents.states import CaseOutcome, CommandPhase, CommandStatus, Mode
from schemas.incidents.updates import KnownGood, Proof
from schemas.ledger import Revision
from schemas.severity import ExposureLevel

CORE: Final = "nc"
FINDINGS: Final = "nf"
SYSTEMS: Final = "ns"
ACTIONS: Final = "na"
WAITING: Final = "nt"
EXPIRY: Final = "ne"
CLOCK: Final = "nz"
ASKED: Final = "nq"
SEEN: Final = "nu"
NEVER_MS: Final = 1 << 60
"""After every time that is waited for."""
KEEP_DAYS: Final = 400
"""How long after its last record an ended incident is forgotten."""

TENANTS: Final = 512
GROUPS: Final = 16
RULES: Final = 64
"""The most rules for which a tenant's row records whether its policy suppresses them."""
IDS: Final = 256
ROW_BYTES: Final = 64 * 1024
"""The largest row: the budgets below of one row's content stay within it."""
TENANTS_BYTES: Final = 18_000
KEYS_BYTES: Final = 6_000
LINKS_BYTES: Final = 12_000
GROUPS_BYTES: Final = 36_000
IDS_BYTES: Final = 24_000
ENTRIES_BYTES: Final = 30_000
GROUNDS_BYTES: Final = 6_000
GOOD: Final = 32
"""The most rollback targets of a component, retracted ones included: more than the ledger remembers
having reported."""
GOOD_BYTES: Final = 12_000
PROOFS: Final = 48
PROOFS_BYTES: Final = 12_000
CHECKS: Final = 16
"""The most required checks that a version is reported with."""
COMMANDS: Final = 512
"""Commands of one incident and tenant, without reversals."""
FIRST_PAGE_BYTES: Final = 32_000
"""The bytes of commands in the row with the decisions; further commands have rows of their own."""
PAGE_BYTES: Final = 60_000
DECISIONS: Final = 48
DECISIONS_BYTES: Final = 20_000
RESULTS: Final = 4
LINKS: Final = 32
KEYS: Final = 32
EVIDENCE_BYTES: Final = 1_200
TEXT_BYTES: Final = 300
SMALL_BYTES: Final = 120
OK: Final = 200
"""OpenC2's status of a command that succeeded."""
ERRORS: Final = 400
"""The least OpenC2 status that is an error."""


class CoreRow(msgspec.Struct, array_like=True):
    """What concerns the incident as a whole."""

    incident: str
    root: str = ""
    tenants: dict[str, str] = msgspec.field(default_factory=dict)
    """By rank."""
    tenant_tally: Tally = msgspec.field(default_factory=Tally)
    thresholds: list[int] = msgspec.field(default_factory=list)
    related: dict[str, tuple[str, str, list[str]]] = msgspec.field(default_factory=dict)
    """Other incident, by which key, and the tenants that are part of both; by rank."""
    campaign: str = ""
    decisions: dict[str, tuple[Decision, int]] = msgspec.field(default_factory=dict)
    """The operator's, by rank of their id, each with when it was received (ms)."""
    keys: dict[str, str] = msgspec.field(default_factory=dict)
    """Component keys whose ledger rows are notified of the incident's status."""
    outcome: CaseOutcome = CaseOutcome.OPEN
    """The last notice to the ledger's rows."""
    published: str = ""
    """The significance of the last published record."""
    truncated: list[str] = msgspec.field(default_factory=list)
    last_ms: int = 0
    """The broker timestamp of a record about it, the first of the last day."""
    common: str = ""
    """The hash of what every tenant last read of the whole."""
    shared: bool = False
    """It was shared with partners."""
    taken_back: dict[str, tuple[int, bool]] = msgspec.field(default_factory=dict)
    """Indicators revoked for partners, by rank: how often they were restored, and whether they are
    revoked now."""

    @property
    def is_open(self) -> bool:
        """Whether it is neither closed nor dismissed."""
        return self.outcome is CaseOutcome.OPEN


class Group(msgspec.Struct, array_like=True):
    """Findings of one rule about one indicator, represented by the worst."""

    finding: Finding
    revision: Revision
    first_ms: int


class IdState(msgspec.Struct, array_like=True):
    """Whether one finding still holds: the later of the two revisions decides."""

    finding: str
    group: str = ""
    revision: Revision = (0, 0)
    withdrawn: Revision | None = None
    reason: str = ""

    def active(self) -> bool:
        """Return whether the finding is known and was not withdrawn since."""
        return bool(self.group) and (self.withdrawn is None or self.revision > self.withdrawn)


class FindingsRow(msgspec.Struct, array_like=True):
    """What was found in one tenant."""

    tenant: str
    groups: dict[str, Group] = msgspec.field(default_factory=dict)
    ids: dict[str, IdState] = msgspec.field(default_factory=dict)
    detected_ms: int = 0
    full: bool = False
    withheld: dict[str, tuple[int, str, bool]] = msgspec.field(default_factory=dict)
    """By rank of a rule: when it last found something in the bytes, the finding's id, and whether
    the tenant's policy suppressed it."""
    popular: bool = False
    """Whether the bytes are popular, so that a scan alone only proposes containment."""

    def withholds(self, rule_id: str) -> bool:
        """Return whether the tenant suppresses a rule's finding in the bytes."""
        known = self.withheld.get(stable_rank(rule_id))
        return known is not None and known[2]


class Entry(msgspec.Struct, array_like=True):
    """One version of a component on one system of the tenant."""

    system: str
    component: str
    version: str | None
    digest: str | None
    exposure: ExposureLevel
    first_ms: int
    last_ms: int
    event_id: str
    path: list[str]
    origin: str | None
    publisher: str | None
    stage: str | None
    criticality: float | None
    identities: list[str]
    cause: str
    active: bool
    revision: Revision
    ground: str = ""
    """The rank of its ground in the row; empty: a finding of the tenant's own."""
    of_all: bool = False
    """Whether it is established without a claim."""
    advice: bool = False
    popular: bool = False
    """Whether it is popular, so that a scan alone only proposes containment."""
    states: dict[str, tuple[bool, Revision]] = msgspec.field(default_factory=dict)
    """By account, whether it is active and since when; empty: see `active` and `revision`."""
    roots: list[str] = msgspec.field(default_factory=list)
    """The ids of the trust roots that it rests on, if it has one account."""

    def accounts(self) -> dict[str, tuple[bool, Revision]]:
        """Return whether it is active on the tenant's own account and on everyone's.

        A tenant's decision ends the first alone, and the end of a trust root what rests on it.
        """
        account = " ".join(("all" if self.of_all else "own", *self.roots))
        return self.states or {account: (self.active, self.revision)}


class SystemsRow(msgspec.Struct, array_like=True):
    """The systems that it reaches in one tenant, rollback targets, and what was clean since."""

    tenant: str
    entries: dict[str, Entry] = msgspec.field(default_factory=dict)
    tally: Tally = msgspec.field(default_factory=Tally)
    good: dict[str, KnownGood] = msgspec.field(default_factory=dict)
    proofs: dict[str, Proof] = msgspec.field(default_factory=dict)
    full: bool = False
    detected_ms: int = 0
    grounds: dict[str, BareFinding] = msgspec.field(default_factory=dict)
    """The findings at the origins of the entries' marks, by rank."""


def answered_state(status: int) -> CommandStatus:
    """Return the state of an OpenC2 status: done, failed or working."""
    if status == OK:
        return CommandStatus.DONE
    return CommandStatus.FAILED if status >= ERRORS else CommandStatus.WORKING


class CommandState(msgspec.Struct, array_like=True):
    """A command and its outcome."""

    spec: CommandSpec
    phase: CommandPhase
    since_ms: int
    """When it was proposed or issued."""
    expires_ms: int
    next_ms: int = 0
    """When it is issued again if unanswered."""
    results: dict[str, tuple[int, int, str]] = msgspec.field(default_factory=dict)
    """Time, OpenC2 status and text, by rank of the result's id."""
    lifted: bool = False
    escalated: bool = False
    retries: int = 0
    """How often a person retried it."""
    former_id: str | None = None
    """The id that it was proposed under before holds were kept."""
    held_back: bool = False
    """Whether the policy makes it automatic, but it waits because only a scan supports it and the
    component is popular."""

    def latest(self) -> tuple[int, int, str] | None:
        """Return the decisive answer: a success, else the last."""
        if not self.results:
            return None
        return max(self.results.values(), key=lambda answer: (answer[1] == OK, answer))

    def state(self) -> CommandStatus:
        """Return the state that documents show."""
        answer = self.latest()
        if (self.lifted and self.phase is CommandPhase.ISSUED) or (
            self.phase is CommandPhase.RELEASED
        ):
            return CommandStatus.REVERSED
        if answer is not None and self.phase in {CommandPhase.ISSUED, CommandPhase.EXPIRED}:
            state = answered_state(answer[1])
            if state is CommandStatus.DONE or self.phase is CommandPhase.ISSUED:
                return state
            return CommandStatus.EXPIRED
        return (
            CommandStatus.REJECTED
            if self.phase is CommandPhase.GONE
            else CommandStatus(self.phase.value)
        )


class ActionsRow(msgspec.Struct, array_like=True):
    """What is decided and done in one tenant."""

    tenant: str
    commands: dict[str, CommandState] = msgspec.field(default_factory=dict)
    decisions: dict[str, tuple[Decision, int]] = msgspec.field(default_factory=dict)
    generation: int = 0
    published: str = ""
    """The significance of the last published alert."""
    published_status: str = ""
    contained_ms: int = 0
    pages: int = 0
    """Rows of further commands."""
    full: bool = False
    """Whether not all commands that it calls for fit."""
    outcome: str = ""
    """The tenant's own decision as sent to the ledger's rows: dismissed or open."""

    def approved_before(self, command: CommandState) -> CommandSpec | None:
        """Return the superseded command that a person approved in the place of a proposal.

        Args:
            command: The proposal.

        Returns:
            The latest for the same action and target, or None.
        """
        thing = (command.spec.action, command.spec.target)
        earlier = [
            other.spec
            for other in self.commands.values()
            if (other.spec.action, other.spec.target) == thing
            and other.phase is CommandPhase.SUPERSEDED
            and other.spec.mode is Mode.APPROVED
            and not other.lifted
        ]
        return max(earlier, key=lambda spec: spec.generation, default=None)


class CommandsRow(msgspec.Struct, array_like=True):
    """Commands of one tenant beyond those in the row with its decisions."""

    commands: dict[str, CommandState] = msgspec.field(default_factory=dict)


def paged(commands: dict[str, CommandState]) -> list[dict[str, CommandState]]:
    """Return the commands in order, split into one part per row."""
    pages: list[dict[str, CommandState]] = [{}]
    left = FIRST_PAGE_BYTES
    for command_id, command in commands.items():
        size = len(msgspec.msgpack.encode(command)) + len(command_id) + 2
        if size > left and pages[-1]:
            pages.append({})
            left = PAGE_BYTES
        pages[-1][command_id] = command
        left -= size
    return pages


class AskedRow(msgspec.Struct, array_like=True):
    """What a tenant's part sent to holds and received from them."""

    tenant: str
    sent: dict[str, str] = msgspec.field(default_factory=dict)
    """By rank of action and target: the hash of the last reason sent."""
    revisions: dict[str, int] = msgspec.field(default_factory=dict)
    """By rank of action and target: the revision of that reason."""
    heard: dict[str, int] = msgspec.field(default_factory=dict)
    """By rank of action and target: the revision of the last notice."""
    generations: dict[str, int] = msgspec.field(default_factory=dict)
    """By action and target, of holds that were released or given up before."""


class SeenRow(msgspec.Struct, array_like=True):
    """The number of records about an incident, from the time of the first (ms).

    The revision of messages to holds derives from it.
    """

    count: int = 0


class WaitingRow(msgspec.Struct, array_like=True):
    """Marks a tenant's part as waiting for a time."""

    incident: str
    tenant: str
    due_ms: int = 0


class ExpiryRow(msgspec.Struct, array_like=True):
    """Points to an incident to look at on a given day."""

    incident: str


class ClockRow(msgspec.Struct, array_like=True):
    """The last tick, and the last day on which ended incidents were looked at."""

    time_ms: int = 0
    day: int = 0
    waiting_after: str = ""
    """The waiting part after which to continue."""
    adopted: str = ""
    """The last incident whose commands from before holds were kept are in their holds."""
    earliest_ms: int = 0
    """No part waits for a time before this one; 0: not known."""
    round_ms: int = NEVER_MS
    """The same of the parts that were looked at since a tick began with the first."""
