"""Keeps the STIX objects that may be read, each version once, in the order they came."""

from __future__ import annotations

import bisect
import re
import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from schemas.documents.stix import TLP_MARKINGS, tenant_objects
from schemas.findings import SupplyChainIoC
from schemas.severity import Tlp

_INDICATORS: Final = msgspec.json.Decoder(SupplyChainIoC)

TLP_ORDER: Final = tuple(Tlp)
"""From public to restricted to the recipient."""
DEFAULT_OBJECTS: Final = 200_000
ID_LIMIT: Final = 256
_NAMESPACE: Final = uuid.UUID("0b8f4d0e-8c67-5d0a-9d2b-6f6c33a9d1b4")
_TLP_OF: Final = {marking: tlp for tlp, marking in TLP_MARKINGS.items()}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_STIX_ID: Final = re.compile(r"[a-z][a-z0-9-]{1,100}--[0-9a-f-]{36}")


class Collection(msgspec.Struct, frozen=True):
    """The objects of one marking: shared with partners, or one tenant's own indicators."""

    tlp: Tlp
    tenant: str = ""
    """The tenant whose own indicators these are; empty: shared ones, which name no tenant."""

    @property
    def id(self) -> str:
        """Its id: the same on every server."""
        own = f"tenant:{self.tenant}:" if self.tenant else ""
        return str(uuid.uuid5(_NAMESPACE, f"{own}tlp:{self.tlp}"))

    @property
    def alias(self) -> str:
        """Its readable name for those who may read it, which works in place of its id."""
        marking = f"tlp-{self.tlp.replace('+', '-')}"
        return f"own-{marking}" if self.tenant else marking


def from_micros(micros: int) -> datetime:
    """Return the time of a number of microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=micros)


def to_micros(time: datetime) -> int:
    """Return a time as microseconds since 1970."""
    return (time - _EPOCH) // timedelta(microseconds=1)


class _Bundle(msgspec.Struct):
    objects: list[Any]


_BUNDLES: Final = msgspec.json.Decoder(_Bundle)


class ObjectVersion(msgspec.Struct, frozen=True):
    """One version of an object."""

    added: int
    """When it was added, in microseconds since 1970; no two entries have the same."""
    id: str
    type: str
    version: str
    """`modified`, or `created` for types that are never modified."""
    spec_version: str
    body: msgspec.Raw
    """The object as JSON."""


class Shelf:
    """The objects of each collection.

    Bounded: over the limit, the oldest entries go and are counted.
    """

    def __init__(self, most: int = DEFAULT_OBJECTS, tenants: Iterable[str] = ()) -> None:
        """Begin empty.

        Args:
            most: Most versions of objects kept of each collection.
            tenants: The tenants whose own indicators are kept.
        """
        self._most = most
        self._tenants = frozenset(tenants)
        collections = [Collection(tlp, of) for of in ("", *self._tenants) for tlp in TLP_ORDER]
        self._entries: dict[Collection, list[ObjectVersion]] = {
            collection: [] for collection in collections
        }
        self._versions: dict[Collection, dict[str, list[ObjectVersion]]] = {
            collection: {} for collection in collections
        }
        self._last = 0
        self.dropped = 0
        """The number of entries dropped at the limit."""
        self.unreadable = 0
        """Records that were no bundle or indicator, and objects without a marking of ours."""

    def add_bundle(self, raw: bytes | None, timestamp_ms: int) -> None:
        """Take the objects of a bundle that are new.

        An object is in the collection of its TLP marking. An object without one is in no
        collection.

        Args:
            raw: A record's value.
            timestamp_ms: The broker's timestamp of the record.
        """
        if raw is None:
            return
        try:
            objects = _BUNDLES.decode(raw).objects
        except (msgspec.MsgspecError, RecursionError, UnicodeError):
            self.unreadable += 1
            return
        for item in objects:
            tlp = _marking(item)
            if tlp is None:
                self.unreadable += 1
                continue
            self._add(Collection(tlp), item, timestamp_ms)

    def add_indicator(self, raw: bytes | None, timestamp_ms: int) -> None:
        """Take the new objects of a tenant's own indicator, if it is one of ours.

        Args:
            raw: A record's value, of the topic `iocs`.
            timestamp_ms: The broker's timestamp of the record.
        """
        if raw is None:
            return
        try:
            ioc = _INDICATORS.decode(raw)
            objects = tenant_objects(ioc) if ioc.tenant in self._tenants else []
        except (msgspec.MsgspecError, RecursionError, UnicodeError, KeyError):
            self.unreadable += 1  # a kind of a later version has no meaning here
            return
        for item in objects:
            self._add(Collection(ioc.tlp, ioc.tenant), item, timestamp_ms)

    def _add(self, to: Collection, item: dict[str, Any], timestamp_ms: int) -> None:
        versions = self._versions[to].setdefault(item["id"], [])
        version = str(item.get("modified") or item.get("created") or "")
        if any(entry.version == version for entry in versions):
            return
        # later than all before, so that a client that asks for later additions misses nothing
        self._last = max(timestamp_ms * 1000, self._last + 1)
        entry = ObjectVersion(
            self._last,
            item["id"],
            item["type"],
            version,
            str(item.get("spec_version", "2.1")),
            msgspec.Raw(msgspec.json.encode(item)),
        )
        bisect.insort(versions, entry, key=lambda entry: entry.version)
        self._entries[to].append(entry)
        if len(self._entries[to]) > self._most:
            self._drop(to)

    def _drop(self, full: Collection) -> None:
        """Remove the oldest tenth of a collection, so that it is seldom done."""
        entries = self._entries[full]
        gone = entries[: max(1, len(entries) // 10)]
        del entries[: len(gone)]
        self.dropped += len(gone)
        for entry in gone:
            versions = self._versions[full][entry.id]
            versions.remove(entry)
            if not versions:
                del self._versions[full][entry.id]

    def after(self, collection: Collection, added: int) -> Iterator[ObjectVersion]:
        """Yield the entries of a collection that were added after a time, the oldest first."""
        entries = self._entries[collection]
        start = bisect.bisect_right(entries, added, key=lambda entry: entry.added)
        for at in range(start, len(entries)):
            yield entries[at]

    def versions(self, collection: Collection, uid: str) -> tuple[ObjectVersion, ...]:
        """Return the versions of an object, the first version first; none if it is unknown."""
        return tuple(self._versions[collection].get(uid, ()))


def _marking(item: object) -> Tlp | None:
    """Return the TLP marking of an object that can be kept, None for any other."""
    if not isinstance(item, dict):
        return None
    uid, kind = item.get("id"), item.get("type")
    if not isinstance(uid, str) or not isinstance(kind, str) or not _STIX_ID.fullmatch(uid):
        return None
    if uid in _TLP_OF:
        return _TLP_OF[uid]
    refs = item.get("object_marking_refs")
    marks = [_TLP_OF[ref] for ref in _texts(refs) if ref in _TLP_OF]
    # of several the strictest counts
    return max(marks, key=TLP_ORDER.index, default=None)


def _texts(values: object) -> Iterable[str]:
    return [value for value in values if isinstance(value, str)] if isinstance(values, list) else []
