"""Advice: what a tenant reads of others' claims, and the one thing that it proposes."""

from __future__ import annotations

from typing import Final

from agents.domain.basis import ADVICE_SEVERITY
from agents.triage.containment import command_id
from schemas.incidents.commands import CommandSpec
from schemas.incidents.states import Action, Mode, TargetType
from schemas.incidents.views import Score, ScoreTerm
from schemas.policy import Policy

ADVICE_SCORE: Final = 50
"""In the middle of the band medium, whatever the severity of what it rests on."""
WHY: Final = (
    "other organisations' events say so, and Tidewatch has not established it: look into it"
)


def advice_score() -> Score:
    """Return the score of a part that rests on advice alone: always the same."""
    term = ScoreTerm(name="advice", value=0.5, points=float(ADVICE_SCORE), why=WHY)
    return Score(value=ADVICE_SCORE, band=ADVICE_SEVERITY, terms=(term,))


def investigation(
    incident: str, tenant: str, target: str, policy: Policy, *, generation: int
) -> CommandSpec:
    """Return the proposal to investigate, which contains nothing and which no policy automates.

    Args:
        incident: The incident.
        tenant: Whom it advises.
        target: What to look into: a component of the tenant. Which it is may change as more is
            known; it stays one proposal.
        policy: Its policy: the action may be advised only.
        generation: How often containment was lifted before.
    """
    return CommandSpec(
        command_id=command_id(incident, tenant, Action.INVESTIGATE, incident, generation),
        incident=incident,
        tenant=tenant,
        action=Action.INVESTIGATE,
        target=target,
        target_type=TargetType.COMPONENT,
        reason=WHY,
        mode=Mode.ADVISED if Action.INVESTIGATE in policy.advised else Mode.PROPOSAL,
        dry_run=policy.dry_run,
    )
