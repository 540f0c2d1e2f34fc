"""The ledger agent: observations and intelligence into the component ledger."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from agents.ports import Batch, Publish, Rows
from agents.triage.correlation import PRIVATE_TENANTS
from agents.triage.ledger.core import LedgerInput, process

LedgerAgent = Callable[[Batch[LedgerInput], Publish, Rows], Awaitable[None]]


def ledger_agent(k: int = PRIVATE_TENANTS) -> LedgerAgent:
    """Return the agent that reads `observations` and `intel`; both share the partition's rows.

    Args:
        k: Fewer tenants are never counted in what a tenant reads.
    """

    async def ledger(batch: Batch[LedgerInput], publish: Publish, rows: Rows) -> None:
        """Take a batch of one partition into the ledger; of `intel`, a tombstone reads None."""
        process(batch.deliveries, publish, rows, k=k)

    return ledger


ledger = ledger_agent()
