"""Containment: which commands a finding calls for, in which order, and who may let them run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec

from agents.triage.routing import split_version
from schemas.canonical import stable_hash
from schemas.findings import Finding
from schemas.incidents.commands import UNDO, CommandSpec
from schemas.incidents.holds import HELD, Goal
from schemas.incidents.updates import KnownGood
from schemas.incidents.views import SystemView
from schemas.policy import Policy
from schemas.severity import Disposition, Severity
from schemas.taxonomy import taxonomy

CONTAIN_CONFIDENCE: Final = 0.75
AFTER: Final = 12
"""Captures of evidence that a command waits for: of its own component first."""
PATHS: Final = 16
"""Places of evidence that one command names."""
PATH_BYTES: Final = 512
GOALS: Final = 4
"""Versions to go back to that one incident tells a hold of."""
FINDINGS: Final = 4
"""Findings that a command names as its reason."""
_HELD: Final = frozenset({"model", "image", "dataset", "pypi"})
"""Kinds of component that lie somewhere and can be moved away."""
_SWITCHED: Final = frozenset({"model", "image", "service", "deployment"})
"""Kinds that something points to and that can be pointed elsewhere."""
_ALWAYS_BLOCKED: Final = ("sha256:", "domain:", "publisher:")
"""Of findings that contain: values that stand for nothing good beside what was found."""
_RUNNING: Final = frozenset({"pipeline", "service", "deployment"})
"""Kinds that are the tenant's own doing: stopped or switched, never blocked."""


class Ground(msgspec.Struct, frozen=True, kw_only=True):
    """A finding that may justify containment, as far as the plan asks."""

    id: str
    kind: str
    severity: Severity
    confidence: float
    indicator_key: str
    disposition: Disposition
    component: str
    version: str | None = None
    publisher: str | None = None
    guarded: bool = False

    @property
    def contains(self) -> bool:
        """Whether it is severe and sure enough to act on; guarded ones are only advised."""
        return (
            self.severity.rank >= Severity.HIGH.rank
            and self.confidence >= CONTAIN_CONFIDENCE
            and not self.guarded
        )

    @property
    def actions(self) -> frozenset[str]:
        """The OpenC2 actions its kind calls for (ioc_mapping)."""
        kind = taxonomy().ioc_types.get(self.kind)
        return frozenset(kind.openc2) if kind is not None else frozenset()


def ground_of(finding: Finding) -> Ground:
    """Return what the plan asks of a finding."""
    return Ground(
        id=finding.id,
        kind=finding.ioc_type,
        severity=finding.severity,
        confidence=finding.confidence,
        indicator_key=finding.indicator.key,
        disposition=finding.indicator.disposition,
        component=finding.component,
        version=finding.version,
        publisher=finding.publisher,
        guarded=finding.evidence.get("guarded") is True,
    )


def command_id(incident: str, tenant: str, action: str, target: str, generation: int = 0) -> str:
    """Return the id of a command: 36 characters in the shape of a UUID (version 5).

    The same for (incident, tenant, action, target, generation), on every replay. What contains is
    shared between incidents: its id names none.
    """
    digits = stable_hash("cmd", incident, tenant, action, target, str(generation))
    variant = "89ab"[int(digits[16], 16) % 4]
    return f"{digits[:8]}-{digits[8:12]}-5{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}"


def mode_of(action: str, policy: Policy, *, sure: bool) -> str:
    """Return automatic, proposal or advised: what the tenant's policy lets an action be.

    Args:
        action: The action.
        policy: The tenant's policy.
        sure: Whether a finding justifies acting at all; else it is advised at most.
    """
    if not sure or action in policy.advised:
        return "advised"
    return "automatic" if action in policy.automatic else "proposal"


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
    confidence of the findings, not from the incident's band, and only ever grows with them. Of an
    incident about a publisher only the publisher is blocked, what it could reach revoked and what
    would ingest it held: its hostile components have incidents of their own, and the others may
    be what they should be.

    Args:
        incident: Its id.
        tenant: The tenant.
        grounds: The findings that hold.
        systems: The tenant's affected systems.
        good: Versions that may be rolled back to.
        policy: The tenant's policy.
        generation: How often containment was lifted before: commands issued anew get new ids.
        held: The generations of holds that are not the first, by action and target.
    """
    severe = [one for one in grounds if one.severity.rank >= Severity.HIGH.rank]
    if not severe:
        return ()
    sure = any(one.contains for one in severe)
    firm = [one for one in severe if one.contains] or severe
    actions = frozenset().union(*(one.actions for one in firm))
    ids = tuple(sorted(one.id for one in firm))[:FINDINGS]
    best = min(firm, key=lambda one: (-one.severity.rank, -one.confidence, one.id))
    why = f"{best.kind} ({best.severity}, confidence {best.confidence:.2f}) at {best.indicator_key}"

    def command(
        action: str, target: str, target_type: str, *, mode: str | None = None, **more: object
    ) -> CommandSpec:
        if action in HELD:
            number = (held or {}).get(f"{action} {target}", 0)
            more = {**more, "hold": held_component(target), "generation": number}
            name = command_id("", tenant, action, target, number)
        else:
            name = command_id(incident, tenant, action, target, generation)
        return msgspec.convert(
            {
                "command_id": name,
                "incident": incident,
                "tenant": tenant,
                "action": action,
                "target": target,
                "target_type": target_type,
                "reason": why,
                "findings": ids,
                "undo": UNDO.get(action),
                "mode": mode or mode_of(action, policy, sure=sure),
                "dry_run": policy.dry_run,
                **more,
            },
            CommandSpec,
        )

    # Of the component itself always, since it is known before the systems are; then of those
    # that have it longest.
    listed = [(one.component, one.version, one.digest) for one in systems if not one.path]
    listed += [(one.component, one.version, _digest(one.indicator_key)) for one in firm]
    of_publisher = all(one.indicator_key.startswith("publisher:") for one in firm)
    components = {
        _target(*one): one[0]
        for one in listed
        if not of_publisher and not one[0].startswith(("sha256:", "publisher:", "elsewhere"))
    }
    # Evidence harms nobody: it is captured also where containment is only advised.
    keep = mode_of(
        "capture-evidence",
        policy,
        sure=any(one.confidence >= CONTAIN_CONFIDENCE for one in severe),
    )
    of_component = {
        target: command("capture-evidence", target, "component", mode=keep)
        for target in sorted(components)
    }
    by_time = [] if of_publisher else sorted(systems, key=lambda one: (one.since, one.system))
    of_system = {
        name: command(
            "capture-evidence",
            name,
            "system",
            system=name,
            paths=evidence_paths(policy, name),
            mode=keep,
        )
        for name in dict.fromkeys(one.system for one in by_time)
    }
    commands = [*of_component.values(), *of_system.values()]

    def first(component: str | None = None) -> tuple[str, ...]:
        """Return the captures of evidence to wait for: a component's own, or those of all."""
        own = [
            spec.command_id
            for target, spec in of_component.items()
            if component is None or components[target] == component
        ]
        own += [
            of_system[name].command_id
            for name in dict.fromkeys(
                one.system for one in by_time if component in {None, one.component}
            )
        ]
        return tuple(own[:AFTER])

    affected = [] if of_publisher else _affected(systems, firm)
    known = tuple(good)
    bad = {digest for _, _, digest in affected if digest}
    if "contain" in actions or "remediate" in actions:
        commands.extend(
            command(
                "quarantine",
                _target(component, version, digest),
                "component",
                version=version,
                digest=digest,
                after=first(component),
            )
            for component, version, digest in affected
            if component.partition(":")[0] in _HELD
        )
        commands.extend(
            _rollback(
                command,
                component,
                last_known_good(component, known, bad, _since(systems, component)),
                after=first(component),
                mode=mode_of("rollback", policy, sure=sure),
            )
            for component in sorted({component for component, _, _ in affected})
            if component.partition(":")[0] in _SWITCHED
        )
    if "deny" in actions or "contain" in actions:
        commands.extend(
            command(
                "block",
                target,
                "source",
                after=first(),
                mode=_block_mode(target, policy, sure=sure),
            )
            for target in _blocked(firm)
        )
    identities = sorted({one for system in systems for one in system.identities})
    commands.extend(
        command("revoke", identity, "identity", after=first())
        for identity in identities
        if "contain" in actions or "remediate" in actions
    )
    pipelines = sorted(
        {system.component for system in systems if system.component.startswith("pipeline:")}
    )
    commands.extend(
        command("hold-pipeline", pipeline, "pipeline", after=first()) for pipeline in pipelines
    )
    derived = sorted(
        {
            system.component
            for system in systems
            if system.path and system.component.startswith(("model:", "image:"))
        }
        if not of_publisher
        else ()
    )
    commands.extend(
        command("rebuild", target, "component", after=first(target)) for target in derived
    )
    return tuple(commands)


def evidence_paths(policy: Policy, system: str) -> tuple[str, ...]:
    """Return the places of a system that are captured: as many as a command can name."""
    named = policy.evidence.get(system, ())
    return tuple(one for one in named if len(one.encode("utf-8", "replace")) <= PATH_BYTES)[:PATHS]


def _target(component: str, version: str | None, digest: str | None) -> str:
    if component.partition(":")[0] in _RUNNING:
        return component
    if version is not None:
        return f"{component}@{version}"
    return component if digest is None else f"{component}#{digest}"


def _affected(
    systems: Sequence[SystemView], grounds: Sequence[Ground]
) -> list[tuple[str, str | None, str | None]]:
    """Return what is to be taken out of use: what systems hold, or what the findings name."""
    held: dict[str, tuple[str, str | None, str | None]] = {}
    listed = [(one.component, one.version, one.digest) for one in systems]
    listed += [(one.component, one.version, _digest(one.indicator_key)) for one in grounds]
    for one in sorted(listed, key=lambda entry: tuple(part or "" for part in entry)):
        if one[0].partition(":")[0] in _HELD | _SWITCHED:
            held[_target(*one)] = one  # the one with a digest sorts last
    return [held[target] for target in sorted(held)]


def _digest(key: str) -> str | None:
    return key[7:] if key.startswith("sha256:") else None


def _blocked(grounds: Sequence[Ground]) -> list[str]:
    """Return what must not come in again: the value itself, never a whole good name."""
    targets = {one.indicator_key for one in grounds if one.disposition is Disposition.BLOCK}
    targets.update(
        one.indicator_key
        for one in grounds
        if "deny" in one.actions or one.indicator_key.startswith(_ALWAYS_BLOCKED)
    )
    return sorted(one for one in targets if one.partition(":")[0] not in _RUNNING)


def _block_mode(target: str, policy: Policy, *, sure: bool) -> str:
    """Return the mode of a block: a person decides whether all of a publisher's work is refused."""
    mode = mode_of("block", policy, sure=sure)
    return "proposal" if mode == "automatic" and target.startswith("publisher:") else mode


def _since(systems: Sequence[SystemView], component: str) -> datetime | None:
    return min((one.since for one in systems if one.component == component), default=None)


def _rollback(
    command: Callable[..., CommandSpec],
    component: str,
    best: KnownGood | None,
    *,
    after: tuple[str, ...],
    mode: str,
) -> CommandSpec:
    if best is None:
        # The same id as the command that follows once a good version is known.
        why = f"no known-good version of {component} is known: choose one and verify"
        return command("rollback", component, "component", mode="advised", after=after, reason=why)
    return command(
        "rollback",
        component,
        "component",
        mode=mode,
        after=after,
        rollback_version=best.version,
        rollback_digest=best.digest,
    )


def last_known_good(
    component: str,
    good: Iterable[KnownGood],
    bad: frozenset[str] | set[str] = frozenset(),
    since: datetime | None = None,
) -> KnownGood | None:
    """Return the version to go back to: vouched for first, then signed, then seen before, latest.

    Which versions are candidates the ledger says: those that intelligence vouches for, that were
    pushed with a verified signature, or that the tenant had before the first bad one. What merely
    came later and has nothing known against it is none, and the ledger does not tell of it.

    Args:
        component: Its key.
        good: Candidates of any component, as the ledger told of them.
        bad: Digests that are part of the incident.
        since: When the component became part of the incident; None: not known.
    """
    candidates = [
        one
        for one in good
        if one.component == component and one.digest is not None and one.digest not in bad
    ]
    return max(
        candidates,
        key=lambda one: (
            one.by_intel,
            one.signed,
            since is not None and one.seen_at < since,
            one.seen_at,
            one.digest or "",
        ),
        default=None,
    )


def goals_of(
    component: str, good: Iterable[KnownGood], since: datetime | None = None
) -> tuple[Goal, ...]:
    """Return the versions that may be gone back to, the best first, as a hold compares them.

    Args:
        component: Its key.
        good: Candidates of any component, as the ledger told of them.
        since: When the component became part of the incident; None: not known.
    """
    goals = [
        Goal(
            by_intel=one.by_intel,
            signed=one.signed,
            before=since is not None and one.seen_at < since,
            seen_ms=round(one.seen_at.timestamp() * 1000),
            digest=one.digest,
            version=one.version,
        )
        for one in good
        if one.component == component and one.digest is not None
    ]
    order = sorted(
        goals, key=lambda one: (one.by_intel, one.signed, one.before, one.seen_ms, one.digest)
    )
    return tuple(order[::-1][:GOALS])


def held_component(target: str) -> str:
    """Return the component whose hold a target belongs to."""
    return split_version(target)[0].partition("#")[0]


def reversal(spec: CommandSpec, reason: str) -> CommandSpec | None:
    """Return the command that takes `spec` back, None where there is nothing to take back."""
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
