"""Bounds the memory of requests in total, and per tenant so that none fills another's share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

REQUEST_BYTES: Final = 4096
"""Memory of a request besides its body."""


class Reservation:
    """Memory reserved for one request, until it is released."""

    def __init__(self, room: Room, tenant: str | None, size: int) -> None:
        """Take room from a tenant's share, or from the shared room for None."""
        self._room = room
        self._tenant = tenant
        self._size = size

    def release(self) -> None:
        """Release it; further calls have no effect."""
        self._room.give_back(self._tenant, self._size)
        self._size = 0


class Room:
    """Half of the bytes is split among the tenants; the other half is first come, first served."""

    def __init__(self, total: int, tenants: Iterable[str], largest: int) -> None:
        """Split the room.

        Args:
            total: Bytes in all.
            tenants: The tenants that have a share.
            largest: The largest request; no share is smaller, however many tenants there are.
        """
        names = sorted(set(tenants))
        share = max(total // 2 // max(1, len(names)), largest + REQUEST_BYTES)
        self._own = dict.fromkeys(names, share)
        self._shared = total // 2

    def reserve(self, tenant: str, size: int, *, proved: bool) -> Reservation | None:
        """Reserve room for a request, None if there is none now.

        Args:
            tenant: The tenant of the request, or the one that it claims.
            size: Bytes of its body.
            proved: Whether it is proved to be the tenant's: only then may it take shared room.
        """
        cost = size + REQUEST_BYTES
        if self._own[tenant] >= cost:
            self._own[tenant] -= cost
            return Reservation(self, tenant, cost)
        if proved and self._shared >= cost:
            self._shared -= cost
            return Reservation(self, None, cost)
        return None

    def give_back(self, tenant: str | None, size: int) -> None:
        """Add room that a reservation held."""
        if tenant is None:
            self._shared += size
        else:
            self._own[tenant] += size
