"""The agent of pipeline-run events."""

from __future__ import annotations

from collections.abc import Iterator

from agents.checking import (
    CheckingAgent,
    Context,
    SightingDeduplicator,
    checking_agent,
    outcome_messages,
)
from agents.checks.pipelines.check import check_pipeline
from agents.checks.pipelines.lineage import exposure_of, run_component, run_system
from agents.checks.required import with_required
from agents.domain.knowledge import Knowledge
from agents.ports import Message
from schemas.events import Event, PipelineRun


def run_context(event: Event[PipelineRun]) -> Context:
    """Return the fields of a run that its findings carry."""
    return Context(
        component=run_component(event),
        systems=(run_system(event),),
        identities=event.data.identities,
        exposure=exposure_of(event.data)[0],
    )


def pipeline_run_agent(knowledge: Knowledge) -> CheckingAgent[PipelineRun]:
    """Return the agent that checks pipeline runs with this knowledge."""
    deduplicator = SightingDeduplicator()

    def check(event: Event[PipelineRun]) -> Iterator[Message]:
        policy = knowledge.policy(event.tenantid)
        outcome = with_required(check_pipeline(event, knowledge), policy, "", final=True)
        return outcome_messages(event, outcome, run_context(event), deduplicator)

    return checking_agent(check, deduplicator)
