"""Containment: which commands findings call for, in which order, and who may approve them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec

from agents.triage.grounds import CONTAIN_CONFIDENCE, Ground
from agents.triage.rollback_targets import last_known_good
from agents.triage.routing import split_version
from schemas.canonical import stable_hash
from schemas.incidents.commands import UNDO, CommandSpec
from schemas.incidents.holds import HELD
from schemas.incidents.states import Action, Mode, TargetType
from schemas.incidents.updates import KnownGood
from schemas.incidents.views import SystemView
from schemas.policy import Policy
from schemas.severity import Disposition, Severity

REMEMBERED: Final = 2_048
"""Ids of commands that are cached: each is computed again with every step of a command."""
AFTER: Final = 12
"""Captures of evidence that a command waits for: of its own component first."""
PATHS: Final = 16
"""Paths of evidence that one command names."""
PATH_BYTES: Final = 512
FINDINGS: Final = 4
"""Findings that a command names as its reason."""
GENERATIONS: Final = 16
"""Earlier generations of a command whose ids decisions may still name."""
_TAKEN_OUT: Final = frozenset({"contain", "remediate"})
"""OpenC2 actions of findings that call for taking the component out of use."""
_STORED: Final = frozenset({"model", "image", "dataset", "pypi"})
"""Kinds of component that are stored somewhere and can be moved away."""
_SWITCHED: Final = frozenset({"model", "image", "service", "deployment"})
"""Kinds that are referred to and can be switched to another version."""
_ALWAYS_BLOCKED: Final = ("sha256:", "domain:", "publisher:")
"""Indicators whose findings lead to containment: values without any legitimate use."""
_RUNNING: Final = frozenset({"pipeline", "service", "deployment"})
"""Kinds that the tenant runs itself: stopped or switched, never blocked."""


_REASONS: Final = {
    Action.CAPTURE_EVIDENCE: "evidence of {target} is captured before it is touched",
    Action.INVESTIGATE: "other organisations report {target}, and Tidewatch has not established it",
    Action.REBUILD: "{target} was made from a component that has severe findings",
    Action.QUARANTINE: "{target} has severe findings",
    Action.ROLLBACK: "the version of {target} in use has severe findings",
    Action.BLOCK: "severe findings name {target}",
    Action.REVOKE: "a component that has severe findings could reach {target}",
    Action.HOLD_PIPELINE: "{target} uses a component that has severe findings",
}
"""The reason of a command, by action."""


@lru_cache(REMEMBERED)
def command_id(incident: str, tenant: str, action: str, target: str, generation: int = 0) -> str:
    """Return the id of a command: 36 characters in the shape of a UUID (version 5).

    The same for (incident, tenant, action, target, generation), on every replay. What contains is
    shared between incidents: its id names none.
    """
    digits = stable_hash("cmd", incident, tenant, action, target, str(generation))
    variant = "89ab"[int(digits[16], 16) % 4]
    return f"{digits[:8]}-{digits[8:12]}-5{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}"


def ids_of(spec: CommandSpec, incident: str, generation: int) -> dict[str, Action]:
    """Return the ids of a command and of its reversal in this and earlier generations.

    Args:
        spec: The command.
        incident: The incident that called for it.
        generation: The generation of the incident's part: that of a shared command is its hold's.
    """
    if spec.hold:
        incident, generation = "", spec.generation
    ids = {}
    for earlier in range(max(generation - GENERATIONS, 0), generation + 1):
        issued = command_id(incident, spec.tenant, spec.action, spec.target, earlier)
        ids[issued] = spec.action
        if spec.undo is not None:
            ids[command_id("", spec.tenant, spec.undo, issued)] = spec.undo
    return ids


def mode_of(action: Action, policy: Policy, *, sure: bool) -> Mode:
    """Return the mode that the tenant's policy gives an action: automatic, proposal or advised.

    Args:
        action: The action.
        policy: The tenant's policy.
        sure: Whether a finding justifies acting; otherwise it is at most advised.
    """
    if not sure or action in policy.advised:
        return Mode.ADVISED
    return Mode.AUTOMATIC if action in policy.automatic else Mode.PROPOSAL


class _Affected(NamedTuple):
    """A component that is to be taken out of use, as a system or a finding names it."""

    component: str
    version: str | None
    digest: str | None

    @property
    def kind(self) -> str:
        return self.component.partition(":")[0]

    @property
    def target(self) -> str:
        if self.kind in _RUNNING:
            return self.component
        if self.version is not None:
            return f"{self.component}@{self.version}"
        return self.component if self.digest is None else f"{self.component}#{self.digest}"


def plan(
    incident: str,
    tenant: str,
    grounds: Sequence[Ground],
    systems: Sequence[SystemView],
    good: Iterable[KnownGood],
    policy: Policy,
    *,
    generation: int = 0,
    held: Mapping[str, int] | None = None,
) -> tuple[CommandSpec, ...]:
    """Return the commands that an incident calls for in one tenant.

    Evidence is captured before anything else touches a system. The plan follows from severity and
    confidence of the findings, not from the incident's band, and only ever grows with them. An
    incident about a publisher blocks only the publisher, revokes its identities and holds the
    pipelines that would ingest from it: its hostile components have incidents of their own, and its
    other components may be legitimate.

    Args:
        incident: Its id.
        tenant: The tenant.
        grounds: The findings that hold.
        systems: The tenant's affected systems.
        good: Versions that may be rolled back to.
        policy: The tenant's policy.
        generation: How often containment was lifted before: reissued commands get new ids.
        held: The generations of holds that are not the first, by action and target.
    """
    severe = [ground for ground in grounds if ground.severity.rank >= Severity.HIGH.rank]
    if not severe:
        return ()
    planner = _Planner(incident, tenant, severe, systems, tuple(good), policy, generation, held)
    return planner.commands()


class _Planner:
    """Builds the commands of one tenant's part, evidence first."""

    def __init__(
        self,
        incident: str,
        tenant: str,
        severe: Sequence[Ground],
        systems: Sequence[SystemView],
        good: tuple[KnownGood, ...],
        policy: Policy,
        generation: int,
        held: Mapping[str, int] | None,
    ) -> None:
        self._incident = incident
        self._tenant = tenant
        self._systems = systems
        self._good = good
        self._policy = policy
        self._generation = generation
        self._held = held or {}
        self._sure = any(ground.contains for ground in severe)
        # Capturing evidence is harmless: it is done even where containment is only advised.
        self._evidence_mode = mode_of(
            Action.CAPTURE_EVIDENCE,
            policy,
            sure=any(ground.confidence >= CONTAIN_CONFIDENCE for ground in severe),
        )
        self._firm = [ground for ground in severe if ground.contains] or list(severe)
        self._calls = frozenset().union(*(ground.actions for ground in self._firm))
        self._of_publisher = all(
            ground.indicator_key.startswith("publisher:") for ground in self._firm
        )
        self._findings = tuple(sorted(ground.id for ground in self._firm))[:FINDINGS]
        best = min(
            self._firm, key=lambda ground: (-ground.severity.rank, -ground.confidence, ground.id)
        )
        self._reason = (
            f"{best.kind.replace('_', ' ')} ({best.severity}, confidence {best.confidence:.2f}) "
            f"at {best.indicator_key}"
        )
        # Systems that have held it longest come first.
        self._by_time = (
            []
            if self._of_publisher
            else sorted(systems, key=lambda system: (system.since, system.system))
        )
        self._captured = self._components()
        self._affected = self._find_affected()
        self._of_component: dict[str, CommandSpec] = {}
        """Captures of evidence of components, by target."""
        self._of_system: dict[str, CommandSpec] = {}

    def commands(self) -> tuple[CommandSpec, ...]:
        """Return all commands, those that capture evidence first."""
        return (
            *self._captures(),
            *self._quarantines(),
            *self._rollbacks(),
            *self._blocks(),
            *self._revocations(),
            *self._held_pipelines(),
            *self._rebuilds(),
        )

    def _command(
        self,
        action: Action,
        target: str,
        target_type: TargetType,
        *,
        mode: Mode | None = None,
        after: tuple[str, ...] = (),
        affected: _Affected | None = None,
        system: str | None = None,
        paths: tuple[str, ...] = (),
        goal: KnownGood | None = None,
        reason: str | None = None,
    ) -> CommandSpec:
        number = self._held.get(f"{action} {target}", 0)
        shared = action in HELD
        return CommandSpec(
            command_id=command_id("", self._tenant, action, target, number)
            if shared
            else command_id(self._incident, self._tenant, action, target, self._generation),
            incident=self._incident,
            tenant=self._tenant,
            action=action,
            target=target,
            target_type=target_type,
            system=system,
            version=affected.version if affected else None,
            digest=affected.digest if affected else None,
            rollback_version=goal.version if goal else None,
            rollback_digest=goal.digest if goal else None,
            paths=paths,
            after=after,
            reason=reason or self._reason,
            findings=self._findings,
            undo=UNDO.get(action),
            mode=mode or mode_of(action, self._policy, sure=self._sure),
            dry_run=self._policy.dry_run,
            hold=held_component(target) if shared else "",
            generation=number if shared else 0,
        )

    # -- evidence ----------------------------------------------------------------------------------

    def _components(self) -> dict[str, str]:
        """Return the components whose evidence is captured, by target.

        The component itself always is, since it is known before its systems are.
        """
        if self._of_publisher:
            return {}
        return {
            affected.target: affected.component
            for affected in _named(
                [system for system in self._systems if not system.path], self._firm
            )
            if not affected.component.startswith(("sha256:", "publisher:", "elsewhere"))
        }

    def _captures(self) -> Iterator[CommandSpec]:
        for target in sorted(self._captured):
            self._of_component[target] = self._command(
                Action.CAPTURE_EVIDENCE, target, TargetType.COMPONENT, mode=self._evidence_mode
            )
        for name in dict.fromkeys(system.system for system in self._by_time):
            self._of_system[name] = self._command(
                Action.CAPTURE_EVIDENCE,
                name,
                TargetType.SYSTEM,
                mode=self._evidence_mode,
                system=name,
                paths=evidence_paths(self._policy, name),
            )
        yield from self._of_component.values()
        yield from self._of_system.values()

    def _evidence(self, component: str | None = None) -> tuple[str, ...]:
        """Return the captures to wait for: those of one component, or all."""
        captures = [
            spec.command_id
            for target, spec in self._of_component.items()
            if component is None or self._captured[target] == component
        ]
        systems = dict.fromkeys(
            system.system for system in self._by_time if component in {None, system.component}
        )
        captures += [self._of_system[name].command_id for name in systems]
        return tuple(captures[:AFTER])

    # -- containment -------------------------------------------------------------------------------

    def _find_affected(self) -> list[_Affected]:
        """Return the components to take out of use: held by systems, or named by findings."""
        if self._of_publisher or not self._calls & _TAKEN_OUT:
            return []
        by_target: dict[str, _Affected] = {}
        # The last entry for a target wins: a system reports the digest of the whole component, a
        # finding that of the file it is in.
        for named in (_named((), self._firm), _named(self._systems, ())):
            for affected in sorted(named, key=lambda affected: affected.digest or ""):
                known = by_target.get(affected.target)
                if affected.kind in _STORED | _SWITCHED and (known is None or affected.digest):
                    by_target[affected.target] = affected
        return [by_target[target] for target in sorted(by_target)]

    def _quarantines(self) -> Iterator[CommandSpec]:
        for affected in self._affected:
            if affected.kind in _STORED:
                yield self._command(
                    Action.QUARANTINE,
                    affected.target,
                    TargetType.COMPONENT,
                    affected=affected,
                    after=self._evidence(affected.component),
                )

    def _rollbacks(self) -> Iterator[CommandSpec]:
        bad = {affected.digest for affected in self._affected if affected.digest}
        components = {
            affected.component for affected in self._affected if affected.kind in _SWITCHED
        }
        for component in sorted(components):
            since = min(
                (system.since for system in self._systems if system.component == component),
                default=None,
            )
            goal = last_known_good(component, self._good, bad, since)
            # Without a target version, the id is that of the command issued once a good one is
            # known.
            yield self._command(
                Action.ROLLBACK,
                component,
                TargetType.COMPONENT,
                mode=Mode.ADVISED if goal is None else None,
                after=self._evidence(component),
                goal=goal,
                reason=no_goal(component) if goal is None else None,
            )

    def _blocks(self) -> Iterator[CommandSpec]:
        if not self._calls & {"deny", "contain"}:
            return
        for target in _blocked(self._firm):
            mode = mode_of(Action.BLOCK, self._policy, sure=self._sure)
            if mode is Mode.AUTOMATIC and target.startswith("publisher:"):
                # A person decides whether to refuse everything from a publisher.
                mode = Mode.PROPOSAL
            yield self._command(
                Action.BLOCK, target, TargetType.SOURCE, mode=mode, after=self._evidence()
            )

    def _revocations(self) -> Iterator[CommandSpec]:
        if not self._calls & _TAKEN_OUT:
            return
        for identity in sorted({name for system in self._systems for name in system.identities}):
            yield self._command(
                Action.REVOKE, identity, TargetType.IDENTITY, after=self._evidence()
            )

    def _held_pipelines(self) -> Iterator[CommandSpec]:
        components = {system.component for system in self._systems}
        for pipeline in sorted(name for name in components if name.startswith("pipeline:")):
            yield self._command(
                Action.HOLD_PIPELINE, pipeline, TargetType.PIPELINE, after=self._evidence()
            )

    def _rebuilds(self) -> Iterator[CommandSpec]:
        if self._of_publisher:
            return
        derived = {
            system.component
            for system in self._systems
            if system.path and system.component.startswith(("model:", "image:"))
        }
        for target in sorted(derived):
            yield self._command(
                Action.REBUILD, target, TargetType.COMPONENT, after=self._evidence(target)
            )


def as_published(spec: CommandSpec) -> CommandSpec:
    """Return a planned command as its record states it.

    A command is issued once, for the first of its findings, and its record must not depend on which
    arrived first. Its reason therefore follows from the action and the target, and names where the
    findings are listed: the record of the hold, or of the incident.
    """
    listed = f"the hold of {spec.hold}" if spec.hold else f"incident {spec.incident}"
    what = _REASONS[spec.action].format(target=spec.target)
    is_advice = spec.action is Action.ROLLBACK and spec.rollback_digest is None
    return msgspec.structs.replace(
        spec, findings=(), reason=spec.reason if is_advice else f"{what}: see {listed}"
    )


def no_goal(component: str) -> str:
    """Return the reason of a rollback that names no version to roll back to."""
    return f"{component} has no known-good version: choose one and verify"


def _named(systems: Iterable[SystemView], grounds: Iterable[Ground]) -> list[_Affected]:
    return [
        *(_Affected(system.component, system.version, system.digest) for system in systems),
        *(_Affected(*_version_in(ground), digest_in(ground.indicator_key)) for ground in grounds),
    ]


def _version_in(ground: Ground) -> tuple[str, str | None]:
    """Return component and version of a finding; a finding about the root names both in one key."""
    component, version = split_version(ground.component)
    return (component, version) if ground.version is None else (ground.component, ground.version)


def digest_in(key: str) -> str | None:
    """Return the digest that an indicator key names, None if it names none."""
    return key[7:] if key.startswith("sha256:") else None


def evidence_paths(policy: Policy, system: str) -> tuple[str, ...]:
    """Return the paths of a system that are captured: as many as a command can name."""
    named = policy.evidence.get(system, ())
    return tuple(path for path in named if len(path.encode("utf-8", "replace")) <= PATH_BYTES)[
        :PATHS
    ]


def _blocked(grounds: Sequence[Ground]) -> list[str]:
    """Return what to block: the value itself, never all of a legitimate name."""
    targets = {
        ground.indicator_key
        for ground in grounds
        if ground.disposition is Disposition.BLOCK
        or "deny" in ground.actions
        or ground.indicator_key.startswith(_ALWAYS_BLOCKED)
    }
    return sorted(target for target in targets if target.partition(":")[0] not in _RUNNING)


def held_component(target: str) -> str:
    """Return the component whose hold covers a target."""
    return split_version(target)[0].partition("#")[0]


def reversal(spec: CommandSpec, reason: str) -> CommandSpec | None:
    """Return the command that reverses `spec`, None if there is nothing to reverse."""
    if spec.undo is None or spec.undoes is not None:
        return None
    return msgspec.structs.replace(
        spec,
        command_id=command_id("", spec.tenant, spec.undo, spec.command_id),
        action=spec.undo,
        undo=None,
        undoes=spec.command_id,
        after=(),
        replaces=None,
        reason=reason,
        expires=None,
        attempt=1,
    )
