"""The operator's register: which organisation a tenant belongs to, and so what is counted once."""

from __future__ import annotations

from collections.abc import Mapping


class Register:
    """Organisations by tenant; an empty register makes each tenant its own."""

    def __init__(self, organisations: Mapping[str, str] | None = None) -> None:
        """Take the organisation of each registered tenant."""
        self._organisations = dict(organisations or {})
        self.organisations = (
            frozenset(self._organisations.values()) if self._organisations else None
        )
        """All that are counted; None: no register, and each tenant is."""

    def counted(self, tenant: str) -> str | None:
        """Return as what a tenant is counted; None: it is in no register, and counts for nothing.

        Anybody who may write events can make up tenants, but not register them.
        """
        if not self._organisations:
            return tenant
        return self._organisations.get(tenant)
