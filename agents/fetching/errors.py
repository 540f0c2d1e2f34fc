"""Errors of fetching: permanent and temporary."""

from __future__ import annotations

from schemas.errors import TidewatchError


class FetchError(TidewatchError):
    """A fetch that failed; a later attempt may succeed."""


class RefusedError(FetchError):
    """A location outside the tenant's allow-list; a later attempt fails too."""
