"""Trust roots: whose signatures establish what they say of a component, and for whom."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from agents.domain.basis import attested
from agents.domain.component_keys import is_foreign
from schemas.basis import Basis
from schemas.policy import TrustRoot

OF_TENANT: Final = 8
"""Most trust roots of one tenant that are asked about one component."""
AT_MOST: Final = 64
"""Most trust roots that are asked about one component: the operator's first."""


class Signer(msgspec.Struct, frozen=True, kw_only=True):
    """A trust root authorised for a component."""

    signer: str
    """As the trust root says it."""
    tenant: str = ""
    """Who alone trusts it; empty: the operator, for all."""

    def basis(self, name: str) -> Basis:
        """Return the basis of what it signed; `name` is the identity as people read it."""
        return attested(name, self.tenant)


def covers(root: TrustRoot, key: str) -> bool:
    """Return whether a trust root is authorised for a component or publisher."""
    return any(
        key.startswith(name[:-1]) if name.endswith("*") else key == name for name in root.namespaces
    )


def signers_of(
    key: str,
    operators: Iterable[TrustRoot],
    tenants: Mapping[str, Iterable[TrustRoot]],
) -> tuple[Signer, ...]:
    """Return the trust roots authorised for a component, the operator's first.

    Args:
        key: The component or publisher.
        operators: The operator's trust roots.
        tenants: Those of each tenant: they count for that tenant alone.
    """
    found = [Signer(signer=root.signer) for root in operators if covers(root, key)]
    for tenant in sorted(tenants):
        if is_foreign(key, tenant):
            continue  # of another tenant's private names it may not even ask
        own = [root for root in tenants[tenant] if covers(root, key)]
        found += [Signer(signer=root.signer, tenant=tenant) for root in own[:OF_TENANT]]
    return tuple(found[:AT_MOST])
