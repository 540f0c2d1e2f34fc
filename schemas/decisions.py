"""Decisions of people and systems about an incident."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Final

import msgspec

from schemas.severity import Severity

DECISION_TYPE: Final = "tidewatch.decision.v1"
"""The `ce_type` of a decision."""


class DecisionKind(StrEnum):
    """The kinds of decision on the `decisions` topic."""

    ACKNOWLEDGE = "acknowledge"
    ASSIGN = "assign"
    APPROVE = "approve"
    REJECT = "reject"
    SUPPRESS = "suppress"
    CLOSE = "close"
    FALSE_POSITIVE = "false-positive"
    REOPEN = "reopen"
    EVALUATION = "evaluation"
    RETRY = "retry"
    """Try a failed or expired command again."""
    RELEASE = "release"
    """Release what a closed incident contained."""
    SHARE = "share"
    COMMENT = "comment"
    """A comment, in the reason; it changes nothing."""
    SEVERITY = "severity"
    """Set the severity, in place of the computed one, until the next such decision."""


MOST_DAYS: Final = 365
"""Longest suppression, in days."""
COMPUTED: Final = "computed"
"""The target of a severity decision that ends those before it."""
SEVERITY_TARGETS: Final = frozenset({*(severity.value for severity in Severity), COMPUTED})
"""The values that a severity decision may set."""


class Decision(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One decision by an authenticated actor."""

    id: str
    """Chosen by the decider, unique: a repeated decision changes nothing."""
    incident: str
    """The incident; also the key of the record."""
    actor: str
    """Who decided, as the key's owner authenticated them."""
    decision: DecisionKind
    """What was decided."""
    reason: str
    """Why, in words; it is kept in the timeline."""
    time: datetime
    """When."""
    tenant: str | None = None
    """None: the operator, for all tenants of the incident."""
    target: str | None = None
    """A command id (approve, reject, retry, release), an assignee (assign), an indicator key
    (suppress), a task, or for a severity one of informational, low, medium, high and critical, or
    `computed`."""
    expires: datetime | None = None
    """For a suppression: until when it holds."""
    passed: bool | None = None
    """For an evaluation: its result."""
    key: str | None = None
    """The id of the key that signed it, set when the signature is verified; the record's own value
    is ignored."""
