"""A containment command and its state, from which documents are built."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec

from schemas.incidents.states import Action, CommandStatus, Mode, TargetType

UNDO: Final = {
    Action.QUARANTINE: Action.RESTORE,
    Action.ROLLBACK: Action.ROLL_FORWARD,
    Action.BLOCK: Action.UNBLOCK,
    Action.HOLD_PIPELINE: Action.RELEASE_PIPELINE,
}
"""By action: the action that reverses it."""


class CommandSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A containment command, before it becomes an OpenC2 document."""

    command_id: str
    """At most 36 characters, a UUID's shape. Of what contains, the same for (tenant, action,
    target, generation), whichever incidents call for it; of what does not, per incident."""
    incident: str
    """Of several that call for it, the first by id when it was issued."""
    tenant: str
    """Whose systems it is about; no other tenant's are touched."""
    action: Action
    """What it does."""
    target: str
    """A component key, an identity reference, or a system."""
    target_type: TargetType
    """What the target names."""
    system: str | None = None
    """The system it is about, where it is about one."""
    version: str | None = None
    """The version of the component."""
    digest: str | None = None
    """SHA-256, lower-case hex, of the component as its systems report it; where none does, of the
    file that a finding is in."""
    rollback_version: str | None = None
    """For a rollback: the version to roll back to."""
    rollback_digest: str | None = None
    """For a rollback: its SHA-256, to be verified before it is used."""
    paths: tuple[str, ...] = ()
    """For evidence: what to capture."""
    after: tuple[str, ...] = ()
    """Ids of the commands that must succeed first."""
    reason: str
    """In a sentence. In a command's record it follows from action and target, and says where the
    findings are listed; in the views of incidents it names the worst of them."""
    findings: tuple[str, ...] = ()
    """The ids of the findings that justify it; in the views of incidents."""
    expires: datetime | None = None
    """From when it must not be carried out any more."""
    undo: Action | None = None
    """The action that reverses it; None if there is nothing to reverse."""
    undoes: str | None = None
    """For a reversal: the command it reverses."""
    replaces: str | None = None
    """The command that it replaces, which must no longer be carried out."""
    mode: Mode
    """Who authorised it: the policy (automatic), or a person."""
    dry_run: bool = True
    """Only say what would be done."""
    attempt: int = 1
    """Counts from 1; a retry is answered by its number."""
    hold: str = ""
    """The component whose hold issued it; empty: nothing is held by it."""
    generation: int = 0
    """For commands of a hold: how often it was released or abandoned before. Responders refuse
    commands of an older generation than one they carried out."""


class CommandView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A command and its outcome."""

    spec: CommandSpec
    state: CommandStatus
    """How far it is."""
    status: int | None = None
    status_text: str = ""
