"""The records on `notifications`: messages that a notifier has sent or has yet to send."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from schemas.ledger import Revision
from schemas.severity import Severity


class NotificationEvent(StrEnum):
    """Why a message is sent."""

    OPENED = "opened"
    UPDATED = "updated"
    REOPENED = "reopened"
    CLOSED = "closed"
    PROPOSED = "proposed"
    """A containment command waits for a decision."""
    ESCALATED = "escalated"
    """It was not acknowledged in time."""
    OPERATOR = "operator"
    """An operator alert."""
    TEST = "test"


class Standing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The current state of an alert or operator alert."""

    revision: Revision
    """Broker timestamp in milliseconds and offset of its record: the later one counts."""
    digest: str
    """Of everything in it that a person reads."""
    title: str
    why: str
    """Why it matters, in a sentence or two."""
    severity: Severity
    status: str
    next_action: str = ""
    assignee: str | None = None
    systems: int = 0
    """How many systems or components are affected."""
    score: int | None = None
    ended: bool = False
    """It is closed, a false positive, withdrawn or suppressed; of a source: it sends again."""
    acknowledged: bool = False
    """A person took it on: by a status, an assignee, or a decision on a proposal."""


class Proposed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A containment command that waits for a person's decision."""

    command_id: str
    attempt: int = 1
    action: str
    target: str
    mode: str
    """proposal, or advised."""
    reason: str = ""
    expires: datetime | None = None


class Leg(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One destination that has yet to take a message."""

    destination: str
    attempts: int = 0
    refusals: int = 0
    """How often the destination refused this message itself."""
    next_ms: int = 0
    """When to try next, milliseconds since the epoch."""


class Notification(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message as it is sent; the same bytes at every attempt."""

    id: str
    """The `webhook-id`: the same at every attempt, and of no other message."""
    event: NotificationEvent
    """opened, updated, reopened, closed, proposed, escalated, operator or test."""
    at_ms: int
    """When it was written, milliseconds since the epoch."""
    route: str
    severity: Severity
    title: str
    body: str
    tenant: str | None = None
    """None: it is the operator's."""
    incident: str | None = None
    status: str = ""
    link: str = ""
    step: int = 0
    """Of an escalation: which step of the route."""
    legs: tuple[Leg, ...] = ()
    """The destinations that have yet to take it."""


class NotificationThread(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The state of one incident, or one subject of operator alerts, on one route."""

    route: str
    """Empty: only its messages are left, to be delivered once more."""
    subject: str
    tenant: str | None = None
    """None: it is the operator's."""
    incident: str | None = None
    now: Standing | None = None
    """None: only proposals were read so far."""
    sent: Standing | None = msgspec.field(default=None, name="told")
    """As it was when the last message was written; None: none was."""
    proposals: tuple[Proposed, ...] = ()
    """Those that were not sent yet, at most 20."""
    more_proposals: int = 0
    """How many more there are."""
    asked: tuple[str, ...] = ()
    """Ids of the latest proposals that were read, and of folded incidents: each counts once."""
    due_ms: int | None = None
    """When pending changes become a message, apart from quiet hours; None: nothing is pending."""
    sent_ms: int | None = msgspec.field(default=None, name="told_ms")
    """When the first message was written, since it last ended: the clock of escalation."""
    step: int = 0
    """How many steps of escalation were taken."""
    written: int = 0
    """How many messages were written."""
    messages: tuple[Notification, ...] = ()
    """Those that a destination has yet to take, oldest first."""
    changed_ms: int = 0
    folded: int = 0
    """How many incidents this one represents, for a tenant with too many for a message each."""
