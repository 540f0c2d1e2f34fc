"""Reads files: lock files and SBOMs, listings of registries, the history of OpenLineage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from schemas.errors import UnreadableRecordError
from schemas.events import TYPE_REGISTRY_PUSH, Event, File, PushAction, RegistryPush
from streams.adapters import ADAPTERS, adapt
from streams.adapters.manifests.kinds import Family, ManifestContent, kinds_of, named
from streams.adapters.manifests.neighbours import Neighbours, root_for
from streams.adapters.payload import at, items, moment, text
from streams.baseline.units import (
    BaselineError,
    BaselineOrigin,
    Unit,
    as_baseline,
    event_of,
    fingerprint,
    modified,
    unreadable,
)

MAX_BYTES: Final = 512 * 1024 * 1024
MANIFEST_BYTES: Final = 64 * 1024 * 1024
LINES: Final = 500
"""Lines of a history that are delivered together."""
LISTING: Final = "listing"
LINEAGE: Final = "openlineage"
KINDS: Final = (*ADAPTERS, LISTING)
_FILES: Final = 4000


def file_units(path: Path, origin: BaselineOrigin, kind: str | None) -> Iterator[Unit]:
    """Yield the units of a file.

    Args:
        path: The file.
        origin: Its tenant and system.
        kind: A kind of `tidewatch send --as`, or `listing`; by default detected from name and
            content.

    Raises:
        BaselineError: It can't be read, or is of no known kind.
    """
    try:
        with path.open("rb") as opened:
            head = opened.read(MANIFEST_BYTES)
            more = bool(opened.read(1))
    except OSError as error:
        raise unreadable(path, error) from error
    kind = kind or _kind_of(path, head)
    if kind is None:
        raise BaselineError(
            "its kind is not recognised",
            where=str(path),
            remedy=f"name its kind with --as, one of {', '.join(KINDS)}",
        )
    manifest = named(kind)
    if manifest is None and kind != LISTING:
        yield from _lines(path, origin, kind)
        return
    if more:
        raise BaselineError(f"it has more than {MANIFEST_BYTES} bytes", where=str(path))
    read = _listing if kind == LISTING else _manifest
    yield Unit(
        place=str(path),
        fingerprint=fingerprint(kind, origin.tenant, origin.system, str(path), head),
        events=partial(read, path, head, origin, kind),
    )


def _kind_of(path: Path, head: bytes) -> str | None:
    found = [
        candidate
        for candidate in kinds_of(path.name, ManifestContent(head))
        if candidate.family is Family.PACKAGES
    ]
    if found:
        return found[0].name
    first = head.lstrip()[:1]
    if first not in {b"{", b"["}:
        return None
    try:
        line = head.lstrip().split(b"\n", 1)[0] if first == b"{" else head
        document = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        try:
            document = msgspec.json.decode(head)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
    if isinstance(document, list):
        document = document[0] if document else None
    if not isinstance(document, dict):
        return None
    if "run" in document and "job" in document:
        return LINEAGE
    if "model_versions" in document or ("id" in document and "sha" in document):
        return LISTING
    return None


def _manifest(path: Path, raw: bytes, origin: BaselineOrigin, kind: str) -> list[Event[Any]]:
    root = root_for(path)
    place = path.resolve()
    inside = place.relative_to(root).as_posix() if place.is_relative_to(root) else path.name
    received = int(modified(path).timestamp() * 1000)
    return _adapted(kind, raw, str(path), origin, received, files=Neighbours(root), path=inside)


def _adapted(
    kind: str,
    raw: bytes,
    place: str,
    origin: BaselineOrigin,
    received_ms: int,
    **options: Any,  # noqa: ANN401 -- as of adapters
) -> list[Event[Any]]:
    known = {"system": origin.system, "registry": origin.registry, **options}
    try:
        events = adapt(
            kind,
            raw,
            tenant=origin.tenant,
            received_ms=received_ms,
            **{name: value for name, value in known.items() if value is not None},
        )
    except UnreadableRecordError as error:
        raise BaselineError(
            f"it is not a {kind} ({error.reason})", where=f"{place}: {error.where}"
        ) from error
    return as_baseline(events)


def _lines(path: Path, origin: BaselineOrigin, kind: str) -> Iterator[Unit]:
    """Yield the units of a history, one document a line, so that reading can be resumed."""
    received = int(modified(path).timestamp() * 1000)
    number = 0
    with path.open("rb") as opened:
        while True:
            lines: list[tuple[int, bytes]] = []
            while len(lines) < LINES and (line := opened.readline(MAX_BYTES)):
                number += 1
                if line.strip():
                    lines.append((number, line))
            if not lines:
                return
            yield Unit(
                place=f"{path}:{lines[0][0]}",
                fingerprint=fingerprint(
                    kind, origin.tenant, origin.system, *(line for _, line in lines)
                ),
                events=partial(_history, lines, path, origin, kind, received),
            )


def _history(
    lines: Sequence[tuple[int, bytes]], path: Path, origin: BaselineOrigin, kind: str, received: int
) -> list[Event[Any] | BaselineError]:
    found: list[Event[Any] | BaselineError] = []
    for number, line in lines:
        try:
            found += _adapted(kind, line, f"{path}:{number}", origin, received)
        except BaselineError as error:
            found.append(error)  # the other lines count all the same
    return found


def _listing(path: Path, raw: bytes, origin: BaselineOrigin, _kind: str) -> list[Event[Any]]:
    """Return the versions that a registry lists: the hub's models, or MLflow's model versions.

    Source: Hub API `GET /api/models?full=true`; MLflow REST API `model-versions/search`.
    """
    try:
        document = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BaselineError("it is not JSON", where=str(path), remedy=str(error)[:200]) from error
    since = modified(path)
    if isinstance(document, dict) and "model_versions" in document:
        found = [_mlflow(entry, origin, since) for entry in items(document, "model_versions")]
    else:
        entries = document if isinstance(document, list) else [document]
        found = [_hub(entry, origin, since) for entry in entries]
    events = [event for event in found if event is not None]
    if not events:
        raise BaselineError("it lists no version of a model", where=str(path))
    return events


def _hub(entry: Any, origin: BaselineOrigin, since: datetime) -> Event[Any] | None:  # noqa: ANN401 -- any JSON value
    name = text(entry, "id") or text(entry, "modelId")
    revision = text(entry, "sha")
    if name is None or revision is None:
        return None
    files = []
    for sibling in items(entry, "siblings")[:_FILES]:
        path = text(sibling, "rfilename")
        size = at(sibling, "size")
        digest = text(sibling, "lfs", "sha256") or text(sibling, "lfs", "oid")
        if path is not None:
            files.append(
                File(
                    path=path,
                    size=size if isinstance(size, int) and size >= 0 else None,
                    digests={"sha256": digest} if digest else {},
                )
            )
    return _version(
        origin, "huggingface", name, revision, tuple(files), None,
        moment(at(entry, "lastModified")) or since,
    )  # fmt: skip


def _mlflow(entry: Any, origin: BaselineOrigin, since: datetime) -> Event[Any] | None:  # noqa: ANN401 -- any JSON value
    name, version = text(entry, "name"), text(entry, "version")
    if name is None or version is None:
        return None
    made = at(entry, "creation_timestamp")
    try:
        time = datetime.fromtimestamp(int(made) / 1000, UTC) if made else since
    except (ValueError, TypeError, OverflowError, OSError):
        time = since
    aliases = [alias for alias in items(entry, "aliases") if isinstance(alias, str)]
    tag = aliases[0] if aliases else None
    return _version(origin, origin.registry or "mlflow", name, version, (), tag, time)


def _version(
    origin: BaselineOrigin,
    registry: str,
    name: str,
    revision: str,
    files: tuple[File, ...],
    tag: str | None,
    time: datetime,
) -> Event[Any]:
    return event_of(
        origin,
        TYPE_REGISTRY_PUSH,
        f"model:{registry}/{name}",
        # a listing is not a push: the tenant has the version, but did not introduce it
        RegistryPush(
            action=PushAction.PULL,
            registry=registry,
            repository=name,
            revision=revision,
            tag=tag,
            files=files,
        ),
        what=LISTING,
        time=time,
    )
