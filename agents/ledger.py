"""The ledger agent: writes observations and intelligence to the component ledger."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from agents.ports import Batch, Publish, Rows
from agents.triage.correlation import PRIVATE_TENANTS
from agents.triage.ledger.core import LedgerInput, process

LedgerAgent = Callable[[Batch[LedgerInput], Publish, Rows], Awaitable[None]]


def ledger_agent(k: int = PRIVATE_TENANTS) -> LedgerAgent:
    """Return the agent that reads `observations` and `intel`; both share the partition's rows.

    Args:
        k: The least number of tenants that a tenant may read as a count.
    """

    async def ledger(batch: Batch[LedgerInput], publish: Publish, rows: Rows) -> None:
        """Apply a batch of one partition to the ledger; an `intel` tombstone reads as None."""
        process(batch.deliveries, publish, rows, k=k)

    return ledger


ledger = ledger_agent()
