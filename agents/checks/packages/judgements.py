"""Caches the results of checks of installs without findings, so that each is checked once."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

import msgspec

from agents.checks.packages.check import Judgement, judge
from agents.domain.knowledge import Knowledge
from schemas.events import Event, Package, PackageInstall
from schemas.policy import Policy

REMEMBERED: Final = 16_384
"""The most cached installs."""
PACKAGES: Final = 262_144
"""The most packages of all cached installs together."""


class _Remembered(msgspec.Struct, frozen=True, gc=False):
    judgement: Judgement
    packages: tuple[Package, ...]
    """Kept alive, since the key consists of their identities."""
    revision: int
    """The revision of the facts it was checked by."""
    tenant: str | None
    """The tenant whose internal names it has; None: only public names."""


class Judgements:
    """The judgements of installs, as `judge` returns them; those without findings are cached.

    Two installs are the same if their packages are the same objects, as `InstallDecoder` makes
    them, and everything else that affects the judgement is equal. An install with findings,
    attestations or times of upload is checked each time.
    """

    def __init__(self, knowledge: Knowledge, limit: int = REMEMBERED) -> None:
        """Start with an empty cache.

        Args:
            knowledge: Facts and policies; a new revision invalidates older judgements.
            limit: The most cached installs; 0 disables the cache.
        """
        self._knowledge = knowledge
        self._limit = limit
        self._known: OrderedDict[Any, _Remembered] = OrderedDict()
        self._packages = 0

    def of(self, event: Event[PackageInstall], policy: Policy) -> Judgement:
        """Return the results of an install's checks.

        Args:
            event: The install.
            policy: Its tenant's policy.
        """
        data = event.data
        key = (
            tuple(map(id, data.packages)),
            data.requirements,
            tuple(data.lock.items()),
            data.ecosystem,
            data.index_url,
            data.extra_index_urls,
            policy.internal,
            policy.trusted,
        )
        known = self._known.get(key)
        if (
            known is not None
            and known.revision == self._knowledge.revision
            and known.tenant in {None, event.tenantid}
        ):
            self._known.move_to_end(key)
            return known.judgement
        judgement = judge(event, self._knowledge, policy)
        if self._limit and not judgement.found and not any(map(_depends, data.packages)):
            tenant = (
                event.tenantid if any(":@" in sighting.key for sighting in judgement.seen) else None
            )
            self._remember(
                key, _Remembered(judgement, data.packages, self._knowledge.revision, tenant)
            )
        return judgement

    def __len__(self) -> int:
        """Return the number of cached installs."""
        return len(self._known)

    def _remember(self, key: Any, remembered: _Remembered) -> None:  # noqa: ANN401 -- hashable
        before = self._known.pop(key, None)
        if before is not None:
            self._packages -= len(before.packages)
        self._known[key] = remembered
        self._packages += len(remembered.packages)
        while len(self._known) > self._limit or self._packages > PACKAGES:
            _, oldest = self._known.popitem(last=False)
            self._packages -= len(oldest.packages)


def _depends(package: Package) -> bool:
    """Return whether the judgement of a package depends on more than what the key has."""
    return package.uploaded_at is not None or bool(package.attestations)
