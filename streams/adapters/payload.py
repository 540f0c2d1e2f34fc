"""Read untrusted payloads within limits, and build native events from them."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import orjson
from packageurl import PackageURL

from schemas import dead_letters as reasons
from schemas.canonical import canonical_json, stable_id
from schemas.cloudevents import MAX_DEPTH, nesting
from schemas.components import is_sha256
from schemas.errors import UnreadableRecordError
from schemas.events import (
    TYPE_PIPELINE_RUN,
    TYPE_REGISTRY_PUSH,
    ComponentRef,
    DataSource,
    Event,
    PipelineRun,
    RegistryPush,
)

MAX_PAYLOAD_BYTES: Final = 8 << 20
NAME_LIMIT: Final = 2_048
ID_LIMIT: Final = 1_024
MAX_ITEMS: Final = 1_000
"""Most entries of a list in a payload; a longer list is refused, never truncated."""
PRODUCTION: Final = frozenset({"production", "prod", "serving", "champion", "live"})
"""Aliases and stages that mean that a model version is in use."""
_OLDEST_YEAR: Final = 2000
_SECONDS_LIMIT: Final = 100_000_000_000
"""A larger epoch is in milliseconds, not seconds."""
_SPACED_TIME: Final = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d) (?P<time>\d\d:\d\d:\d\d(?:\.\d{1,9})?)"
    r" ?(?:UTC|Z|(?P<sign>[+-])(?P<hours>\d\d):?(?P<minutes>\d\d))",
    re.ASCII,
)
_HF: Final = re.compile(
    r"(?:hf://|https://huggingface\.co/)(?P<kind>datasets/|models/)?"
    r"(?P<name>[\w.-]{1,96}/[\w.-]{1,96})(?:@(?P<revision>[\w./-]{1,200}))?/?"
)
_DATA_NAME: Final = re.compile(r"data|corpus|train(?:ing)?[_-]?(?:set|file|path|url|uri)|source",
                               re.IGNORECASE)  # fmt: skip
_URL: Final = re.compile(r"[a-z][a-z0-9+.-]{1,15}://\S+", re.IGNORECASE)


class Payload(msgspec.Struct, frozen=True, kw_only=True):
    """A payload with the options of its sender and receiver."""

    body: dict[str, Any]
    raw: bytes
    headers: Mapping[str, str]
    """By lower-case name."""
    tenant: str
    source: str | None = None
    system: str | None = None
    time: datetime | None = None
    """Time of reception, for payloads without a time."""
    options: Mapping[str, Any] = {}

    def header(self, name: str) -> str | None:
        """Return a header of the request, or None if it is absent or empty."""
        return self.headers.get(name.lower()) or None

    def registry(self, default: str | None) -> str | None:
        """Return the registry's name: the option `registry`, else the payload's."""
        named = self.options.get("registry")
        return named if isinstance(named, str) and named else default


def refuse(error: str, reason: str = reasons.INVALID_EVENT) -> UnreadableRecordError:
    """Return the error for a payload that can't be read."""
    return UnreadableRecordError(reason, error)


def read_payload(
    payload: bytes | str | Mapping[str, Any],
    *,
    tenant: str | None,
    source: str | None = None,
    system: str | None = None,
    time: datetime | None = None,
    received_ms: int | None = None,
    headers: Mapping[str, str] | None = None,
    **options: Any,  # noqa: ANN401 -- each kind has its own
) -> Payload:
    """Read a producer's payload within limits.

    A payload saved together with its request's headers, as `{"_headers": …, "_body": …}`, is
    split. The last of duplicate JSON names counts.

    Raises:
        UnreadableRecordError: no tenant, too large, too deep, not a JSON object.
    """
    if not tenant or len(tenant) > ID_LIMIT:
        raise refuse("no tenant; name it with --tenant", reasons.MISSING_IDENTITY)
    if isinstance(payload, Mapping):
        raw = canonical_json(payload)
    else:
        raw = payload.encode() if isinstance(payload, str) else bytes(payload)
    if len(raw) > MAX_PAYLOAD_BYTES:
        raise refuse(f"{len(raw)} bytes, the limit is {MAX_PAYLOAD_BYTES}", reasons.TOO_LARGE)
    if nesting(raw) > MAX_DEPTH:
        raise refuse(f"nested deeper than {MAX_DEPTH}", reasons.TOO_DEEP)
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise refuse(str(error), reasons.INVALID_JSON) from error
    given = {name.lower(): value for name, value in (headers or {}).items()}
    if isinstance(body, dict) and isinstance(body.get("_body"), dict):
        saved = body.get("_headers")
        if isinstance(saved, dict):
            given |= {str(k).lower(): v for k, v in saved.items() if isinstance(v, str)}
        body = body["_body"]
    if not isinstance(body, dict):
        raise refuse("the payload is not a JSON object")
    if time is None and received_ms is not None:
        time = datetime.fromtimestamp(received_ms / 1000, UTC)
    return Payload(
        body=body,
        raw=raw,
        headers=given,
        tenant=tenant,
        source=source,
        system=system,
        time=time,
        options=options,
    )


def at(document: Any, *path: str) -> Any:  # noqa: ANN401 -- any JSON value
    """Return the value at a path of names, or None."""
    for name in path:
        if not isinstance(document, dict):
            return None
        document = document.get(name)
    return document


def text(document: Any, *path: str) -> str | None:  # noqa: ANN401 -- any JSON value
    """Return the string or number at a path as text, or None if absent or empty.

    Raises:
        UnreadableRecordError: it is longer than any name may be.
    """
    value = at(document, *path)
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    result = str(value).strip()
    if len(result) > NAME_LIMIT:
        raise refuse(f"{'.'.join(path)} is longer than {NAME_LIMIT} characters")
    return result or None


def items(document: Any, *path: str) -> list[Any]:  # noqa: ANN401 -- any JSON value
    """Return the list at a path, or an empty one.

    Raises:
        UnreadableRecordError: it has more than `MAX_ITEMS` entries.
    """
    value = at(document, *path)
    if not isinstance(value, list):
        return []
    if len(value) > MAX_ITEMS:
        raise refuse(f"{'.'.join(path)} has {len(value)} entries, the limit is {MAX_ITEMS}")
    return value


def _rfc3339(text: str) -> str:
    """Return a time as RFC 3339 writes it; GitLab writes `2026-11-03 10:20:30 UTC` or ` +0200`."""
    match = _SPACED_TIME.fullmatch(text)
    if match is None:
        return text
    sign, hours, minutes = match["sign"], match["hours"], match["minutes"]
    zone = f"{sign}{hours}:{minutes}" if sign else "Z"
    return f"{match['date']}T{match['time']}{zone}"


def moment(value: Any) -> datetime | None:  # noqa: ANN401 -- any JSON value
    """Parse a time: RFC 3339, with blanks as GitLab, or an epoch in seconds or milliseconds.

    Years before 2000 mean "none" (Go's zero time is the year 1).
    """
    result: datetime | None = None
    if isinstance(value, str) and value:
        try:
            result = msgspec.convert(_rfc3339(value), datetime)
        except msgspec.ValidationError:
            return moment(int(value)) if value.isascii() and value.isdigit() else None
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = value / 1000 if value > _SECONDS_LIMIT else value
        try:
            result = datetime.fromtimestamp(seconds, UTC)
        except (OverflowError, OSError, ValueError):
            return None
    if result is None or result.year < _OLDEST_YEAR:
        return None
    try:
        return result.astimezone(UTC) if result.tzinfo else result.replace(tzinfo=UTC)
    except OverflowError:
        return None


def sha256_digest(value: str | None) -> dict[str, str]:
    """Return the digests of a value like `sha256:…`; empty for any other."""
    plain = (value or "").strip().lower().removeprefix("sha256:")
    return {"sha256": plain} if is_sha256(plain) else {}


def host_of(url: str | None) -> str | None:
    """Return the host of a URL or of `host/path`, or None."""
    if not url:
        return None
    try:
        return urlsplit(url if "://" in url else f"//{url}").hostname
    except ValueError:
        return None


def derived_id(kind: str, *parts: str | None) -> str:
    """Derive an event id from the parts that identify it."""
    return stable_id(kind, *(part or "" for part in parts))


def received_hour(payload: Payload) -> str:
    """Return the hour of reception, for ids of payloads with neither id nor time.

    A producer's retries fall into it; the same content deployed again the next day does not.
    """
    return payload.time.strftime("%Y-%m-%dT%H") if payload.time else ""


def registry_event(
    payload: Payload,
    push: RegistryPush,
    *,
    id: str,  # noqa: A002 -- the attribute's name in CloudEvents
    source: str,
    time: datetime | None,
) -> Event[RegistryPush]:
    """Return the native event of a push; its subject is the kind, registry and repository."""
    name = "/".join(part for part in (push.registry, push.repository) if part)
    if not push.repository:
        raise refuse("the payload names no repository", reasons.MISSING_IDENTITY)
    return Event(
        id=id[:ID_LIMIT],
        source=(payload.source or source)[:ID_LIMIT],
        type=TYPE_REGISTRY_PUSH,
        subject=f"{push.kind}:{name}"[:ID_LIMIT],
        time=_time(payload, time),
        tenantid=payload.tenant,
        data=push,
    )


def run_event(
    payload: Payload,
    run: PipelineRun,
    *,
    id: str,  # noqa: A002 -- the attribute's name in CloudEvents
    source: str,
    time: datetime | None,
) -> Event[PipelineRun]:
    """Return the native event of a run; its subject is the pipeline."""
    if not run.pipeline:
        raise refuse("the payload names no pipeline", reasons.MISSING_IDENTITY)
    if payload.system and run.system is None:
        run = msgspec.structs.replace(run, system=payload.system)
    return Event(
        id=id[:ID_LIMIT],
        source=(payload.source or source)[:ID_LIMIT],
        type=TYPE_PIPELINE_RUN,
        subject=f"pipeline:{run.pipeline}"[:ID_LIMIT],
        time=_time(payload, time),
        tenantid=payload.tenant,
        data=run,
    )


def _time(payload: Payload, time: datetime | None) -> datetime:
    known = time or payload.time
    if known is None:
        raise refuse("the payload has no time; give the time of reception",
                     reasons.MISSING_IDENTITY)  # fmt: skip
    return known


class Parameters(msgspec.Struct, frozen=True, kw_only=True):
    """The content of a run's parameters: models, datasets, and the configuration."""

    config: msgspec.Raw
    inputs: tuple[ComponentRef, ...] = ()
    data_sources: tuple[DataSource, ...] = ()


NO_CONFIG: Final = msgspec.Raw(b"null")


def read_parameters(parameters: Mapping[str, Any]) -> Parameters:
    """Return parameters as configuration, with the models and datasets they refer to.

    A hub address is an input; any other address under a name that suggests data is a data source.
    """
    if not parameters:
        return Parameters(config=NO_CONFIG)
    inputs: list[ComponentRef] = []
    sources: list[DataSource] = []
    for name, value in list(parameters.items())[:MAX_ITEMS]:
        if not isinstance(value, str) or len(value) > NAME_LIMIT:
            continue
        match = _HF.fullmatch(value.strip())
        if match is not None:
            data = match["kind"] == "datasets/" or (
                match["kind"] is None and "dataset" in name.lower()
            )
            inputs.append(
                ComponentRef(
                    component=f"{'dataset' if data else 'model'}:huggingface/{match['name']}",
                    revision=match["revision"],
                )
            )
        elif _URL.fullmatch(value.strip()) and _DATA_NAME.search(name):
            sources.append(DataSource(url=value.strip(), name=name[:NAME_LIMIT]))
    return Parameters(
        config=msgspec.Raw(orjson.dumps(parameters)),
        inputs=tuple(inputs),
        data_sources=tuple(sources),
    )


class Purl(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of a package URL that adapters use."""

    type: str
    name: str
    """Name with namespace."""
    version: str | None = None
    qualifiers: Mapping[str, str] = {}


def read_purl(value: str) -> Purl | None:
    """Parse a package URL; return None for any other text.

    Source: the purl specification (`scheme:type/namespace/name@version?qualifiers#subpath`).
    """
    try:
        read = PackageURL.from_string(value)
    except ValueError:
        return None
    name = f"{read.namespace}/{read.name}" if read.namespace else read.name
    qualifiers = read.qualifiers if isinstance(read.qualifiers, dict) else {}
    return Purl(
        type=read.type,
        name=posixpath.normpath(name),
        version=read.version or None,
        qualifiers=qualifiers,
    )


def adapter(
    read: Callable[[Payload], list[Event[Any]]],
) -> Callable[..., list[Event[Any]]]:
    """Return an adapter that takes a raw payload and the options of `read_payload`."""

    def adapted(payload: bytes | str | Mapping[str, Any], **options: Any) -> list[Event[Any]]:  # noqa: ANN401 -- see read_payload
        return read(read_payload(payload, **options))

    adapted.__doc__ = read.__doc__
    adapted.__name__ = read.__name__
    return adapted
