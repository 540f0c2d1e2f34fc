"""Carry out containment commands: each once, in order, for configured tenants only."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final

import msgspec

from agents.logs import Logger
from agents.response import blocklist, evidence, hooks, mlflow_registry, store
from agents.response.action_context import ActionContext
from agents.response.config import ResponderConfig
from agents.response.journal import Answered, ResponseJournal
from agents.response.outcome import (
    BAD,
    FAILED,
    OK,
    REFUSED,
    UNSUPPORTED,
    WORKING,
    CommandOutcome,
    NotCarriedOutError,
)
from schemas.counting import counted
from schemas.incidents.commands import UNDO, CommandSpec
from schemas.incidents.states import Mode

log = Logger()

MAX_AFTER: Final = 256
"""Most commands that a command may wait for."""
TAKEN_BACK: Final = "taken back by"
_ID: Final = re.compile(r"[A-Za-z0-9-]{1,36}")
Action = Callable[[ActionContext], CommandOutcome]
_IN_STORE: Final[Mapping[str, Action]] = {
    "quarantine": store.quarantine,
    "restore": store.restore,
    "rollback": store.rollback,
    "roll-forward": store.roll_forward,
}
_IN_MLFLOW: Final[Mapping[str, Action]] = {
    "quarantine": mlflow_registry.quarantine,
    "restore": mlflow_registry.restore,
    "rollback": mlflow_registry.rollback,
    "roll-forward": mlflow_registry.roll_forward,
}
_ELSEWHERE: Final[Mapping[str, Action]] = {
    "capture-evidence": evidence.capture,
    "block": blocklist.block,
    "unblock": blocklist.unblock,
}


def carry_out(
    spec: CommandSpec, config: ResponderConfig, journal: ResponseJournal, now: datetime
) -> Answered:
    """Carry out a command, or return why not.

    Safe to repeat: an attempt with an outcome keeps it, and a command that succeeded is not
    carried out again. Safe to kill: the next run finishes what was started.

    Args:
        spec: The command; the caller has verified its signature.
        config: The configuration of the responder.
        journal: The journal of the responder.
        now: The current time.

    Returns:
        The outcome and its time. Status 102: the command waits for others; call again later. This
        status alone is not recorded.
    """
    earlier = journal.answer(spec.command_id, spec.attempt)
    if earlier is not None:
        return earlier
    outcome = _outcome(spec, config, journal, now)
    if outcome.status == WORKING:
        return Answered(at=now, outcome=outcome, dry_run=spec.dry_run)
    if spec.dry_run:
        outcome = msgspec.structs.replace(outcome, results={**outcome.results, "dry_run": True})
    log.info(
        "command-answered",
        command=spec.command_id,
        action=spec.action,
        attempt=spec.attempt,
        tenant=spec.tenant,
        status=outcome.status,
    )
    return journal.finish(spec.command_id, spec.attempt, outcome, now, dry_run=spec.dry_run)


def preview(
    spec: CommandSpec, config: ResponderConfig, journal: ResponseJournal, now: datetime
) -> CommandOutcome:
    """Return the outcome that a command would have now; change and record nothing."""
    try:
        if journal.success(spec.command_id) is not None:
            return CommandOutcome(status=OK, status_text="carried out already")
        _check(spec, config)
        _check_time(spec, now)
        dry = msgspec.structs.replace(spec, dry_run=True, after=())
        return _act(_work(dry, config, journal, now), now)
    except NotCarriedOutError as error:
        return error.outcome()
    except OSError as error:
        return _failed(error)


def _outcome(
    spec: CommandSpec, config: ResponderConfig, journal: ResponseJournal, now: datetime
) -> CommandOutcome:
    try:
        _check(spec, config)
        success = journal.success(spec.command_id)
        if success is not None and (spec.dry_run or not success.dry_run):
            return success.outcome
        if spec.replaces is not None and not spec.dry_run:
            # the replaced command may still wait, or arrive late: never carry it out
            journal.keep(spec.replaces, TAKEN_BACK, spec.command_id, now)
        taken_back = journal.note(spec.command_id, TAKEN_BACK)
        if taken_back is not None:
            raise NotCarriedOutError(REFUSED, f"it was reversed by {taken_back}")  # noqa: TRY301 -- one place answers
        if spec.generation < journal.generation(_thing(spec)):
            raise NotCarriedOutError(  # noqa: TRY301 -- one place answers
                REFUSED, "it is of an older generation than one that was begun here"
            )
        if journal.note(spec.command_id, _begun(spec)) is None:
            _check_time(spec, now)
        waits = _waits_for(spec, journal)
        if waits:
            return _held(spec, config, journal, now, waits)
        if spec.undoes is not None and not spec.dry_run:
            # the undone command may still wait, or arrive late: never carry it out
            journal.keep(spec.undoes, TAKEN_BACK, spec.command_id, now)
        return _act(_work(spec, config, journal, now), now)
    except NotCarriedOutError as error:
        return error.outcome()
    except OSError as error:
        return _failed(error)
    except Exception as error:
        log.exception("command-failed", command=spec.command_id, action=spec.action)
        return CommandOutcome(status=FAILED, status_text=f"unexpected: {type(error).__name__}")


def _check(spec: CommandSpec, config: ResponderConfig) -> None:
    ids = (spec.command_id, *spec.after, *filter(None, (spec.undoes, spec.replaces)))
    if not all(map(_ID.fullmatch, ids)) or len(spec.after) > MAX_AFTER:
        raise NotCarriedOutError(BAD, "the command's ids are malformed")
    if spec.tenant not in config.tenants:
        raise NotCarriedOutError(REFUSED, "this responder does not serve the tenant")
    if spec.mode not in {Mode.AUTOMATIC, Mode.APPROVED}:
        raise NotCarriedOutError(REFUSED, f"it is {spec.mode}, and not approved")


def _check_time(spec: CommandSpec, now: datetime) -> None:
    if spec.expires is not None and now >= spec.expires:
        raise NotCarriedOutError(BAD, f"the command expired at {spec.expires.isoformat()}")


def _waits_for(spec: CommandSpec, journal: ResponseJournal) -> list[str]:
    """Return the commands that must succeed first and have not yet.

    Raises:
        NotCarriedOutError: One failed, was reversed, or was only a dry run.
    """
    waits: list[str] = []
    for command_id in spec.after:
        success = journal.success(command_id)
        if success is not None:
            if success.dry_run and not spec.dry_run:
                raise NotCarriedOutError(
                    REFUSED, "a command that it requires was a dry run", where=command_id
                )
        elif journal.note(command_id, TAKEN_BACK) is not None:
            raise NotCarriedOutError(
                REFUSED, "a command that it requires was reversed", where=command_id
            )
        elif journal.failed(command_id, spec.attempt):
            raise NotCarriedOutError(
                REFUSED, "a command that it requires did not succeed", where=command_id
            )
        else:
            waits.append(command_id)
    return waits


def _held(
    spec: CommandSpec,
    config: ResponderConfig,
    journal: ResponseJournal,
    now: datetime,
    waits: list[str],
) -> CommandOutcome:
    since = journal.keep(spec.command_id, f"held {spec.attempt}", now.isoformat(), now)
    if now - datetime.fromisoformat(since) >= timedelta(seconds=config.hold_seconds):
        raise NotCarriedOutError(
            REFUSED,
            f"it waited {config.hold_seconds} s for commands that it requires",
            where=waits[0],
        )
    return CommandOutcome(
        status=WORKING,
        status_text=f"waits for {counted(len(waits), 'command')} it comes after",
        results={"waits_for": waits},
    )


def _thing(spec: CommandSpec) -> str:
    """Return the key that counts the generations of a command and of its reversal."""
    contains = {undo: action for action, undo in UNDO.items()}.get(spec.action, spec.action)
    return f"{spec.tenant}|{contains}|{spec.target}"


def _begun(spec: CommandSpec) -> str:
    """Return the name of the note of a started attempt, which is finished even if expired."""
    return f"begun {spec.attempt}"


def _work(
    spec: CommandSpec, config: ResponderConfig, journal: ResponseJournal, now: datetime
) -> ActionContext:
    begun = now
    if not spec.dry_run:
        journal.keep(spec.command_id, _begun(spec), now.isoformat(), now)
        if spec.hold:
            journal.reach(_thing(spec), spec.generation, now)
        begun = datetime.fromisoformat(journal.keep(spec.command_id, "begun", now.isoformat(), now))
    return ActionContext(
        spec=spec,
        site=config.tenants[spec.tenant],
        journal=journal,
        responder=config.name,
        begun=begun,
    )


def _act(context: ActionContext, now: datetime) -> CommandOutcome:
    """Run the responder's own action, then the hook of the action, if configured."""
    spec, site = context.spec, context.site
    action = (_IN_MLFLOW if mlflow_registry.serves(spec, site.mlflow) else _IN_STORE).get(
        spec.action, _ELSEWHERE.get(spec.action)
    )
    hook = site.hooks.get(spec.action)
    if hook is None:
        if action is None:
            raise NotCarriedOutError(
                UNSUPPORTED, f"no hook is configured for {spec.action}", where=spec.tenant
            )
        return action(context)
    done = CommandOutcome(status=OK, status_text="")
    if action is not None:
        try:
            done = action(context)
        except NotCarriedOutError as error:
            if error.status != UNSUPPORTED:
                raise
    if spec.undoes is not None and context.noted_by(spec.undoes, "begun") is None:
        called = CommandOutcome(status=OK, status_text="nothing was started here to undo")
    else:
        called = hooks.call(context, hook, now)
    return CommandOutcome(
        status=OK,
        status_text="; ".join(filter(None, (done.status_text, called.status_text))),
        results={**done.results, **called.results},
    )


def _failed(error: OSError) -> CommandOutcome:
    where = f" at {error.filename}" if error.filename else ""
    return CommandOutcome(
        status=FAILED, status_text=f"the system refused ({error.strerror or error}){where}"
    )
