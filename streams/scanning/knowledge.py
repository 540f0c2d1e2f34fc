"""Loads intelligence and a policy for a scan: given by the user, or stored locally."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from agents.domain.knowledge import MemoryKnowledge
from schemas.channels import Channel
from schemas.intel import IntelFact
from schemas.policy import Policy
from streams.held import held_values
from streams.scanning.targets import LOCAL_TENANT

_POLICIES: Final = msgspec.json.Decoder(Policy)

NO_INTELLIGENCE: Final = (
    "no intelligence is at hand: releases known to be malicious or compromised were not looked for;"
    " import a feed with `tidewatch intel import --local`, or name one with --intel"
)


def learn_facts(knowledge: MemoryKnowledge, facts: Iterable[IntelFact]) -> None:
    """Add facts, also by the digests they list."""
    for fact in facts:
        knowledge.set_fact(fact.key, fact)


def learn_held_facts(knowledge: MemoryKnowledge, state_dir: Path) -> None:
    """Add the locally stored facts."""
    decoder = msgspec.json.Decoder(IntelFact)
    for value in held_values(state_dir, Channel.INTEL).values():
        try:
            fact = decoder.decode(value)
        except msgspec.DecodeError:  # of another version
            continue
        knowledge.set_fact(fact.key, fact)


def learn_policy(knowledge: MemoryKnowledge, policy: Policy) -> None:
    """Apply a policy to the scan, whatever tenant it names."""
    knowledge.set_policy(LOCAL_TENANT, msgspec.structs.replace(policy, tenant=LOCAL_TENANT))


def learn_held_policy(knowledge: MemoryKnowledge, state_dir: Path) -> tuple[str, ...]:
    """Apply the locally stored policy to the scan: that of `local`, or the only one.

    Returns:
        The tenants, where there are several policies and none applies.
    """
    policies: dict[str, Policy] = {}
    for tenant, value in held_values(state_dir, Channel.POLICY).items():
        try:
            policies[tenant] = _POLICIES.decode(value)
        except msgspec.DecodeError:  # of another version
            continue
    chosen = policies.get(LOCAL_TENANT)
    if chosen is None and len(policies) == 1:
        chosen = next(iter(policies.values()))
    if chosen is not None:
        learn_policy(knowledge, chosen)
        return ()
    return tuple(sorted(policies))
