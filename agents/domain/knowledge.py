"""Intel facts and tenants' policies, held in memory for the checks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from agents.domain.trust_roots import AuthorisedRoot, root_ids, signers_of
from schemas.intel import IntelFact
from schemas.policy import Policy, TrustRoot, default_policy


class Knowledge(Protocol):
    """The queries a check may make."""

    @property
    def revision(self) -> int:
        """Another number after each change of the facts."""

    def fact(self, key: str) -> IntelFact | None:
        """Return what is known of a component key."""

    def policy(self, tenant: str) -> Policy:
        """Return the tenant's policy, or the default one."""

    def signers(self, key: str) -> tuple[AuthorisedRoot, ...]:
        """Return the trust roots authorised for a component or publisher."""


class MemoryKnowledge:
    """Facts and policies by key, fed by the intel and policy topics."""

    def __init__(self, trust_roots: Iterable[TrustRoot] = ()) -> None:
        """Start with the operator's trust roots alone."""
        self.revision = 0
        self._trust_roots = tuple(trust_roots)
        self._tenants_roots: dict[str, tuple[TrustRoot, ...]] = {}
        self._root_ids = {"": root_ids(self._trust_roots)}
        self._standing = set(self._root_ids[""])
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
        if not tenant:
            return  # it would act for the operator
        self._tenants_roots.pop(tenant, None)
        self._standing -= self._root_ids.pop(tenant, frozenset())
        if policy is None:
            self._policies.pop(tenant, None)
            return
        self._policies[tenant] = policy
        if policy.trust_roots:
            self._tenants_roots[tenant] = policy.trust_roots
            self._root_ids[tenant] = root_ids(policy.trust_roots, tenant)
            self._standing |= self._root_ids[tenant]

    def signers(self, key: str) -> tuple[AuthorisedRoot, ...]:
        """Return the trust roots authorised for a component or publisher."""
        return signers_of(key, self._trust_roots, self._tenants_roots)

    def trusts(self, root: str) -> bool:
        """Return whether the operator or a tenant has the trust root with an id."""
        return root in self._standing

    def __len__(self) -> int:
        """Return the number of known facts."""
        return len(self._facts)
