"""A person at the console: name, role, and the tenants whose records they may read."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Literal

import msgspec


class Role(StrEnum):
    """The roles of people, in ascending order; each includes the rights of those before."""

    VIEWER = "viewer"
    """Reads."""
    ANALYST = "analyst"
    """Works incidents: acknowledges, assigns, comments, completes tasks."""
    APPROVER = "approver"
    """Lets containment run, and ends incidents."""
    ADMIN = "admin"
    """Replays dead letters, sets policies, imports intelligence."""

    @property
    def rank(self) -> int:
        """0 for a viewer to 3 for an admin."""
        return _RANK[self]


_RANK: Final = {role: rank for rank, role in enumerate(Role)}


class Viewer(msgspec.Struct, frozen=True, kw_only=True):
    """A person who has signed in."""

    name: str
    """Their name; the actor of their decisions."""
    role: Role = Role.VIEWER
    tenants: tuple[str, ...] | Literal["*"] = ()
    """The tenants whose records they read and decide about. `*`: the operator, who reads all."""

    @property
    def everything(self) -> bool:
        """Whether this is the operator, who reads records that name several tenants."""
        return self.tenants == "*"

    def may(self, role: Role) -> bool:
        """Return whether this person has the rights of a role.

        Args:
            role: The least role that may do it.
        """
        return self.role.rank >= role.rank

    def reads(self, tenant: str) -> bool:
        """Return whether this person may read a tenant's records.

        Args:
            tenant: The tenant.
        """
        return self.everything or tenant in self.tenants
