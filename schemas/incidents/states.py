"""The states and kinds of incidents, commands and tasks, as written on the wire."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class IncidentStatus(StrEnum):
    """How far an incident, or one tenant's part of it, is."""

    NEW = "new"
    ACKNOWLEDGED = "acknowledged"
    CONTAINED = "contained"
    RECOVERING = "recovering"
    SUPPRESSED = "suppressed"
    CLOSED = "closed"
    FALSE_POSITIVE = "false-positive"
    WITHDRAWN = "withdrawn"
    """Its findings were withdrawn by their source."""

    @property
    def ended(self) -> bool:
        """Whether nothing more is done about it."""
        return self in _ENDED

    @property
    def refuted(self) -> bool:
        """Whether its findings are refuted, so that its containment ends."""
        return self in _REFUTED


_REFUTED: Final = frozenset({IncidentStatus.FALSE_POSITIVE, IncidentStatus.WITHDRAWN})
_ENDED: Final = _REFUTED | {IncidentStatus.CLOSED}


class Phase(StrEnum):
    """The phase of the procedure that an incident is in."""

    DETECTION = "detection"
    CONTAINMENT = "containment"
    INVESTIGATION = "investigation"
    ERADICATION = "eradication"
    POST_INCIDENT = "post-incident"


class Activity(StrEnum):
    """What an alert's record does with the alert: an OCSF activity."""

    CREATE = "create"
    UPDATE = "update"
    CLOSE = "close"


class Pattern(StrEnum):
    """Whether an incident is isolated or part of a pattern."""

    ISOLATED = "isolated"
    PATTERN = "pattern"


class Action(StrEnum):
    """What a command does. The actions of the last group reverse those of the second."""

    CAPTURE_EVIDENCE = "capture-evidence"
    INVESTIGATE = "investigate"
    REBUILD = "rebuild"

    QUARANTINE = "quarantine"
    ROLLBACK = "rollback"
    BLOCK = "block"
    REVOKE = "revoke"
    HOLD_PIPELINE = "hold-pipeline"

    RESTORE = "restore"
    ROLL_FORWARD = "roll-forward"
    UNBLOCK = "unblock"
    RELEASE_PIPELINE = "release-pipeline"


class TargetType(StrEnum):
    """What a command's target names."""

    COMPONENT = "component"
    DIGEST = "digest"
    SOURCE = "source"
    IDENTITY = "identity"
    PIPELINE = "pipeline"
    SYSTEM = "system"


class Mode(StrEnum):
    """Who may let a command run."""

    AUTOMATIC = "automatic"
    PROPOSAL = "proposal"
    """A person decides."""
    ADVISED = "advised"
    """Nothing carries it out unless a person approves it."""
    APPROVED = "approved"
    """A proposal that a person approved."""


class CommandStatus(StrEnum):
    """The state of a command, as documents show it."""

    PROPOSED = "proposed"
    ADVISED = "advised"
    ISSUED = "issued"
    WORKING = "working"
    DONE = "done"
    FAILED = "failed"
    REJECTED = "rejected"
    EXPIRED = "expired"
    REVERSED = "reversed"
    SUPERSEDED = "superseded"
    """Another version to go back to took its place, or none is left."""


class CommandPhase(StrEnum):
    """How far an incident is with a command that it calls for."""

    PROPOSED = "proposed"
    ISSUED = "issued"
    REJECTED = "rejected"
    EXPIRED = "expired"
    RELEASED = "released"
    """A person ended the reason of a closed incident."""
    GONE = "gone"
    """Its reason was withdrawn before it was issued."""
    SUPERSEDED = "superseded"
    """Another version to go back to took its place, or none is left."""


class TaskKind(StrEnum):
    """The work that a task requires."""

    REPLACE = "replace"
    REBUILD = "rebuild"
    RETRAIN = "retrain"
    ROTATE = "rotate"
    PATCH = "patch"
    """Close the entry point."""
    EVALUATE = "evaluate"


class TaskState(StrEnum):
    """How far a task is."""

    OPEN = "open"
    DONE = "done"
    RECURRED = "recurred"
    """It was done, and its subject came back."""


class CaseOutcome(StrEnum):
    """What became of an incident, as reported to the ledger's rows."""

    OPEN = "open"
    CLOSED = "closed"
    DISMISSED = "dismissed"


class Occurrence(StrEnum):
    """What an entry of a timeline reports."""

    FOUND = "found"
    EXPOSED = "exposed"
    WITHDRAWN = "withdrawn"
    DECIDED = "decided"
    COMMANDED = "commanded"
    RESULT = "result"
    RECOVERED = "recovered"
