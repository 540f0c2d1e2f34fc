"""`tidewatch incidents`: the decisions of people about incidents, their commands and tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import typer

from schemas.decisions import COMPUTED, MOST_DAYS, DecisionKind
from schemas.errors import TidewatchError
from schemas.incidents.views import IncidentDocument
from schemas.severity import Severity
from streams.cli.choices import chosen_command, chosen_task
from streams.cli.frame import connected_settings, example
from streams.cli.incident_records import IncidentArgument, one_incident, state_once
from streams.cli.output import Format, FormatOption, print_json, print_line

if TYPE_CHECKING:
    from schemas.incidents.commands import CommandView

TargetArgument = Annotated[str, typer.Argument(help="the assignee")]
CommandArgument = Annotated[
    str, typer.Argument(help="the command's number, its id, or the beginning of its id")
]
WaitOption = Annotated[bool, typer.Option("--wait", help="wait until it takes effect")]
WAIT_SECONDS: Final = 60.0
ReasonOption = Annotated[str, typer.Option(help="why; kept with the incident")]
TenantOption = Annotated[
    str | None, typer.Option(help="for this tenant only; default: the whole incident")
]


def decide(
    kind: DecisionKind,
    incident: str,
    reason: str,
    *,
    tenant: str | None = None,
    target: str | None = None,
    days: float | None = None,
    passed: bool | None = None,
    wait: bool = False,
    form: Format = Format.TEXT,
) -> IncidentDocument:
    """Write one signed decision to the topic; return the incident as it was before.

    The configured key signs it for the actor that the key is bound to.

    Args:
        kind: The decision.
        incident: The incident's id, or a prefix.
        reason: The reason.
        tenant: For one tenant only.
        target: A command, an assignee, an indicator or a task.
        days: Until when, for a suppression.
        passed: The result, for an evaluation.
        wait: Whether to wait until the incident says so, and print its status then.
        form: The output format.
    """
    from streams.decisions import new_decision, write_decision  # noqa: PLC0415 -- only to sign
    from streams.signing_keys import load_signer  # noqa: PLC0415 -- the same

    document = one_incident(incident)
    settings = connected_settings()
    signer = load_signer(settings.state_dir, settings.signing_key)
    decision = new_decision(
        kind,
        document.id,
        reason,
        actor=signer.binding.actor,
        now=datetime.now(UTC),
        tenant=tenant,
        target=target,
        days=days,
        passed=passed,
    )
    asyncio.run(write_decision(settings, decision, signer))
    if form is Format.JSON:
        print_json(msgspec.to_builtins(decision))
    else:
        print_line(f"{kind} {document.id}: written as {decision.id}")
    if wait:
        status = _recorded(document.id, decision.id)
        if form is Format.JSON:
            print_json({"incident": document.id, "status": status})
        else:
            print_line(f"the incident is now {status}")
    return document


def _recorded(incident: str, decision: str) -> str:
    """Return the status of an incident once its timeline has a decision."""

    def status(document: IncidentDocument) -> str | None:
        found = any(entry.ref == decision for entry in document.timeline)
        return document.status if found else None

    return _awaited(incident, status, decision)


def _plain_decision(app: typer.Typer, kind: DecisionKind, help_text: str) -> None:
    """Add the command of a decision that needs a reason and nothing else."""

    def command(
        incident: IncidentArgument,
        *,
        reason: ReasonOption,
        tenant: TenantOption = None,
        wait: WaitOption = False,
        form: FormatOption = Format.TEXT,
    ) -> None:
        decide(kind, incident, reason, tenant=tenant, wait=wait, form=form)

    command.__doc__ = help_text
    line = f'tidewatch incidents {kind} inc-3f2a --reason "seen by the night shift"'
    app.command(kind.value, epilog=example(line))(command)


def _targeted_decision(
    app: typer.Typer, kind: DecisionKind, example_target: str, help_text: str
) -> None:
    """Add the command of a decision about a command or a person."""

    def command(
        incident: IncidentArgument,
        target: TargetArgument,
        *,
        reason: ReasonOption,
        tenant: TenantOption = None,
        wait: WaitOption = False,
        form: FormatOption = Format.TEXT,
    ) -> None:
        decide(kind, incident, reason, tenant=tenant, target=target, wait=wait, form=form)

    command.__doc__ = help_text
    line = f'tidewatch incidents {kind} inc-3f2a {example_target} --reason "agreed in the call"'
    app.command(kind.value, epilog=example(line))(command)


def _about_command(app: typer.Typer, kind: DecisionKind, help_text: str) -> None:
    """Add the command of a decision about one containment command."""

    def command(
        incident: IncidentArgument,
        target: CommandArgument,
        *,
        reason: ReasonOption,
        tenant: TenantOption = None,
        wait: WaitOption = False,
        form: FormatOption = Format.TEXT,
    ) -> None:
        document = one_incident(incident)
        view = chosen_command(document, target, kind, tenant)
        spec = view.spec
        decide(kind, document.id, reason, tenant=tenant, target=spec.command_id, form=form)
        if form is Format.TEXT:
            print_line(f"{kind}: {spec.action} {spec.target} of {spec.tenant} ({spec.command_id})")
        if wait:
            state = _changed(document.id, view)
            if form is Format.JSON:
                print_json({"command_id": spec.command_id, "state": state})
            else:
                print_line(f"now {state}")

    command.__doc__ = help_text
    number = 2 if kind is DecisionKind.RETRY else 1
    line = f'tidewatch incidents {kind} inc-3f2a {number} --reason "looked at it"'
    app.command(kind.value, epilog=example(line))(command)


def _changed(incident: str, before: CommandView) -> str:
    """Return the state of a command once it has changed."""

    def state(document: IncidentDocument) -> str | None:
        for view in document.commands:
            same = view.spec.command_id == before.spec.command_id
            if same and (view.state, view.spec.attempt) != (before.state, before.spec.attempt):
                return view.state
        return None

    return _awaited(incident, state, before.spec.command_id)


def _awaited(incident: str, state: Callable[[IncidentDocument], str | None], what: str) -> str:
    """Return a state of an incident once it has one.

    Raises:
        TidewatchError: It has none in time.
    """
    found = state_once(incident, state, WAIT_SECONDS)
    if found is not None:
        return found
    raise TidewatchError(
        f"it did not take effect within {WAIT_SECONDS:.0f} s",
        where=what,
        remedy="the decision is written: see whether it was refused, with tidewatch dead-letters "
        "list, and whether the workers run, with tidewatch doctor",
    )


def complete(
    incident: IncidentArgument,
    task: Annotated[str, typer.Argument(help="its number, its id, or the beginning of its id")],
    *,
    reason: ReasonOption,
    tenant: TenantOption = None,
    wait: WaitOption = False,
    form: FormatOption = Format.TEXT,
) -> None:
    """Mark a task for people as done: a rotation, a rebuild, a replacement."""
    document = one_incident(incident)
    chosen = chosen_task(document, task, tenant)
    decide(
        DecisionKind.EVALUATION,
        document.id,
        reason,
        tenant=tenant or chosen.tenant,
        target=chosen.id,
        passed=True,
        wait=wait,
        form=form,
    )
    if form is Format.TEXT:
        print_line(f"completed: {chosen.text}")


def suppress(
    incident: IncidentArgument,
    *,
    reason: ReasonOption,
    days: Annotated[float, typer.Option(min=0.01, max=MOST_DAYS, help="for how long")],
    tenant: TenantOption = None,
    wait: WaitOption = False,
    form: FormatOption = Format.TEXT,
) -> None:
    """Suppress the incident for some days."""
    decide(DecisionKind.SUPPRESS, incident, reason, tenant=tenant, days=days, wait=wait, form=form)


class SeverityChoice(StrEnum):
    """What the severity of an incident may be set to."""

    INFORMATIONAL = Severity.INFORMATIONAL.value
    LOW = Severity.LOW.value
    MEDIUM = Severity.MEDIUM.value
    HIGH = Severity.HIGH.value
    CRITICAL = Severity.CRITICAL.value
    COMPUTED = COMPUTED


def severity(
    incident: IncidentArgument,
    to: Annotated[SeverityChoice, typer.Argument(help="the severity, or computed")],
    *,
    reason: ReasonOption,
    tenant: TenantOption = None,
    wait: WaitOption = False,
    form: FormatOption = Format.TEXT,
) -> None:
    """Set the severity until it is set again; `computed` restores the score's.

    It applies to alerts, their documents and notifications. Containment does not change.
    """
    decide(
        DecisionKind.SEVERITY,
        incident,
        reason,
        tenant=tenant,
        target=to.value,
        wait=wait,
        form=form,
    )


def evaluation(
    incident: IncidentArgument,
    system: Annotated[str, typer.Argument(help="the system that was evaluated")],
    *,
    passed: Annotated[bool, typer.Option("--passed/--failed", help="the result")],
    reason: ReasonOption,
    tenant: TenantOption = None,
    wait: WaitOption = False,
    form: FormatOption = Format.TEXT,
) -> None:
    """Report the result of a behavioural evaluation of a recovered system."""
    decide(
        DecisionKind.EVALUATION,
        incident,
        reason,
        tenant=tenant,
        target=system,
        passed=passed,
        wait=wait,
        form=form,
    )


def add_decisions(app: typer.Typer) -> None:
    """Add the commands by which people decide about incidents.

    Args:
        app: The group of commands.
    """
    for kind, help_text in (
        (DecisionKind.ACKNOWLEDGE, "Acknowledge the incident."),
        (DecisionKind.CLOSE, "Close the incident."),
        (DecisionKind.FALSE_POSITIVE, "Close it as a false positive, and undo its containment."),
        (DecisionKind.REOPEN, "Open a closed or suppressed incident again."),
        (DecisionKind.SHARE, "Share it with partners, however few tenants it affects."),
        (DecisionKind.COMMENT, "Add a comment, the reason, to the incident."),
    ):
        _plain_decision(app, kind, help_text)
    _targeted_decision(app, DecisionKind.ASSIGN, "alice", "Assign the incident to a person.")
    for kind, help_text in (
        (DecisionKind.APPROVE, "Approve a proposed or advised command."),
        (DecisionKind.REJECT, "Reject a proposed command."),
        (DecisionKind.RETRY, "Retry a failed or expired command."),
    ):
        _about_command(app, kind, help_text)
    for command, line in (
        (complete, 'complete inc-3f2a 1 --reason "key rotated"'),
        (suppress, 'suppress inc-3f2a --days 30 --reason "known"'),
        (severity, 'severity inc-3f2a low --reason "a test host"'),
        (evaluation, 'evaluation inc-3f2a host-1 --passed --reason "suite 4"'),
    ):
        app.command(epilog=example(f"tidewatch incidents {line}"))(command)
