"""The agent of pipeline-run events."""

from __future__ import annotations

from collections.abc import Iterator

from agents.checking import (
    CheckingAgent,
    Context,
    SightingDeduplicator,
    checking_agent,
    outcome_messages,
    policy_notice,
    with_allowed_baseline,
)
from agents.checks.pipelines.check import check_run
from agents.checks.pipelines.subject import RunSubject, run_subject
from agents.checks.required import with_required
from agents.domain.knowledge import Knowledge
from agents.ports import Message
from schemas.events import Event, PipelineRun


def run_context(subject: RunSubject) -> Context:
    """Return the fields of a run that its findings carry."""
    return Context(
        component=subject.component,
        systems=(subject.system,),
        identities=subject.run.identities,
        exposure=subject.used_as,
    )


def pipeline_run_agent(knowledge: Knowledge) -> CheckingAgent[PipelineRun]:
    """Return the agent that checks pipeline runs with this knowledge."""
    deduplicator = SightingDeduplicator()

    def check(event: Event[PipelineRun]) -> Iterator[Message]:
        policy = knowledge.policy(event.tenantid)
        event = with_allowed_baseline(event, policy)
        subject = run_subject(event, policy)
        outcome = with_required(check_run(subject, knowledge), policy, "", final=True)
        yield from policy_notice(event.tenantid, policy, deduplicator)
        yield from outcome_messages(event, outcome, run_context(subject), deduplicator)

    return checking_agent(check, deduplicator)
