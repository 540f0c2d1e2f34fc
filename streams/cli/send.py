"""`tidewatch send`: a file of events, or a producer's own payload, to the topics they belong to."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import orjson
import typer

from schemas.cloudevents import read_event
from schemas.errors import TidewatchError, UnreadableRecordError
from schemas.events import Event
from schemas.severity import Severity
from streams.cli.frame import connected_settings, example, new_app
from streams.cli.gate import FailOnOption, TimeoutOption, print_all, shown
from streams.cli.output import Format, FormatOption, print_json, print_line
from streams.event_records import CHANNEL_OF_TYPE, CONTENT_TYPE, EventRecord, event_key, written

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from streams.gates import Assessed, EventName
    from streams.settings import Settings

app = new_app("Publish events from a file.")

MAX_FILE_BYTES = 512 * 1024 * 1024


@app.command(
    epilog=example(
        "tidewatch send events.jsonl",
        "pip install --quiet --report - torch | tidewatch send --as pip-report --tenant acme -",
    )
)
def send(
    file: Annotated[Path, typer.Argument(help="JSON, a JSON array or JSON lines; - for stdin")],
    *,
    kind: Annotated[
        str | None, typer.Option("--as", help="the file is a payload of this kind of producer")
    ] = None,
    tenant: Annotated[
        str | None, typer.Option(help="the tenant, if the payload does not name one")
    ] = None,
    system: Annotated[str | None, typer.Option(help="the host or runner of the events")] = None,
    image: Annotated[str | None, typer.Option(help="packages: the image they are in")] = None,
    index_url: Annotated[str | None, typer.Option(help="packages: the index that was used")] = None,
    extra_index_url: Annotated[
        list[str] | None, typer.Option(help="packages: an extra index that was used; repeatable")
    ] = None,
    lock: Annotated[
        Path | None, typer.Option(help="packages: hashed requirements, pylock.toml or uv.lock")
    ] = None,
    requirements: Annotated[
        Path | None, typer.Option(help="packages: the requirements that were requested")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="read everything, send nothing")] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="wait until all are assessed, and pass or fail by it")
    ] = False,
    fail_on: FailOnOption = Severity.MEDIUM,
    timeout: TimeoutOption = "10m",
    form: FormatOption = Format.TEXT,
) -> None:
    """Publish events, each to the topic of its type, as structured-mode CloudEvents.

    All events are read first: if one of them is unreadable, nothing is sent. Installers record
    neither the index nor the lock: pass them by the options for packages.

    With --wait it is a gate. Exit code 0: nothing at or above --fail-on; 1: a finding, or a failed
    check; 2: not assessed within --timeout, or something could not be checked.
    """
    from streams.gates import read_duration  # noqa: PLC0415 -- brings what waiting needs

    seconds = read_duration(timeout, "--timeout")
    if wait and check:
        raise TidewatchError(
            "--check sends nothing to wait for", where="--wait", remedy="leave one of them out"
        )
    known: dict[str, Any] = {
        "system": system,
        "image": image,
        "index_url": index_url,
        "extra_index_urls": tuple(extra_index_url or ()),
        "lock": _read_text(lock),
        "requirements": _read_text(requirements),
    }
    options = {name: value for name, value in known.items() if value}
    if options and kind is None:
        raise TidewatchError(
            f"{', '.join(options)}: only for payloads of other producers",
            where="send",
            remedy="name the producer with --as, or put it into the events",
        )
    settings = None if check else connected_settings()
    limit = settings.max_event_bytes if settings else MAX_FILE_BYTES
    records = read_records(file, kind=kind, tenant=tenant, max_bytes=limit, options=options)
    found: dict[EventName, Assessed | None] = {}
    if settings is not None and records and wait:
        found = asyncio.run(_publish_and_wait(settings, records, seconds))
    elif settings is not None and records:
        asyncio.run(publish(settings, records))
    reason = "" if records else _why_none(file)
    _tell(records, found, check=check, wait=wait, fail_on=fail_on, form=form, reason=reason)


def _why_none(file: Path) -> str:
    """Return why a file gave no event; of the standard input, which has been read, in general."""
    from streams.adapters.envelopes import why_no_event  # noqa: PLC0415 -- only then

    return why_no_event(b"" if str(file) == "-" else _read(file))


def _tell(
    records: Sequence[EventRecord],
    found: Mapping[EventName, Assessed | None],
    *,
    check: bool,
    wait: bool,
    fail_on: Severity,
    form: Format,
    reason: str,
) -> None:
    """Print what was sent and its result, or the reason if nothing was; with --wait, exit by it."""
    from streams.gates import NOT_DONE, verdict, worst_code  # noqa: PLC0415 -- the same

    counts = Counter(record.event.type for record in records)
    if form is Format.JSON:
        codes = {
            name: NOT_DONE if assessed is None else verdict(assessed, fail_on)
            for name, assessed in found.items()
        }
        print_json(
            {
                "sent": 0 if check else len(records),
                "read": len(records),
                "by_type": counts,
                **({"reason": reason} if reason else {}),
                "events": [
                    {
                        "id": event.id,
                        "source": event.source,
                        "tenant": event.tenantid,
                        "type": event.type,
                        "subject": event.subject,
                    }
                    for event, _ in records
                ],
                **(
                    {
                        "assessed": [
                            {"event_id": name[2], "code": codes[name], "final": False}
                            if assessed is None
                            else {"event_id": name[2], **shown(assessed, codes[name])}
                            for name, assessed in found.items()
                        ]
                    }
                    if wait
                    else {}
                ),
            }
        )
        _end(worst_code(list(codes.values())))
        return
    for name, count in sorted(counts.items()):
        print_line(f"{count:8} {name}")
    print_line(f"{len(records):8} {'read, none sent' if check else 'delivered'}")
    if not records:
        print_line(reason)
    _end(worst_code(print_all(found, fail_on)))


def _end(code: int) -> None:
    if code:
        raise typer.Exit(code)


async def _publish_and_wait(
    settings: Settings, records: Sequence[EventRecord], seconds: float
) -> dict[EventName, Assessed | None]:
    """Deliver events, and return what they were assessed as."""
    from streams.gates import following, wait_for_events  # noqa: PLC0415 -- the same

    # opened first: no assessment of what is sent is missed
    async with following(settings) as follower:
        await publish(settings, records)
        names = [
            (record.event.tenantid, record.event.source, record.event.id) for record in records
        ]
        return await wait_for_events(follower, names, seconds=seconds)


def read_records(
    file: Path,
    *,
    kind: str | None = None,
    tenant: str | None = None,
    max_bytes: int,
    options: Mapping[str, Any] | None = None,
) -> list[EventRecord]:
    """Return the events of a file, to be sent.

    Args:
        file: JSON, a JSON array or JSON lines; `-` is the standard input.
        kind: The kind of producer whose payload it is; our own events by default.
        tenant: The tenant of payloads that do not name one.
        max_bytes: The greatest event, in bytes.
        options: What the payload does not state, for its adapter.

    Raises:
        TidewatchError: The file or one of the events can't be read; says which.
    """
    now_ms = time.time_ns() // 1_000_000
    records: list[EventRecord] = []
    options = {**_beside(file, kind), **(options or {})}
    for location, raw in _documents(file, kind):
        try:
            if kind is None:
                event = read_event(raw, (), timestamp_ms=now_ms, max_bytes=max_bytes)
                records.append(EventRecord(event, raw))
            else:
                records += map(written, _adapted(kind, raw, tenant, now_ms, options))
        except UnreadableRecordError as error:
            raise TidewatchError(
                f"not an event ({error.reason})",
                where=f"{location}: {error.where}",
                remedy="correct it, or name the producer of the payload with --as"
                if kind is None
                else f"correct it, or name another producer than {kind} with --as",
            ) from error
    # A producer also sends what is not monitored: a discussion, a scan, a quota.
    if not records and kind is None:
        raise TidewatchError(
            "the file contains no event", where=str(file), remedy="see: tidewatch send --help"
        )
    return records


async def publish(settings: Settings, records: Sequence[EventRecord]) -> None:
    """Deliver events, each to the topic of its type, keyed by tenant and subject.

    Raises:
        BrokerUnreachableError: No broker answers, or it refuses the records.
        TopicError: A topic is missing and may not be created.
    """
    from streams.kafka.publisher import delivering  # noqa: PLC0415 -- checking a file needs no Kafka
    from streams.kafka.topics import ensure_topics, topic_name  # noqa: PLC0415 -- the same

    channels = {CHANNEL_OF_TYPE[record.event.type] for record in records}
    await ensure_topics(settings, channels=sorted(channels))
    async with delivering(settings) as publisher:
        for event, value in records:
            topic = topic_name(settings, CHANNEL_OF_TYPE[event.type])
            await publisher.put(topic, event_key(event).encode(), value, [CONTENT_TYPE])


def _read_text(file: Path | None) -> bytes | None:
    """Return the bytes of a file named beside the payload."""
    if file is None:
        return None
    try:
        return _read(file)
    except OSError as error:
        raise TidewatchError(
            f"can't read it ({error.strerror})", where=str(file), remedy="name a readable file"
        ) from error


def _is_manifest(kind: str | None) -> bool:
    """Return whether a file of this kind is one document, in whatever syntax."""
    from streams.adapters.manifests.kinds import named  # noqa: PLC0415 -- only for such payloads

    return kind is not None and named(kind) is not None


def _beside(file: Path, kind: str | None) -> dict[str, Any]:
    """Return the access to files that a manifest's adapter needs."""
    if str(file) == "-" or not _is_manifest(kind):
        return {}
    from streams.adapters.manifests.neighbours import (  # noqa: PLC0415 -- the same
        Neighbours,
        root_for,
    )

    root = root_for(file)
    place = file.resolve()
    path = place.relative_to(root).as_posix() if place.is_relative_to(root) else file.name
    return {"files": Neighbours(root), "path": path}


def _adapted(
    kind: str, raw: bytes, tenant: str | None, now_ms: int, options: Mapping[str, Any]
) -> list[Event[Any]]:
    """Return the events that a producer's payload represents."""
    from streams.adapters import adapt  # noqa: PLC0415 -- only for payloads of others

    return list(adapt(kind, raw, tenant=tenant, received_ms=now_ms, **options))


def _documents(file: Path, kind: str | None) -> Iterator[tuple[str, bytes]]:
    """Yield each document of a file, as bytes, with its position for error messages."""
    try:
        raw = sys.stdin.buffer.read(MAX_FILE_BYTES + 1) if str(file) == "-" else _read(file)
    except OSError as error:
        raise TidewatchError(
            f"can't read it ({error.strerror})", where=str(file), remedy="name a readable file"
        ) from error
    if len(raw) > MAX_FILE_BYTES:
        raise TidewatchError(
            "too large to read into memory",
            where=str(file),
            remedy=f"split it into files of at most {MAX_FILE_BYTES // 1024**2} MiB",
        )
    if _is_manifest(kind):
        yield str(file), raw
        return
    try:
        whole = orjson.loads(raw)
    except orjson.JSONDecodeError:
        lines = [(number, line) for number, line in enumerate(raw.splitlines(), 1) if line.strip()]
        if kind is not None and not all(_is_json(line) for _, line in lines):
            # some producers write TOML or plain text
            yield str(file), raw
            return
        for number, line in lines:
            yield f"{file}:{number}", line
        return
    if not isinstance(whole, list):
        yield str(file), raw
        return
    try:
        documents = msgspec.json.decode(raw, type=list[msgspec.Raw])
    except RecursionError:  # readers refuse it as too deep
        yield str(file), raw
        return
    for number, document in enumerate(documents):
        yield f"{file}[{number}]", bytes(document)


def _is_json(line: bytes) -> bool:
    """Return whether a line is a JSON document by itself."""
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return True


def _read(file: Path) -> bytes:
    """Return at most one byte more than may be read of a file."""
    with file.open("rb") as opened:
        return opened.read(MAX_FILE_BYTES + 1)
