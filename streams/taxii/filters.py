"""Reads the filters of a TAXII request, and applies them to a collection."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

import msgspec

from streams.http.problems import HttpError
from streams.taxii.shelf import Collection, ObjectVersion, Shelf, to_micros

MAX_MATCHES: Final = 100
"""Most values of one filter."""
_CURSOR: Final = re.compile(r"[0-9a-z]{1,13}")
_VERSION_WORDS: Final = frozenset({"first", "last", "all"})


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """The filters of a request."""

    after: int = -1
    """Added later than this, in microseconds since 1970."""
    limit: int
    ids: frozenset[str] = frozenset()
    types: frozenset[str] = frozenset()
    spec_versions: frozenset[str] = frozenset()
    versions: frozenset[str] = frozenset({"last"})


class ObjectPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the matching objects."""

    entries: tuple[ObjectVersion, ...]
    next: str | None = None
    """The value of `next` that continues it; None: there is no more."""


def read_filters(query: Mapping[str, str], *, most: int, object_id: str | None = None) -> Filters:
    """Return the filters of a request.

    Args:
        query: The query's parameters; unknown ones are ignored, as the standard requires.
        most: Most objects of a page, even if more are requested.
        object_id: The object that the path names.

    Raises:
        HttpError: 400: a value can't be understood.

    Source: TAXII 2.1, section 3.4 (filtering) and 3.5 (pagination).
    """
    after = -1
    if "added_after" in query:
        after = to_micros(_time(query["added_after"], "added_after"))
    if "next" in query:
        if not _CURSOR.fullmatch(query["next"]):
            raise _refused("it is not from this server", "next")
        after = max(after, int(query["next"], 36))
    ids = _values(query, "match[id]")
    return Filters(
        after=after,
        limit=_limit(query.get("limit"), most),
        ids=ids if object_id is None else frozenset({object_id}),
        types=_values(query, "match[type]") if object_id is None else frozenset(),
        spec_versions=_values(query, "match[spec_version]"),
        versions=_versions(query),
    )


def _limit(text: str | None, most: int) -> int:
    if text is None:
        return most
    if not (text.isascii() and text.isdigit() and len(text) <= 9) or int(text) < 1:  # noqa: PLR2004 -- digits of a number that no page needs
        raise _refused("it is not a number above 0", "limit")
    return min(int(text), most)


def _values(query: Mapping[str, str], name: str) -> frozenset[str]:
    values = frozenset(filter(None, query.get(name, "").split(",")))
    if len(values) > MAX_MATCHES:
        raise _refused(f"it has more than {MAX_MATCHES} values", name)
    return values


def _versions(query: Mapping[str, str]) -> frozenset[str]:
    found = _values(query, "match[version]")
    times = {_canonical(_time(value, "match[version]")) for value in found - _VERSION_WORDS}
    return (found & _VERSION_WORDS) | times or frozenset({"last"})


def _time(text: str, name: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise _refused("it is not an RFC 3339 time", name) from None
    if time.tzinfo is None:
        raise _refused("it has no time zone", name)
    return time.astimezone(UTC)


def _canonical(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="microseconds")


def _same_time(version: str) -> str:
    """Return a version in the form in which times are compared."""
    try:
        return _canonical(datetime.fromisoformat(version))
    except ValueError:
        return version


def _refused(what: str, where: str) -> HttpError:
    return HttpError(HTTPStatus.BAD_REQUEST, what, where=where)


def matching(shelf: Shelf, collection: Collection, filters: Filters) -> ObjectPage:
    """Return the first page of a collection's objects after the start of the filters.

    Args:
        shelf: All objects.
        collection: The collection.
        filters: The filters.
    """
    later = shelf.after(collection, filters.after)
    return _paged(later, filters, lambda entry: _matches(shelf, collection, filters, entry))


def versions_of(shelf: Shelf, collection: Collection, uid: str, filters: Filters) -> ObjectPage:
    """Return a page of the versions of an object, in the order in which they were added."""
    known = sorted(shelf.versions(collection, uid), key=lambda version: version.added)
    later = (entry for entry in known if entry.added > filters.after)
    specs = filters.spec_versions
    return _paged(later, filters, lambda entry: not specs or entry.spec_version in specs)


def _paged(
    entries: Iterable[ObjectVersion], filters: Filters, wanted: Callable[[ObjectVersion], bool]
) -> ObjectPage:
    found: list[ObjectVersion] = []
    for entry in entries:
        if not wanted(entry):
            continue
        if len(found) == filters.limit:
            return ObjectPage(entries=tuple(found), next=_base36(found[-1].added))
        found.append(entry)
    return ObjectPage(entries=tuple(found))


def _matches(shelf: Shelf, collection: Collection, filters: Filters, entry: ObjectVersion) -> bool:
    if filters.ids and entry.id not in filters.ids:
        return False
    if filters.types and entry.type not in filters.types:
        return False
    if filters.spec_versions and entry.spec_version not in filters.spec_versions:
        return False
    asked = filters.versions
    if "all" in asked:
        return True
    versions = shelf.versions(collection, entry.id)
    return (
        ("last" in asked and entry is versions[-1])
        or ("first" in asked and entry is versions[0])
        or _same_time(entry.version) in asked
    )


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return digits or "0"
