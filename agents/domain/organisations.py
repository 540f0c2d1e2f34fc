"""The operator's register of organisations: the tenants of one count once."""

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
        """The registered organisations; None: no register, each tenant counts."""

    def counted(self, tenant: str) -> str | None:
        """Return the name under which a tenant counts; None if it is not registered.

        A writer of events can invent tenants, but not register them.
        """
        if not self._organisations:
            return tenant
        return self._organisations.get(tenant)
