"""Counts of organisations: tallies read by the operator's register as it is now.

A tally keeps what it counted at the time: tenants, before there was a register, and organisations
that have since left it. Neither counts any more, so tenants that were invented before the register
existed have no effect.
"""

from __future__ import annotations

from functools import lru_cache

from agents.domain.organisations import Register
from agents.triage.bounded_sets import Tally, tally_rank


def organisations_in(tally: Tally, register: Register, reader: str | None = None) -> int:
    """Return how many organisations of the register a tally has counted, without the reader's.

    Args:
        tally: The tally.
        register: The organisations; if it is empty, all that were counted.
        reader: The reading organisation, which isn't counted.
    """
    among = register.organisations
    count = tally.count(None if among is None else _ranks(among))
    return count - (reader is not None and tally.has(reader) and count > 0)


@lru_cache(8)
def _ranks(organisations: frozenset[str]) -> frozenset[int]:
    return frozenset(map(tally_rank, organisations))
