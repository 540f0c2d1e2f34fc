"""Notifies the ledger's rows that an incident closed, was dismissed or is open again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from agents.ports import Message
from agents.triage.incidents.incident_rows import IncidentRows
from agents.triage.incidents.tenant_state import ENDS_OR_OPENS, TenantState
from agents.triage.routing import ledger_message
from schemas.decisions import Decision, DecisionKind
from schemas.incidents.states import CaseOutcome
from schemas.ledger import CaseState, Revision


def ledger_notices(
    case: IncidentRows, parts: Sequence[TenantState], revision: Revision
) -> Iterator[Message]:
    """Yield the notices the ledger's rows lack, and record them as sent.

    The operator's dismissal is reported for the whole, a tenant's for its own part.

    Args:
        case: The incident.
        parts: The parts of its tenants.
        revision: The revision of the record that led here.
    """
    affected = [part for part in parts if not part.advisory]
    for part in affected:
        own = CaseOutcome.DISMISSED if _is_dismissed_by_itself(part) else CaseOutcome.OPEN
        if own != (part.actions.outcome or CaseOutcome.OPEN):
            part.actions.outcome = own
            case.note_actions(part.actions)
            yield from _notices(case, own, revision, part.tenant)
    if not affected:
        return
    outcome = CaseOutcome.OPEN
    if _is_dismissed(decision for decision, _ in case.core.decisions.values()):
        outcome = CaseOutcome.DISMISSED
    elif all(part.ended for part in affected):
        outcome = CaseOutcome.CLOSED
    if outcome is not case.core.outcome:
        case.core.outcome = outcome
        case.note_core()
        yield from _notices(case, outcome, revision, "")


def _notices(
    case: IncidentRows, outcome: CaseOutcome, revision: Revision, tenant: str
) -> Iterator[Message]:
    for key in case.keys_of(tenant):
        yield ledger_message(
            key,
            CaseState(
                key=key, incident=case.incident, state=outcome, revision=revision, tenant=tenant
            ),
        )


def _is_dismissed_by_itself(part: TenantState) -> bool:
    """Return whether a tenant dismissed its part and it was not reopened.

    Only decisions count: marks that the ledger then lifts change the part's status.
    """
    own = (decision for decision, _ in part.actions.decisions.values())
    return _is_dismissed(own) and _is_dismissed(decision for decision, _ in part.decisions)


def _is_dismissed(decisions: Iterable[Decision]) -> bool:
    """Return whether the last decision that opens or ends an incident dismisses it."""
    last = max(
        (decision for decision in decisions if decision.decision in ENDS_OR_OPENS),
        key=lambda decision: (decision.time, decision.id),
        default=None,
    )
    return last is not None and last.decision is DecisionKind.FALSE_POSITIVE
