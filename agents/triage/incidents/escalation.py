"""The operator's alert of a command that needs a person."""

from __future__ import annotations

from schemas.canonical import stable_id
from schemas.incidents.commands import CommandSpec
from schemas.ledger import OperatorAlert


def escalation_alert(spec: CommandSpec, why: str, at_ms: int) -> OperatorAlert:
    """Return the operator's alert of a command that did not succeed; one for each reason.

    Args:
        spec: The command.
        why: The reason, in words.
        at_ms: When it was noticed, milliseconds since the epoch.
    """
    return OperatorAlert(
        id=stable_id("opa", "escalation", spec.command_id, why),
        kind="escalation",
        subject=spec.incident,
        tenant=spec.tenant,
        detail=f"{spec.action} {spec.target}: {why}",
        figures={"attempt": float(spec.attempt), "at_ms": float(at_ms)},
        runbook="Carry it out manually, then report the result or close the incident.",
    )
