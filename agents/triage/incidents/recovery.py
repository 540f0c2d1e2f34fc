"""Eradication and recovery: the tasks on each affected system, and the evidence of completion."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final

import msgspec

from agents.checks.pipelines.sources import blocks
from agents.triage.grounds import Ground
from agents.triage.incidents.rows import CommandState, Entry
from agents.triage.ledger.rows import to_ms
from schemas.canonical import stable_id
from schemas.decisions import Decision, DecisionKind
from schemas.incidents.states import Action, CommandStatus, TaskKind, TaskState
from schemas.incidents.updates import CHECKED, KnownGood, Proof
from schemas.incidents.views import TaskView
from schemas.policy import Policy
from schemas.severity import Severity

REMEMBERED: Final = 1_024
"""Ids of tasks that are cached: a part needs them with each record about it."""
ON_SYSTEMS: Final = frozenset(
    {TaskKind.REPLACE, TaskKind.REBUILD, TaskKind.RETRAIN, TaskKind.EVALUATE}
)
"""Kinds of task whose completion means that recovery is under way."""
_AWAITED: Final = frozenset(
    {
        CommandStatus.PROPOSED,
        CommandStatus.ISSUED,
        CommandStatus.WORKING,
        CommandStatus.FAILED,
    }
)
"""States of a command that may still succeed."""
SIGNATURE: Final = "signature"
"""The name of the check that a verified signature passes."""
ENTRY_POINT: Final = "entry_point"
"""The name in `required_checks` that keeps incidents open until the entry point is closed."""
_WAYS_IN: Final = {
    "pypi": "install from a lock with hashes, from trusted indexes only, or block the source",
    "model": "load it by its digest from a trusted source, or block the source",
    "dataset": "pin it by its digest, from a trusted host, or block the source",
    "image": "pull it by its digest from a trusted registry, or block the source",
    "pipeline": "run it with its configuration at the expected hash, from version control",
    "service": "deploy it by the digest of what it serves",
    "deployment": "deploy it by the digest of what it serves",
}
"""Entry points of components, and how to close them."""
_CONFIGURED: Final = frozenset({"pypi", "pipeline"})
"""Kinds for which a later clean event with a digest shows that the entry point is closed: an
install pinned to a version and hash, or a run with the configuration at a hash."""
_VERBS: Final = {
    TaskKind.REPLACE: "replace it with a clean version",
    TaskKind.REBUILD: "rebuild it from clean inputs",
    TaskKind.RETRAIN: "retrain it from clean data and base models",
}


class Recovery(msgspec.Struct, frozen=True, kw_only=True):
    """The inputs of one tenant's recovery tasks."""

    incident: str
    tenant: str
    entries: Sequence[Entry]
    """The active entries of systems."""
    proofs: Sequence[Proof]
    commands: Sequence[CommandState]
    decisions: Sequence[Decision]
    """By time."""
    grounds: Sequence[Ground]
    policy: Policy
    good: Sequence[KnownGood] = ()
    """Rollback targets."""


def recovery_tasks(part: Recovery) -> list[TaskView]:
    """Return the tasks of a tenant's part, and which of them later events completed.

    For each affected system: replace, rebuild or retrain; for severe findings, the entry point;
    each identity to rotate; each check that the policy requires, completed by an evaluation of that
    name or by a replacement of the component that passed the check.
    """
    places: dict[tuple[str, str], list[Entry]] = {}
    for entry in part.entries:
        places.setdefault((entry.system, entry.component), []).append(entry)
    tasks = [
        _replacement(part, holding, held)
        for holding, held in sorted(
            places.items(), key=lambda item: (min(entry.first_ms for entry in item[1]), item[0])
        )
    ]
    tasks.extend(_rotations(part))
    tasks.extend(_entry_points(part))
    if tasks:
        last_bad = max((entry.last_ms for entry in part.entries), default=0)
        tasks.extend(
            _task(part, TaskKind.EVALUATE, "", check, _passed(part, places, check, last_bad), check)
            for check in part.policy.required_checks
            if check != ENTRY_POINT
        )
    return tasks


def recovered(tasks: Sequence[TaskView], commands: Iterable[CommandState], policy: Policy) -> bool:
    """Return whether every task is done: recovery is verified, not declared.

    An open entry point keeps the incident open while something can show it closed: the policy
    requires it (`entry_point`), or a blocking command is proposed or under way. Otherwise the task
    is advice, and nothing waits for it.
    """
    if not tasks or any(
        task.state is not TaskState.DONE and task.kind is not TaskKind.PATCH for task in tasks
    ):
        return False
    if all(task.state is TaskState.DONE for task in tasks):
        return True
    awaited = any(
        command.spec.action is Action.BLOCK
        and not command.spec.dry_run
        and command.state() in _AWAITED
        for command in commands
    )
    return ENTRY_POINT not in policy.required_checks and not awaited


def _task(
    part: Recovery, kind: TaskKind, system: str, component: str, proof: str | None, *names: str
) -> TaskView:
    match kind:
        case TaskKind.ROTATE:
            text = f"rotate {component}: a component with access to it was compromised"
        case TaskKind.EVALUATE:
            text = f"report the result of {component}"
        case TaskKind.PATCH:
            way_in = _WAYS_IN.get(_kind(component), "")
            text = f"patch the entry point of {system}: {way_in}"
        case _:
            text = f"{component} on {system}: {_VERBS[kind]}"
    return TaskView(
        id=_task_id(part.incident, part.tenant, kind, *names),
        tenant=part.tenant,
        system=system,
        component=component,
        kind=kind,
        state=TaskState.OPEN if proof is None else TaskState.DONE,
        text=text,
        proof=proof,
    )


@lru_cache(REMEMBERED)
def _task_id(incident: str, tenant: str, kind: TaskKind, *names: str) -> str:
    return stable_id("tsk", incident, tenant, kind, *names)


def _kind(component: str) -> str:
    return component.partition(":")[0]


def _replacement(part: Recovery, place: tuple[str, str], held: list[Entry]) -> TaskView:
    system, component = place
    kind = TaskKind.REPLACE
    if any(entry.path for entry in held):
        # Its inputs are tainted: retrain on data or a base model, rebuild otherwise.
        kind = TaskKind.RETRAIN if component.startswith("model:") else TaskKind.REBUILD
    last_bad = max(entry.last_ms for entry in held)
    latest = _latest_clean(part, system, component, held)
    proven = latest is not None and to_ms(latest.occurred_at) > last_bad
    task = _task(part, kind, system, component, None, system, component)
    proof = latest.event_id if proven and latest else _evaluated(part, {task.id}, last_bad)
    state = TaskState.OPEN
    if proof is not None:
        state = TaskState.DONE
    elif latest is not None or _was_done(part, task.id):
        state = TaskState.RECURRED
    return msgspec.structs.replace(task, state=state, proof=proof)


def _latest_clean(
    part: Recovery, system: str, component: str, held: Iterable[Entry]
) -> Proof | None:
    bad = {(entry.version, entry.digest) for entry in held}
    bad_digests = {entry.digest for entry in held if entry.digest}
    clean = [
        proof
        for proof in part.proofs
        if (proof.system, proof.component) == (system, component)
        and proof.kind != CHECKED
        and (proof.version, proof.digest) not in bad
        and proof.digest not in bad_digests
    ]
    return max(clean, key=lambda proof: (proof.occurred_at, proof.event_id), default=None)


def _rotations(part: Recovery) -> Iterable[TaskView]:
    revoked = {
        command.spec.target: command.spec.command_id
        for command in part.commands
        if command.spec.action is Action.REVOKE and command.state() is CommandStatus.DONE
    }
    for identity in sorted({identity for entry in part.entries for identity in entry.identities}):
        task = _task(part, TaskKind.ROTATE, "", identity, None, identity)
        proof = revoked.get(identity) or _evaluated(part, {task.id, identity}, 0)
        state = TaskState.OPEN if proof is None else TaskState.DONE
        yield msgspec.structs.replace(task, state=state, proof=proof)


# -- entry points ----------------------------------------------------------------------------------


def _entry_points(part: Recovery) -> Iterable[TaskView]:
    """Yield a task for each system that a severe component reached directly, not by derivation."""
    if not any(ground.severity.rank >= Severity.HIGH.rank for ground in part.grounds):
        return
    came: dict[str, list[Entry]] = {}
    for entry in part.entries:
        if not entry.path and _kind(entry.component) in _WAYS_IN:
            came.setdefault(entry.system, []).append(entry)
    if not came:
        return
    shut = _shut_for_all(part)
    for system, held in sorted(
        came.items(), key=lambda item: (min(entry.first_ms for entry in item[1]), item[0])
    ):
        first = min(held, key=lambda entry: (entry.first_ms, entry.component))
        task = _task(part, TaskKind.PATCH, system, first.component, None, system)
        last_bad = max(entry.last_ms for entry in held)
        targets = {task.id, ENTRY_POINT}
        proof = shut or _shut_since(part, system, held) or _evaluated(part, targets, last_bad)
        state = TaskState.OPEN if proof is None else TaskState.DONE
        yield msgspec.structs.replace(task, state=state, proof=proof)


def _shut_for_all(part: Recovery) -> str | None:
    """Return what blocks the component everywhere: the policy or a command."""
    keys = {ground.indicator_key for ground in part.grounds}
    keys |= {ground.publisher for ground in part.grounds if ground.publisher}
    for entry in part.entries:
        keys |= {entry.component, f"{entry.component}@{entry.version}", entry.publisher or ""}
        keys |= {f"sha256:{entry.digest}"} if entry.digest else set()
        keys |= {entry.origin, f"domain:{entry.origin}"} if entry.origin else set()
    named = sorted(key for key in keys if key)
    for blocked in part.policy.blocked_sources:
        if blocks(blocked, named):
            return f"policy: blocked_sources has {blocked}"[:200]
    done = sorted(
        command.spec.command_id
        for command in part.commands
        if command.spec.action is Action.BLOCK
        and not command.spec.dry_run
        and command.state() is CommandStatus.DONE
    )
    return done[0] if done else None


def _shut_since(part: Recovery, system: str, held: Iterable[Entry]) -> str | None:
    """Return a later install pinned to version and hash, or run at a hash, of the component."""
    of_component: dict[str, list[Entry]] = {}
    for entry in held:
        of_component.setdefault(entry.component, []).append(entry)
    shown: list[str] = []
    for component, entries in sorted(of_component.items()):
        latest = _latest_clean(part, system, component, entries)
        if (
            _kind(component) not in _CONFIGURED
            or latest is None
            or latest.digest is None
            or to_ms(latest.occurred_at) <= max(entry.last_ms for entry in entries)
        ):
            return None
        shown.append(latest.event_id)
    return shown[0]


# -- required checks and evaluations ---------------------------------------------------------------


def _passed(
    part: Recovery, places: Mapping[tuple[str, str], list[Entry]], check: str, after_ms: int
) -> str | None:
    """Return what shows that a required check is passed: the later of evaluation and event.

    Events pass it if one of the versions now in place passed it, and none failed it.
    """
    evaluation = _evaluation(part, {check}, after_ms)
    shown = _shown(part, places, check)
    if evaluation is not None and (
        evaluation.passed or shown is None or evaluation.time >= shown.occurred_at
    ):
        return evaluation.id if evaluation.passed else None
    return shown.event_id if shown is not None else None


def _shown(
    part: Recovery, places: Mapping[tuple[str, str], list[Entry]], check: str
) -> Proof | None:
    shown: list[Proof] = []
    for (system, component), held in places.items():
        latest = _latest_clean(part, system, component, held)
        if latest is None or to_ms(latest.occurred_at) <= max(entry.last_ms for entry in held):
            continue
        same = [proof for proof in part.proofs if _is_same(proof, latest)]
        if passed := [proof for proof in same if check in proof.passed]:
            shown += passed
        elif check == SIGNATURE and any(
            version.signed and _is_same(version, latest) for version in part.good
        ):
            shown.append(latest)
        elif any(check in proof.not_passed for proof in same):
            return None
    return max(shown, key=lambda proof: (proof.occurred_at, proof.event_id), default=None)


def _is_same(known: Proof | KnownGood, other: Proof) -> bool:
    return known.component == other.component and (
        known.digest == other.digest
        if known.digest is not None and other.digest is not None
        else known.version is not None and known.version == other.version
    )


def _evaluated(part: Recovery, targets: set[str], after_ms: int) -> str | None:
    """Return the id of the last passed evaluation of one of the targets, None if it failed."""
    last = _evaluation(part, targets, after_ms)
    return last.id if last is not None and last.passed else None


def _evaluation(part: Recovery, targets: set[str], after_ms: int) -> Decision | None:
    last = None
    for decision in part.decisions:
        if (
            decision.decision is DecisionKind.EVALUATION
            and decision.target in targets
            and to_ms(decision.time) > after_ms
        ):
            last = decision
    return last


def _was_done(part: Recovery, task_id: str) -> bool:
    return any(
        decision.decision is DecisionKind.EVALUATION
        and decision.target == task_id
        and decision.passed
        for decision in part.decisions
    )
