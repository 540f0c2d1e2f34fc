"""Writes only the sightings of an install that are new to the ledger."""

from __future__ import annotations

from binascii import hexlify
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, date, datetime
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final

import msgspec

from agents.checking import NO_POSITION, SAID, SPELL, LastSent, SightingDeduplicator, place_of, sent
from agents.checks.packages.check import Judgement
from agents.checks.packages.seen import SeenPackage, seen_on, sightings
from agents.ports import Message
from schemas.basis import Position
from schemas.canonical import ID_HEX_DIGITS, length_prefixed
from schemas.channels import Channel
from schemas.events import Event, Package, PackageInstall
from schemas.observations import Sighting

REMEMBERED: Final = 100_000
"""Packages on systems that are remembered."""
PARTS: Final = 8_192
"""Packages whose sightings are remembered in parts, about 3 kB each."""
_ENCODER: Final = msgspec.json.Encoder()
_BLANK: Final = Sighting(
    id="",
    component="",
    tenant="",
    system="",
    event_id="",
    source="",
    occurred_at=datetime(1, 1, 1, tzinfo=UTC),
)
_OF_EVENT: Final = ("id", "tenant", "system", "event_id", "source", "occurred_at", "appended")
_OPENING: Final = b'{"type":"sighting","id":"obs-'
_BLANK_JSON: Final = _ENCODER.encode(_BLANK)[:-1]
"""The encoding before a package's fields, with the event's fields blank."""
_EVENTS: Final = 4
"""Fields of `SAID` that the event decides: component, tenant, system, source come first."""
_FIELDS: Final = len(SAID(_BLANK)) - _EVENTS
_HEADER: Final = len(SPELL((0,) * _FIELDS)) - _FIELDS
"""Bytes before the first of the other fields, when they are encoded together."""


class _Known(msgspec.Struct, frozen=True, gc=False):
    package: Package
    """Kept alive, since it is found by its identity."""
    key: str
    sent: tuple[LastSent, ...]


class _Part(msgspec.Struct, frozen=True, gc=False):
    """A sighting of a package, without its event's fields."""

    component: str
    place: bytes
    """Its place in a system."""
    has: tuple[str | None, str | None]
    """Version and digest."""
    hashed: bytes
    """The middle of the hashed content of the id."""
    begins: bytes
    """JSON from the end of the id to the tenant."""
    ends: bytes
    """JSON after the time."""
    component_said: bytes
    """The component, as the deduplicator's key spells it."""
    said: bytes
    """The fields after the source, encoded in the same way."""


class _Frame(msgspec.Struct, frozen=True, gc=False):
    """The common fields of a source's sightings on a system on a day, encoded."""

    hashed: bytes
    """The beginning of the hashed content of their ids."""
    system_hashed: bytes
    """The end of the hashed content."""
    begins: bytes
    """JSON from the tenant to the id of the event."""
    ends: bytes
    """JSON from there to the time."""
    day: bytes
    """The beginning of the deduplicator's keys."""
    said: bytes
    """Tenant, system and source, as these keys spell them."""
    place: bytes
    """Tenant and system, likewise."""


@lru_cache(4096)
def _frame(tenant: str, system: str, source: str, day: date) -> _Frame:
    spelled = SPELL((day.toordinal(), SAID(_BLANK)))
    fields = b"".join(map(SPELL, SAID(_BLANK)))
    return _Frame(
        hashed=b"".join(map(length_prefixed, ("obs", tenant, day.isoformat()))),
        system_hashed=length_prefixed(system),
        begins=b'%b,"system":%b,"event_id":' % (_ENCODER.encode(tenant), _ENCODER.encode(system)),
        ends=b',"source":%b,"occurred_at":' % _ENCODER.encode(source),
        day=spelled.removesuffix(fields),
        said=b"".join(map(SPELL, (tenant, system, source))),
        place=SPELL((tenant, system)),
    )


def _part(sighting: Sighting) -> _Part:
    blank = msgspec.structs.replace(
        sighting,
        **{field: getattr(_BLANK, field) for field in _OF_EVENT},
        component="",
    )
    hashed = (sighting.component, sighting.version or "", sighting.digest or "")
    return _Part(
        component=sighting.component,
        place=SPELL(place_of(sighting)),
        has=(sighting.version, sighting.digest),
        hashed=b"".join(map(length_prefixed, hashed)),
        begins=b'","component":%b,"tenant":' % _ENCODER.encode(sighting.component),
        ends=_ENCODER.encode(blank).removeprefix(_BLANK_JSON)[:-1],
        component_said=SPELL(sighting.component),
        said=SPELL(SAID(blank)[_EVENTS:])[_HEADER:],
    )


class InstallSightings:
    """Finds the news of an install before any sighting is built.

    A package that a system installed before, on the same day and from the same source, is news only
    if another version was seen there in between. The sightings of a package differ between systems
    only in the event's fields; the rest of their records is encoded once.
    """

    def __init__(self, deduplicator: SightingDeduplicator, limit: int = REMEMBERED) -> None:
        """Start with nothing remembered.

        Args:
            deduplicator: Decides what is news.
            limit: Packages on systems that are remembered; 0: none, each sighting is built.
        """
        self._deduplicator = deduplicator
        self._limit = limit
        self._systems: OrderedDict[Any, dict[int, _Known]] = OrderedDict()
        self._count = 0
        self._parts: OrderedDict[Any, tuple[Package, tuple[_Part, ...] | None]] = OrderedDict()

    def __len__(self) -> int:
        """Return how many packages on systems are remembered."""
        return self._count

    def news(self, event: Event[PackageInstall], judgement: Judgement) -> list[Message]:
        """Return the records of the sightings of an install that are to be sent.

        Args:
            event: The install.
            judgement: The results of its checks.
        """
        data = event.data
        # all of a sighting's fields from its event, except the event's id, time and position
        place = (
            event.tenantid,
            event.source,
            seen_on(event),
            event.time.date(),
            data.identities,
            data.index_url,
            data.extra_index_urls,
        )
        packages = self._systems.get(place)
        order, position = (event.time, event.id), event.position or NO_POSITION
        unknown = [
            index
            for index, seen in enumerate(judgement.seen)
            if packages is None or not _holds(packages.get(id(seen.package)), seen, order, position)
        ]
        if not unknown:
            return []
        if packages is None:
            packages = self._systems[place] = {}
        attested = judgement.attested
        whole = event.baseline or not self._limit
        messages: list[Message] = []
        texts = None
        for index in unknown:
            seen = judgement.seen[index]
            parts = None if whole or index in attested else self._parts_of(event, seen)
            if parts is None:
                signed = {0: attested[index]} if index in attested else {}
                found = sightings(event, [seen], signed)
                lasting = [self._note(event, sighting, messages) for sighting in found]
            else:
                texts = texts or _Texts(event, order, position, self._deduplicator.noted)
                lasting = [texts.note(part, messages) for part in parts]
            if index not in attested:
                self._count += id(seen.package) not in packages
                packages[id(seen.package)] = _Known(seen.package, seen.key, tuple(lasting))
        while self._count > self._limit and self._systems:
            self._count -= len(self._systems.popitem(last=False)[1])
        return messages

    def _note(
        self, event: Event[PackageInstall], sighting: Sighting, messages: list[Message]
    ) -> LastSent:
        """Add the record of a sighting if it is news; return its entry."""
        is_news, last = self._deduplicator.noted_sighting(sighting)
        if is_news:
            messages.append(sent(event, sighting))
        return last

    def _parts_of(
        self, event: Event[PackageInstall], seen: SeenPackage
    ) -> tuple[_Part, ...] | None:
        """Return the sightings of a package without an event's fields; None for the first event.

        Most packages of a fleet are on many systems; for one that is not, parts would be wasted
        work.
        """
        data, package = event.data, seen.package
        key = (
            id(package),
            seen.key,
            data.identities,
            data.index_url,
            data.extra_index_urls,
            # a publisher's key may be the tenant's own
            event.tenantid if package.publisher else None,
        )
        known = self._parts.get(key)
        parts = None
        if known is not None:
            self._parts.move_to_end(key)
            parts = known[1]
            if parts is not None:
                return parts
            parts = tuple(map(_part, sightings(event, [seen], {})))
        self._parts[key] = package, parts
        if len(self._parts) > min(PARTS, self._limit):
            self._parts.popitem(last=False)
        return parts


def _holds(known: _Known | None, seen: SeenPackage, order: Any, position: Position) -> bool:  # noqa: ANN401
    """Return whether a package's sightings were sent, and are no later than this."""
    if known is None or known.key != seen.key:
        return False
    for sent_last in known.sent:  # noqa: SIM110 -- a generator for each package costs as much again
        if not sent_last.holds(order, position):
            return False
    return True


class _Texts:
    """Writes the sightings of one event from their parts."""

    def __init__(
        self,
        event: Event[PackageInstall],
        order: tuple[datetime, str],
        position: Position,
        noted: Callable[..., tuple[bool, LastSent]],
    ) -> None:
        """Encode the event's fields."""
        frame = _frame(event.tenantid, seen_on(event), event.source, event.time.date())
        self._order = order
        self._position = position
        self._noted = noted
        self._frame = frame
        self._said = frame.said
        self._middle = b"".join(
            (
                frame.begins,
                _ENCODER.encode(event.id),
                frame.ends,
                _ENCODER.encode(event.time),
            )
        )
        self._last = (
            b"}" if event.position is None else b',"appended":%b}' % _ENCODER.encode(event.position)
        )

    def note(self, part: _Part, messages: list[Message]) -> LastSent:
        """Add the record of a sighting if it is news; return its entry."""
        frame = self._frame
        is_news, last = self._noted(
            frame.place + part.place,
            part.has,
            b"".join((frame.day, part.component_said, frame.said, part.said)),
            self._order,
            self._position,
        )
        if is_news:
            hashed = b"".join((frame.hashed, part.hashed, frame.system_hashed))
            identity = hexlify(sha256(hashed).digest()[: ID_HEX_DIGITS // 2])
            value = b"".join((_OPENING, identity, part.begins, self._middle, part.ends, self._last))
            messages.append(Message(channel=Channel.OBSERVATIONS, key=part.component, value=value))
        return last
