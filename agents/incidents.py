"""The incidents agent: turns findings, decisions and results into incidents, alerts, commands."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from agents.domain.knowledge import Knowledge
from agents.domain.organisations import Register
from agents.ports import Batch, Publish, Rows
from agents.triage.correlation import PRIVATE_TENANTS
from agents.triage.incidents.core import IncidentInput, Incidents
from agents.triage.incidents.documents import Documents

IncidentsAgent = Callable[[Batch[IncidentInput], Publish, Rows], Awaitable[None]]


def incidents_agent(
    knowledge: Knowledge,
    documents: Documents,
    k: int = PRIVATE_TENANTS,
    register: Register | None = None,
) -> IncidentsAgent:
    """Return the agent that reads `incident-updates` and `decisions`.

    Args:
        knowledge: The tenants' policies.
        documents: What makes records out of alerts, incidents and commands.
        k: Fewer tenants are never counted in what a tenant reads.
        register: Which organisations tenants belong to; None: each is one.
    """
    core = Incidents(knowledge, documents, k, register)

    async def incidents(batch: Batch[IncidentInput], publish: Publish, rows: Rows) -> None:
        """Apply a batch of one partition to the incidents' rows."""
        core.process(batch.deliveries, publish, rows)

    return incidents
