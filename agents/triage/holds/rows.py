"""The rows of a hold: a tenant's component, with reasons and state for each action and target."""

from __future__ import annotations

from typing import Final

import msgspec

from schemas.incidents.commands import CommandSpec
from schemas.incidents.holds import Goal, HoldState, ReasonState
from schemas.incidents.states import Action

ATTEMPTS: Final = 5
"""How often a command is issued before it is escalated to a person."""
THINGS: Final = 256
"""The most actions on versions of one component in one tenant."""
OK: Final = 200
"""OpenC2's status of a command that succeeded."""


class Reason(msgspec.Struct, array_like=True):
    """One incident's reason."""

    incident: str
    state: ReasonState
    revision: int
    spec: CommandSpec
    goals: tuple[Goal, ...] = ()
    closed: bool = False
    retries: int = 0
    issued: bool = False
    """Its command was issued before holds were kept."""
    why: str = ""
    findings: tuple[str, ...] = ()
    void: bool = False
    """Whether the version that a person approved going back to is bad now: it asks again."""

    @property
    def calls(self) -> bool:
        """Whether it proposes or justifies containment."""
        return self.state.calls


class Thing(msgspec.Struct, array_like=True):
    """One action on one target: its reasons and its progress."""

    action: Action
    target: str
    reasons: dict[str, Reason] = msgspec.field(default_factory=dict)
    """By incident."""
    state: HoldState = HoldState.IDLE
    generation: int = 0
    """The generation of the command in force, or of the next one."""
    command: CommandSpec | None = None
    """The containing command, as it was last proposed or issued."""
    release: CommandSpec | None = None
    given_up: CommandSpec | None = None
    """A rollback whose version is no longer the one to go back to, if nothing replaced it."""
    results: dict[str, tuple[str, int, int, str]] = msgspec.field(default_factory=dict)
    """Command, time, OpenC2 status and text, by rank of the result's id."""
    next_ms: int = 0
    expires_ms: int = 0
    last_attempt: int = ATTEMPTS
    expired: bool = False
    escalated: bool = False
    retried: int = 0
    overflowed: bool = False
    """Whether it has more reasons than are kept: only a person releases it."""
    published: str = ""
    """The hash of the last notice sent to its incidents."""
    superseded: str | None = None
    """The last rollback that was abandoned, since another version is the one to go back to."""
    incident: str = ""
    """The incident whose reason the command of this generation names, as long as it remains."""
    others: dict[str, CommandSpec] = msgspec.field(default_factory=dict)
    """Further commands from before holds were kept, by id: released with it."""

    @property
    def key(self) -> str:
        """Its key among the things of the component."""
        return thing_key(self.action, self.target)

    @property
    def in_force(self) -> CommandSpec | None:
        """The command that waits for an answer, or has it."""
        if self.state is HoldState.RELEASED:
            return self.release
        return self.command if self.state is HoldState.HELD else None

    def answer(self) -> tuple[int, int, str] | None:
        """Return time, status and text of the decisive answer: a success, else the last."""
        spec = self.in_force
        answers = [
            result[1:] for result in self.results.values() if spec and result[0] == spec.command_id
        ]
        return max(answers, key=lambda answer: (answer[1] == OK, answer), default=None)

    @property
    def is_done(self) -> bool:
        """Whether the command in force succeeded."""
        answer = self.answer()
        return answer is not None and answer[1] == OK

    @property
    def is_forgettable(self) -> bool:
        """Whether nothing was issued and no reason requires it: there is no id to keep."""
        return (
            self.state is HoldState.IDLE
            and not self.generation
            and not self.overflowed
            and self.given_up is None
            and not any(reason.calls for reason in self.reasons.values())
        )

    @property
    def calls_for_real(self) -> bool:
        """Whether a reason calls for more than a dry run."""
        return any(reason.calls and not reason.spec.dry_run for reason in self.reasons.values())

    def standing(self) -> list[Reason]:
        """Return the reasons that justify containment, by incident.

        Dry runs are among them only if no reason calls for more.
        """
        return [reason for reason in self._weighed() if reason.state.stands and not reason.void]

    def asked(self) -> list[Reason]:
        """Return the reasons that wait for a person, by incident, with dry runs as above."""
        return [
            reason for reason in self._weighed() if reason.state is ReasonState.ASKED or reason.void
        ]

    def _weighed(self) -> list[Reason]:
        real = self.calls_for_real
        # The evidence that a dry run waits for is not captured, so it is never mixed with others.
        return [
            reason
            for _, reason in sorted(self.reasons.items())
            if not (real and reason.spec.dry_run)
        ]


class Suspects(msgspec.Struct, array_like=True):
    """Versions of the component that one incident suspects."""

    revision: int
    names: tuple[str, ...] = ()
    """Digests, and versions behind an `@`."""
    truncated: bool = False
    """Whether there are more than are kept."""


class HoldRow(msgspec.Struct, array_like=True):
    """What concerns a tenant's component as a whole."""

    tenant: str
    component: str
    revision: int = 0
    """The number of processed records: the revision of the published view."""
    suspicions: dict[str, Suspects] = msgspec.field(default_factory=dict)
    """By incident."""
    suspicions_overflowed: bool = False
    """Whether more incidents suspect versions than are kept."""
    things_overflowed: bool = False
    """Whether more actions are called for than are kept."""
    published: str = ""
    """The hash of the record on the topic of holds."""


class Hold(msgspec.Struct):
    """A tenant's component with all its holds."""

    row: HoldRow
    things: dict[str, Thing] = msgspec.field(default_factory=dict)

    @property
    def suspects_everything(self) -> bool:
        """Whether more versions are suspected than are kept: only a person goes back to one."""
        return self.row.suspicions_overflowed or any(
            suspects.truncated for suspects in self.row.suspicions.values()
        )

    @property
    def is_forgettable(self) -> bool:
        """Whether nothing is held and no version is suspected."""
        suspected = any(suspects.names for suspects in self.row.suspicions.values())
        return not (self.things or suspected or self.row.things_overflowed or self.row.published)


class Effects(msgspec.Struct):
    """The results of a step."""

    commands: list[tuple[CommandSpec, bool]] = msgspec.field(default_factory=list)
    """Commands, each with whether it is only proposed."""
    escalations: list[tuple[CommandSpec, str]] = msgspec.field(default_factory=list)


def thing_key(action: str, target: str) -> str:
    """Return the key of an action on a target."""
    return f"{action} {target}"
