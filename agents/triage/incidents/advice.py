"""Advice: what a tenant reads of others' claims, and the single command it proposes."""

from __future__ import annotations

from typing import Final

from agents.domain.basis import ADVICE_SEVERITY
from agents.triage.containment import command_id
from schemas.incidents.commands import CommandSpec
from schemas.incidents.states import Action, Mode, TargetType
from schemas.incidents.views import Score, ScoreTerm
from schemas.policy import Policy

ADVICE_SCORE: Final = 50
"""The middle of the band medium, regardless of the severity of the underlying finding."""
WHY: Final = (
    "other organisations' events report this, and Tidewatch has not established it: investigate"
)


def advice_score() -> Score:
    """Return the score of a part that rests on advice alone, a constant."""
    term = ScoreTerm(name="advice", value=0.5, points=float(ADVICE_SCORE), why=WHY)
    return Score(value=ADVICE_SCORE, band=ADVICE_SEVERITY, terms=(term,))


def investigation(
    incident: str, tenant: str, target: str, policy: Policy, *, generation: int
) -> CommandSpec:
    """Return the proposal to investigate, which contains nothing and can't be automated.

    Args:
        incident: The incident.
        tenant: The tenant that it advises.
        target: The tenant's component to investigate. It may change as more is known; the proposal
            stays the same.
        policy: The tenant's policy, which may restrict the action to advice.
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
