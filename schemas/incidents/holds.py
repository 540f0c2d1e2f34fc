"""Holds: why something is contained in a tenant, as incidents report it and one writer keeps it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Final

import msgspec

from schemas.incidents.commands import CommandSpec
from schemas.incidents.states import Action

HELD: Final = frozenset(
    {Action.QUARANTINE, Action.ROLLBACK, Action.BLOCK, Action.HOLD_PIPELINE, Action.REVOKE}
)
"""Actions that contain: several incidents may call for one of them, and it is carried out once."""


class ReasonState(StrEnum):
    """How far one incident's reason for one hold is."""

    ASKED = "asked"
    """Proposed, not yet approved."""
    AUTOMATIC = "automatic"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    """It was neither approved nor rejected in time."""
    REFUTED = "refuted"
    """The finding was a false positive, or was withdrawn."""
    RELEASED = "released"
    """A person released what a closed incident had contained."""

    @property
    def stands(self) -> bool:
        """Whether it justifies containment."""
        return self in {ReasonState.AUTOMATIC, ReasonState.APPROVED}

    @property
    def calls(self) -> bool:
        """Whether it proposes or justifies containment."""
        return self.stands or self is ReasonState.ASKED


class HoldState(StrEnum):
    """The state of a hold."""

    IDLE = "idle"
    """No reason asks for it, or there is no target for it."""
    PROPOSED = "proposed"
    HELD = "held"
    """The command is issued; its answer says how far it is."""
    RELEASED = "released"
    """The command that takes it back is issued."""


class Goal(msgspec.Struct, frozen=True, array_like=True):
    """A version that may be rolled back to; of several the greatest is the best."""

    by_intel: bool
    signed: bool
    before: bool
    """It was seen before the component became part of the incident."""
    seen_ms: int
    digest: str
    version: str | None = None


class HoldReason(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="hold-reason"):
    """An incident's reason for the hold of one thing; the latest revision counts."""

    incident: str
    state: ReasonState
    revision: int
    spec: CommandSpec
    """The command it calls for."""
    goals: tuple[Goal, ...] = ()
    """For a rollback."""
    closed: bool = False
    """The incident is closed: what it contained stays until a person releases it."""
    by_person: bool = False
    """A person decided that it no longer holds."""
    retries: int = 0
    """How often a person asked to try again."""
    issued: bool = False
    """The command was issued before holds were kept: the hold adopts it unchanged."""
    why: str = ""
    """The worst of its findings, in a sentence."""
    findings: tuple[str, ...] = ()
    """The ids of the findings that justify it."""


class Suspicion(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="suspicion"):
    """Versions of a component to which nothing goes back while the incident's finding holds."""

    incident: str
    tenant: str
    component: str
    suspected: tuple[str, ...]
    """Digests, and versions behind an `@`."""
    revision: int


class HoldNotice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="hold-notice"):
    """What a hold reports to an incident that gave it a reason."""

    incident: str
    revision: int
    action: Action
    target: str
    tenant: str
    state: HoldState
    generation: int
    """That of the command in force, or of the next one."""
    command: CommandSpec | None = None
    """The command that was issued or proposed last; after a release, the one that reverses it."""
    status: int | None = None
    """The answer that counts, as an OpenC2 status."""
    status_text: str = ""
    answered_at: datetime | None = None
    expired: bool = False
    superseded: str | None = None
    """The last rollback that another one took the place of, since another version is due."""
    asks_again: bool = False
    """The version that a person approved for this incident is bad now: it asks again."""
    answers: int = 0
    """The revision of the incident's reason that the hold knows."""


class ReasonView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One incident's reason for a hold."""

    incident: str
    state: ReasonState
    closed: bool = False
    dry_run: bool = False
    why: str = ""
    """The worst of its findings, in a sentence."""
    findings: tuple[str, ...] = ()
    """The ids of the findings that justify it."""


class ThingView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One action on one thing, and its outcome."""

    action: Action
    target: str
    state: HoldState
    generation: int
    reasons: tuple[ReasonView, ...]
    command: CommandSpec | None = None
    status: int | None = None
    status_text: str = ""
    overflowed: bool = False
    """It has more reasons than are kept: only a person releases it."""


class HoldView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The holds of one component in one tenant."""

    tenant: str
    component: str
    things: tuple[ThingView, ...]
    suspected: tuple[str, ...] = ()
    """Digests, and versions behind an `@`, to which nothing goes back."""
    truncated: bool = False
    """Some requests are not kept."""


def hold_key(tenant: str, component: str) -> str:
    """Return the key of a hold's records: its partition is the only writer."""
    return f"{tenant}|{component}"
