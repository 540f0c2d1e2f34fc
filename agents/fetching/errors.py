"""Why bytes could not be had: for good, or only for now."""

from __future__ import annotations

from schemas.errors import TidewatchError


class FetchError(TidewatchError):
    """Bytes that could not be had; trying again later may help."""


class RefusedError(FetchError):
    """A location outside what the tenant may reach; trying again does not help."""
