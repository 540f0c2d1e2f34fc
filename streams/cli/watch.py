"""`tidewatch watch`: print the records of a topic."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from contextlib import aclosing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from schemas.errors import TidewatchError
from streams.cli.frame import connected_settings, example, new_app
from streams.cli.output import Format, FormatOption, plain, print_json, print_line
from streams.kafka.bytes_json import as_json

if TYPE_CHECKING:
    from streams.settings import Settings

app = new_app("Show a topic, readable.")

_SHOWN_CHARACTERS = 600
LIVE_RECORDS = 2_000
"""The live view begins so many records before the end of each partition."""
_HEADER_PREFIX = "ce_"


@app.command(
    epilog=example(
        "tidewatch watch alerts --from-start",
        "tidewatch watch iocs --from-start --count 5",
        "tidewatch watch --live",
    )
)
def watch(
    topic: Annotated[
        str | None, typer.Argument(help="a channel, as `alerts`, or a topic's full name")
    ] = None,
    *,
    live: Annotated[
        bool, typer.Option("--live", help="draw alerts, containment and lag, as `up` does")
    ] = False,
    from_start: Annotated[
        bool, typer.Option("--from-start", help="begin with the oldest record")
    ] = False,
    count: Annotated[int | None, typer.Option(min=1, help="exit after this many records")] = None,
    follow: Annotated[bool, typer.Option(help="keep reading, or stop at the last record")] = True,
    full: Annotated[bool, typer.Option("--full", help="print complete values, indented")] = False,
    form: FormatOption = Format.TEXT,
) -> None:
    """Show the records of a topic as they arrive: time, offset, key, CloudEvents headers, value."""
    if live == (topic is not None):
        raise TidewatchError(
            "`--live` takes no topics" if live else "no topic is named",
            where="watch",
            remedy="name a topic, or give --live",
        )
    if topic is None:
        _draw()
        return
    asyncio.run(
        _watch(
            connected_settings(),
            topic,
            from_start=from_start,
            count=count,
            follow=follow,
            full=full,
            form=form,
        )
    )


def _draw() -> None:
    """Draw the live view of applications elsewhere; nothing is written, and no offset committed.

    Raises:
        TidewatchError: The output is not a terminal, or a topic is missing.
    """
    if not sys.stdout.isatty():
        raise TidewatchError(
            "the live view needs a terminal",
            where="--live",
            remedy="watch a topic instead: tidewatch watch alerts --from-start",
        )
    asyncio.run(_drawn(connected_settings()))


async def _drawn(settings: Settings) -> None:
    from streams.cli.live_screen import show  # noqa: PLC0415 -- brings the Kafka client
    from streams.cli.live_view import CALM_SAMPLE_SECONDS, FOLLOWED, TopicFollower  # noqa: PLC0415 -- the same
    from streams.kafka.topic_metadata import partition_counts  # noqa: PLC0415 -- the same
    from streams.kafka.topics import (  # noqa: PLC0415 -- the same
        open_admin,
        topic_name,
    )

    names = [topic_name(settings, channel) for channel in FOLLOWED]
    admin = await open_admin(settings)
    try:
        missing = sorted(set(names) - set(await partition_counts(admin, names)))
    finally:
        await admin.close()
    if missing:
        raise TidewatchError(
            f"there is no topic {missing[0]}",
            where=str(settings.kafka),
            remedy="create it: tidewatch topics create",
        )
    began = time.monotonic()
    follower = TopicFollower(settings, began, last=LIVE_RECORDS)
    sampling = follower.sample(calm_seconds=CALM_SAMPLE_SECONDS)
    tasks = [asyncio.ensure_future(follower.run()), asyncio.ensure_future(sampling)]
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    def check() -> None:
        for task in tasks:
            if task.done():
                task.result()

    try:
        await show(follower, stop, began, broker=str(settings.kafka), check=check)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _watch(
    settings: Settings,
    topic: str,
    *,
    from_start: bool,
    count: int | None,
    follow: bool,
    full: bool,
    form: Format,
) -> None:
    """Print records until the count or the end is reached."""
    from streams.kafka.reader import full_name, read_topic  # noqa: PLC0415 -- brings aiokafka

    shown = 0
    name = full_name(settings, topic)
    async with aclosing(
        read_topic(settings, name, from_start=from_start, follow=follow)
    ) as records:
        async for record in records:
            if form is Format.JSON:
                print_json(as_document(record))
            else:
                for line in as_text(record, full=full):
                    print_line(line)
            shown += 1
            if shown == count:
                return


def as_document(record: Any) -> dict[str, Any]:  # noqa: ANN401 -- aiokafka's record
    """Return a record as a JSON document; bytes that are no text, as base64."""
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "time_ms": record.timestamp,
        "key": as_json(record.key),
        "headers": {name: as_json(value) for name, value in record.headers},
        "value": _value(record.value),
    }


def as_text(record: Any, *, full: bool = False) -> list[str]:  # noqa: ANN401 -- aiokafka's record
    """Return a record as lines for a person, safe to print.

    Args:
        record: The record.
        full: The whole value, indented, instead of its beginning on one line.
    """
    moment = datetime.fromtimestamp(record.timestamp / 1000, UTC).strftime("%H:%M:%S.%f")[:-3]
    headers = {name: as_json(value) for name, value in record.headers}
    kind = headers.get("ce_type") or headers.get("reason") or ""
    tenant = headers.get("ce_tenantid")
    head = f"{moment} {record.topic}-{record.partition}@{record.offset} {as_json(record.key)}"
    lines = [plain(" ".join(filter(None, [head, str(kind), f"[{tenant}]" if tenant else ""])))]
    value = _value(record.value)
    if full:
        rest = {
            name: text
            for name, text in headers.items()
            if not name.startswith(_HEADER_PREFIX) or name == "ce_id"
        }
        lines += [plain(f"  {name}: {text}") for name, text in rest.items()]
        text = orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
        lines += ["  " + plain(line) for line in text.splitlines()]
    else:
        text = "(tombstone)" if record.value is None else orjson.dumps(value).decode()
        lines.append("  " + plain(text, _SHOWN_CHARACTERS))
    return lines


def _value(raw: bytes | None) -> Any:  # noqa: ANN401 -- a JSON value
    """Return a record's value as the JSON it is, or as text or base64."""
    if raw is None:
        return None
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return as_json(raw)
