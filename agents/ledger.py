"""The ledger agent: writes observations and intelligence to the component ledger."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from agents.ports import Batch, Publish, Rows
from agents.triage.ledger.batch import DEFAULT_OPTIONS, LedgerOptions
from agents.triage.ledger.core import LedgerInput, process

LedgerAgent = Callable[[Batch[LedgerInput], Publish, Rows], Awaitable[None]]


def ledger_agent(options: LedgerOptions = DEFAULT_OPTIONS) -> LedgerAgent:
    """Return the agent that reads `observations` and `intel`; both share the partition's rows."""

    async def ledger(batch: Batch[LedgerInput], publish: Publish, rows: Rows) -> None:
        """Take a batch of one partition into the ledger; of `intel`, a tombstone reads None."""
        process(batch.deliveries, publish, rows, options)

    return ledger
