"""Builds the sightings of an install that the ledger has not heard of, and no others."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from agents.checking import NO_POSITION, LastSent, SightingDeduplicator
from agents.checks.packages.check import Judgement
from agents.checks.packages.seen import Seen, seen_on, sightings
from schemas.events import Event, Package, PackageInstall
from schemas.observations import Sighting

REMEMBERED: Final = 100_000
"""Packages on systems that are remembered."""


class _Known(msgspec.Struct, frozen=True, gc=False):
    package: Package
    """Kept, since it is found by its identity."""
    key: str
    sent: tuple[LastSent, ...]


class InstallSightings:
    """Finds what is news of an install before any sighting is built.

    A package that a system installed before, on the same day and from the same source, says nothing
    new unless another version was seen there in between.
    """

    def __init__(self, deduplicator: SightingDeduplicator, limit: int = REMEMBERED) -> None:
        """Start with nothing remembered.

        Args:
            deduplicator: Decides what is news.
            limit: Packages on systems that are remembered; 0 for none.
        """
        self._deduplicator = deduplicator
        self._limit = limit
        self._systems: OrderedDict[Any, dict[int, _Known]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        """Return how many packages on systems are remembered."""
        return self._count

    def news(self, event: Event[PackageInstall], judgement: Judgement) -> Iterator[Sighting]:
        """Yield the sightings of an install that are to be sent.

        Args:
            event: The install.
            judgement: What the checks say of it.
        """
        data = event.data
        # all that a sighting has of its event, but the event's own id, time and position
        frame = (
            event.tenantid,
            event.source,
            seen_on(event),
            event.time.date(),
            data.identities,
            data.index_url,
            data.extra_index_urls,
        )
        packages = self._systems.get(frame)
        order, position = (event.time, event.id), event.position or NO_POSITION
        unknown: list[Seen] = []
        places: list[int] = []
        for index, seen in enumerate(judgement.seen):
            known = packages.get(id(seen.package)) if packages is not None else None
            if (
                known is None
                or known.key != seen.key
                or not all(sent.holds(order, position) for sent in known.sent)
            ):
                unknown.append(seen)
                places.append(index)
        if not unknown:
            return
        if packages is None:
            packages = self._systems[frame] = {}
        attested = judgement.attested
        publishers = {
            number: attested[index] for number, index in enumerate(places) if index in attested
        }
        made = iter(sightings(event, unknown, publishers))
        for number, seen in enumerate(unknown):
            sent = []
            for sighting in (next(made),) if seen.digest is None else (next(made), next(made)):
                is_news, last = self._deduplicator.noted(sighting)
                sent.append(last)
                if is_news:
                    yield sighting
            if number not in publishers:
                self._count += id(seen.package) not in packages
                packages[id(seen.package)] = _Known(seen.package, seen.key, tuple(sent))
        while self._count > self._limit and self._systems:
            self._count -= len(self._systems.popitem(last=False)[1])
