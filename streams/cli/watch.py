"""`tidewatch watch`: print the records of a topic."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from streams.cli.frame import connected_settings, example, new_app
from streams.cli.output import Format, FormatOption, plain, print_json, print_line
from streams.kafka.bytes_json import as_json

if TYPE_CHECKING:
    from streams.settings import Settings

app = new_app("Show a topic, readable.")

_SHOWN_CHARACTERS = 600
_HEADER_PREFIX = "ce_"


@app.command(
    epilog=example(
        "tidewatch watch alerts --from-start", "tidewatch watch iocs --from-start --count 5"
    )
)
def watch(
    topic: Annotated[str, typer.Argument(help="a channel, as `alerts`, or a topic's full name")],
    *,
    from_start: Annotated[
        bool, typer.Option("--from-start", help="begin with the oldest record")
    ] = False,
    count: Annotated[int | None, typer.Option(min=1, help="end after so many records")] = None,
    follow: Annotated[
        bool, typer.Option(help="go on for ever, or end with the last record there is")
    ] = True,
    full: Annotated[bool, typer.Option("--full", help="whole values, indented")] = False,
    form: FormatOption = Format.TEXT,
) -> None:
    """Show the records of a topic as they come: time, place, key, CloudEvents headers, value."""
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
