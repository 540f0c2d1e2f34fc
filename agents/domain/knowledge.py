"""Intel facts and tenants' policies, held in memory for the checks."""

from __future__ import annotations

from typing import Protocol

from schemas.intel import IntelFact
from schemas.policy import Policy, default_policy


class Knowledge(Protocol):
    """The queries a check may make."""

    @property
    def revision(self) -> int:
        """Another number after each change of the facts."""

    def fact(self, key: str) -> IntelFact | None:
        """Return what is known of a component key."""

    def policy(self, tenant: str) -> Policy:
        """Return the tenant's policy, or the default one."""


class MemoryKnowledge:
    """Facts and policies by key, fed by the intel and policy topics."""

    def __init__(self) -> None:
        """Start knowing nothing."""
        self.revision = 0
        self._facts: dict[str, IntelFact] = {}
        self._policies: dict[str, Policy] = {}

    def fact(self, key: str) -> IntelFact | None:
        """Return what is known of a component key."""
        return self._facts.get(key)

    def policy(self, tenant: str) -> Policy:
        """Return the tenant's policy, or the default one."""
        return self._policies.get(tenant) or default_policy(tenant)

    def set_fact(self, key: str, fact: IntelFact | None) -> None:
        """Learn a fact, or forget it (None: a tombstone)."""
        self.revision += 1
        if fact is None:
            self._facts.pop(key, None)
        else:
            self._facts[key] = fact

    def set_policy(self, tenant: str, policy: Policy | None) -> None:
        """Learn a policy, or forget it."""
        if policy is None:
            self._policies.pop(tenant, None)
        else:
            self._policies[tenant] = policy

    def __len__(self) -> int:
        """Return how many facts are known."""
        return len(self._facts)
