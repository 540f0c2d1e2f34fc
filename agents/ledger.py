"""The ledger agent: observations and intelligence into the component ledger."""

from __future__ import annotations

from agents.ports import Batch, Publish, Rows
from agents.triage.ledger.core import LedgerInput, process


async def ledger(batch: Batch[LedgerInput], publish: Publish, rows: Rows) -> None:
    """Take a batch of `observations` or `intel` into the ledger's rows.

    Args:
        batch: Records of one partition; of `intel`, facts and tombstones (None).
        publish: Takes the messages that follow.
        rows: The rows of the partition; both topics share them.
    """
    process(batch.deliveries, publish, rows)
