"""Read OSV records of malicious and compromised packages, singly or from an archive."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from io import BytesIO
from itertools import groupby
from typing import Any, Final

import msgspec
import orjson
from packaging.version import Version

from agents.checks.packages.versions import parse_version
from agents.intelligence.feed import Feed, InvalidFeedError, with_popularity
from schemas.components import InvalidComponentError, component_key, is_sha256
from schemas.counting import counted
from schemas.intel import IntelFact, IntelKind, VersionRange

SOURCE: Final = "OSV:"
ECOSYSTEM: Final = "pypi"
MEMBERS_LIMIT: Final = 500_000
MEMBER_BYTES: Final = 8 << 20
TOTAL_BYTES: Final = 2 << 30
RATIO_LIMIT: Final = 200
"""Most uncompressed bytes per compressed byte of an archive; JSON stays far below it."""
VERSIONS_LIMIT: Final = 20_000
AFFECTED_LIMIT: Final = 10_000
_DEPTH: Final = 8
_UNREADABLE_ARCHIVE: Final = (
    *(zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError),
    *(EOFError, OSError, ValueError),
)
"""What zipfile raises on hostile bytes: bad methods, passwords, offsets, deflated data."""
_INTRODUCED: Final = 0
_ENDS: Final = ("", "fixed", "last_affected")
_AT_AN_END: Final = (1, 0, 2)
_KINDS: Final[dict[str, tuple[IntelKind, float]]] = {
    "mal": (IntelKind.MALICIOUS, 0.95),
    "pentest": (IntelKind.MALICIOUS, 0.8),
    "susp": (IntelKind.MALICIOUS, 0.6),
    "spam": (IntelKind.BLOCKED, 0.6),
    "hacktool": (IntelKind.BLOCKED, 0.6),
    "compromised": (IntelKind.COMPROMISED, 0.95),
}


class _Event(msgspec.Struct):
    introduced: str | None = None
    fixed: str | None = None
    last_affected: str | None = None
    limit: str | None = None


class _Range(msgspec.Struct):
    type: str = "ECOSYSTEM"
    events: list[_Event] = []


class _Package(msgspec.Struct):
    ecosystem: str
    name: str


class _Affected(msgspec.Struct):
    package: _Package | None = None
    ranges: list[_Range] = []
    versions: list[str] = []
    database_specific: dict[str, Any] | None = None


class _Record(msgspec.Struct):
    id: str
    modified: datetime | None = None
    withdrawn: datetime | None = None
    summary: str | None = None
    affected: list[_Affected] = []
    database_specific: dict[str, Any] | None = None


_DECODER: Final = msgspec.json.Decoder(_Record)


def _ranges(affected: _Affected) -> Iterator[VersionRange]:
    """Yield the version ranges; ranges of commits do not name releases."""
    for span in affected.ranges:
        if span.type.upper() != "GIT":
            yield from _of_events(span.events)


def _of_events(events: Sequence[_Event]) -> Iterator[VersionRange]:
    """Yield the ranges that events describe, in any order.

    A `limit` does not end a range: versions beyond the highest limit are not affected.
    """
    marks = [
        (text, rank)
        for event in events
        for rank, text in enumerate((event.introduced, event.fixed, event.last_affected))
        if text is not None
    ]
    if all(parse_version(text) is not None for text, _ in marks):
        marks.sort(key=_version_order)
    limit = _furthest([event.limit for event in events if event.limit is not None])
    start: str | None = None
    for _, group in groupby(marks, key=lambda mark: parse_version(mark[0]) or mark[0]):
        # Where one range ends and the next begins at the same version, the end comes first.
        ended = start is not None
        for text, rank in sorted(group, key=lambda mark: _AT_AN_END[mark[1]] if ended else mark[1]):
            if rank == _INTRODUCED:
                start = text if start is None else start
            elif start is not None:
                yield _within(VersionRange(introduced=start, **{_ENDS[rank]: text}), limit)
                start = None
    if start is not None:
        yield _within(VersionRange(introduced=start), limit)


def _version_order(mark: tuple[str, int]) -> tuple[bool, Version, int]:
    """Return the sort key of an event: "0" is below every version, also pre-releases of 0."""
    first = mark == ("0", _INTRODUCED)
    return not first, parse_version(mark[0]) or Version("0"), mark[1]


def _furthest(limits: Sequence[str]) -> str | None:
    """Return the highest limit, or None if a version may pass all of them."""
    if not limits or "*" in limits:
        return None
    known = [(version, text) for text in limits if (version := parse_version(text)) is not None]
    return max(known)[1] if len(known) == len(limits) else None


def _within(bounds: VersionRange, limit: str | None) -> VersionRange:
    high = parse_version(limit) if limit is not None else None
    end = parse_version(bounds.fixed or bounds.last_affected or "")
    if high is None or (end is not None and end < high):
        return bounds
    return VersionRange(introduced=bounds.introduced, fixed=limit)


def _digests(value: Any, depth: int = 0) -> Iterator[str]:  # noqa: ANN401 -- any JSON value
    """Yield the SHA-256 digests among a record's indicators, whatever their names."""
    if depth > _DEPTH:
        return
    if isinstance(value, dict):
        for key, inner in value.items():
            if isinstance(inner, str) and "sha256" in key.lower().replace("-", ""):
                text = inner.lower().removeprefix("sha256:")
                if is_sha256(text):
                    yield text
            else:
                yield from _digests(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            yield from _digests(inner, depth + 1)


def _indicators(record: _Record, affected: _Affected) -> Any:  # noqa: ANN401 -- any JSON value
    """Return the parts of a record that list bad files; digests of its origins are of reports."""
    parts = [affected.database_specific, record.database_specific]
    return [
        part.get(name)
        for part in parts
        if isinstance(part, dict)
        for name in ("indicators", "iocs", "package_integrity")
    ]


def _kind(record: _Record, affected: _Affected, ranges: tuple[VersionRange, ...]) -> Any:  # noqa: ANN401
    named = (record.database_specific or {}).get("kind")
    if isinstance(named, str) and named in _KINDS:
        return _KINDS[named]
    if not record.id.startswith("MAL-"):
        return None
    # A good package with bad releases lists versions and gives no range.
    bad_releases = bool(affected.versions) and not ranges
    return (IntelKind.COMPROMISED if bad_releases else IntelKind.MALICIOUS), 0.9


def read_record(raw: bytes, feed: Feed, where: str = "record") -> None:
    """Read one OSV record into a feed.

    Count and skip advisories of vulnerabilities and packages of other ecosystems.

    Args:
        raw: JSON.
        feed: The feed to add its facts to.
        where: The record's name, for `Feed.problems`.

    Source: OSV schema 1.7.
    """
    feed.records += 1
    try:
        record = _DECODER.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        feed.refuse(where, str(error))
        return
    if not record.affected:
        feed.refuse(where, "no affected package")
        return
    for affected in record.affected[:AFFECTED_LIMIT]:
        package = affected.package
        if package is None or package.ecosystem.partition(":")[0].lower() != ECOSYSTEM:
            feed.skip(f"ecosystem {package.ecosystem if package else 'not named'}"[:60])
            continue
        try:
            key = component_key("pypi", package.name)
        except InvalidComponentError as error:
            feed.refuse(where, str(error))
            continue
        if record.withdrawn is not None:
            feed.withdrawn[key] = (*feed.withdrawn.get(key, ()), f"{SOURCE}{record.id}")
            continue
        ranges = tuple(_ranges(affected))
        kind = _kind(record, affected, ranges)
        if kind is None:
            feed.skip("vulnerability, not malice")
            continue
        _take(record, affected, key, ranges, kind, feed)


def _take(
    record: _Record,
    affected: _Affected,
    key: str,
    ranges: tuple[VersionRange, ...],
    kind: tuple[IntelKind, float],
    feed: Feed,
) -> None:
    digests = tuple(dict.fromkeys(_digests(_indicators(record, affected))))
    sources = (f"{SOURCE}{record.id}",)
    if len(affected.versions) > VERSIONS_LIMIT:
        feed.refuse(record.id, f"more than {VERSIONS_LIMIT} versions")
        return
    feed.add(
        with_popularity(
            IntelFact(
                key=key,
                kind=kind[0],
                versions=tuple(affected.versions),
                ranges=ranges,
                digests=digests,
                sources=sources,
                confidence=kind[1],
                modified=record.modified,
                summary=record.summary[:500] if record.summary else None,
            )
        )
    )
    for digest in digests:
        feed.add(
            IntelFact(
                key=f"sha256:{digest}",
                kind=IntelKind.MALICIOUS,
                digests=(digest,),
                sources=sources,
                confidence=kind[1],
                modified=record.modified,
                summary=f"file of {key}: {record.summary or record.id}"[:500],
                details={"component": key},
            )
        )


def read_archive(raw: bytes, where: str = "archive") -> Feed:
    """Return the facts of an ecosystem's archive (`all.zip`).

    Args:
        raw: The zip file.
        where: Its name, for errors.

    Raises:
        InvalidFeedError: not a zip file, encrypted, a zip bomb, or without records of PyPI.
    """
    feed = Feed(complete=True)
    try:
        with zipfile.ZipFile(BytesIO(raw)) as archive:
            members = [member for member in archive.infolist() if member.filename.endswith(".json")]
            total = sum(member.file_size for member in members)
            if (
                len(members) > MEMBERS_LIMIT
                or total > TOTAL_BYTES
                or total > max(len(raw), 1 << 20) * RATIO_LIMIT
            ):
                raise InvalidFeedError(
                    f"an archive of {counted(len(members), 'record')} "
                    f"that expands to {total:,} bytes",
                    where=where,
                    remedy="fetch it again from its source; this one would fill the memory",
                )
            for member in members:
                _read_member(archive, member, feed)
    except _UNREADABLE_ARCHIVE as error:
        raise InvalidFeedError(f"not a zip archive of records ({error})", where=where) from error
    if not feed.records:
        raise InvalidFeedError("an archive without OSV records", where=where)
    _require_use(feed, where)
    return feed


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, feed: Feed) -> None:
    if member.file_size > MEMBER_BYTES:
        feed.records += 1
        feed.refuse(member.filename[:100], f"a record of {member.file_size:,} bytes")
        return
    # Bound the read by the limit: the declared size may be false.
    with archive.open(member) as file:
        content = file.read(MEMBER_BYTES + 1)
    if len(content) > MEMBER_BYTES:
        feed.records += 1
        feed.refuse(member.filename[:100], "it expands to more than it declares")
        return
    read_record(content, feed, member.filename[:100])


def _require_use(feed: Feed, where: str) -> None:
    if feed.facts or feed.withdrawn:
        return
    if feed.malformed == feed.records:
        raise InvalidFeedError(
            f"none of {counted(feed.records, 'record')} can be read ({feed.problems[0]})",
            where=where,
        )
    reasons = ", ".join(sorted(feed.skipped)[:5])
    raise InvalidFeedError(
        f"it lists no malicious packages of PyPI ({reasons})",
        where=where,
        remedy="import the archive of the ecosystem PyPI",
    )


def read_single(raw: bytes, where: str = "record") -> Feed:
    """Return the facts of one OSV record, or of a JSON list of them.

    Raises:
        InvalidFeedError: not JSON, or without any usable record.
    """
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise InvalidFeedError(f"not JSON ({error})", where=where) from error
    feed = Feed()
    records = document if isinstance(document, list) else [document]
    for number, record in enumerate(records):
        if not isinstance(record, Mapping):
            feed.records += 1
            feed.refuse(f"{where}[{number}]", "no object")
            continue
        read_record(orjson.dumps(record), feed, f"{where}[{number}]")
    if not feed.records:
        raise InvalidFeedError("no record in it", where=where)
    _require_use(feed, where)
    return feed
