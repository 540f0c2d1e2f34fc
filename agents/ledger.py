"""The ledger agent: writes observations and intelligence to the component ledger."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from agents.domain.organisations import Register
from agents.messages import RECORD_ALONE
from agents.ports import Batch, Publish, Rows
from agents.triage.correlation import PRIVATE_TENANTS
from agents.triage.ledger.batch import POPULAR_HOLDERS, RenderIndicator, Trusts, trust_all
from agents.triage.ledger.core import LedgerInput, process

LedgerAgent = Callable[[Batch[LedgerInput], Publish, Rows], Awaitable[None]]


def ledger_agent(
    k: int = PRIVATE_TENANTS,
    popular_holders: int = POPULAR_HOLDERS,
    register: Register | None = None,
    secret: bytes = b"",
    trusts: Trusts = trust_all,
    indicators: RenderIndicator = RECORD_ALONE,
) -> LedgerAgent:
    """Return the agent that reads `observations` and `intel`; both share the partition's rows.

    Args:
        k: Fewer tenants are never counted in what a tenant reads.
        popular_holders: A component with more holders is not contained on a scan alone.
        register: Which organisations tenants belong to; None: each is one.
        secret: Keys the choice in full sets, so that no tenant can aim at what is dropped.
        trusts: Returns whether a trust root is in force, by its id.
        indicators: Renders an indicator; by default its record alone.
    """

    async def ledger(batch: Batch[LedgerInput], publish: Publish, rows: Rows) -> None:
        """Take a batch of one partition into the ledger; of `intel`, a tombstone reads None."""
        process(
            batch.deliveries,
            publish,
            rows,
            k=k,
            popular_holders=popular_holders,
            register=register,
            secret=secret,
            trusts=trusts,
            indicators=indicators,
        )

    return ledger


ledger = ledger_agent()
