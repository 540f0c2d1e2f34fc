"""Trust roots: whose signatures establish facts about a component, and for which tenants."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Final

import msgspec

from agents.domain.basis import attested
from agents.domain.component_keys import is_foreign
from schemas.basis import Basis
from schemas.canonical import stable_hash
from schemas.policy import TrustRoot

OF_TENANT: Final = 8
"""The most trust roots of one tenant that are considered for one component."""
AT_MOST: Final = 64
"""The most trust roots that are considered for one component, the operator's first."""
_ID_DIGITS: Final = 24


class AuthorisedRoot(msgspec.Struct, frozen=True, kw_only=True):
    """A trust root authorised for a component by one of its namespaces."""

    signer: str
    """The signer as the trust root names it."""
    tenant: str = ""
    """The only tenant that trusts it; empty: the operator, for all."""
    root: str = ""
    """The id of the trust root, for this namespace."""

    def basis(self, name: str) -> Basis:
        """Return the basis of content that it signed; `name` is the identity in readable form."""
        return attested(name, self.tenant, self.root)

    def is_same(self, other: AuthorisedRoot) -> bool:
        """Return whether both are trust roots of one owner for one signer."""
        return (self.signer, self.tenant) == (other.signer, other.tenant)


@lru_cache(4096)
def root_id(signer: str, namespace: str, tenant: str = "") -> str:
    """Return the id of a trust root for one namespace: equal content, equal id.

    Each namespace has an id of its own, so that removing one ends only the facts that rest on it.

    Args:
        signer: The signer, as the trust root names it.
        namespace: The namespace.
        tenant: The only tenant that trusts it; empty: the operator.
    """
    return stable_hash("trust-root", tenant, signer.strip(), namespace)[:_ID_DIGITS]


def root_ids(roots: Iterable[TrustRoot], tenant: str = "") -> frozenset[str]:
    """Return the ids of the operator's trust roots, or of a tenant's."""
    return frozenset(
        root_id(root.signer, namespace, tenant) for root in roots for namespace in root.namespaces
    )


def covers(namespace: str, key: str) -> bool:
    """Return whether a namespace of a trust root contains a component or publisher."""
    return key.startswith(namespace[:-1]) if namespace.endswith("*") else key == namespace


def signers_of(
    key: str,
    operators: Iterable[TrustRoot],
    tenants: Mapping[str, Iterable[TrustRoot]],
) -> tuple[AuthorisedRoot, ...]:
    """Return the trust roots authorised for a component, the operator's first.

    Args:
        key: The component or publisher.
        operators: The operator's trust roots.
        tenants: Those of each tenant: they count for that tenant alone.
    """
    found = list(_authorised(operators, key))
    for tenant in sorted(tenants):
        if is_foreign(key, tenant):
            continue  # another tenant's private names are out of bounds
        found += list(_authorised(tenants[tenant], key, tenant))[:OF_TENANT]
    return tuple(found[:AT_MOST])


def _authorised(roots: Iterable[TrustRoot], key: str, tenant: str = "") -> Iterator[AuthorisedRoot]:
    for root in roots:
        for namespace in root.namespaces:
            if covers(namespace, key):
                yield AuthorisedRoot(
                    signer=root.signer, tenant=tenant, root=root_id(root.signer, namespace, tenant)
                )
