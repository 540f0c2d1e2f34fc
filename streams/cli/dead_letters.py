"""`tidewatch dead-letters`: list, show and replay records that could not be read."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from schemas.counting import counted
from schemas.dead_letters import REASONS
from schemas.errors import TidewatchError
from streams.cli.frame import connected_settings, example, new_app
from streams.cli.output import (
    Format,
    FormatOption,
    plain,
    print_json,
    print_line,
    print_table,
    write_raw,
)
from streams.kafka.bytes_json import as_json
from streams.kafka.dead_letters import list_dead_letters, replay_dead_letters, show_dead_letter

if TYPE_CHECKING:
    from streams.kafka.dead_letters import DeadLetter
    from streams.settings import Settings

app = new_app("Show records that could not be read, and replay them once the cause is fixed.")

ReasonOption = Annotated[str | None, typer.Option(help="only those with this reason code")]

_SHOWN_BYTES = 4096


@app.command("list", epilog=example("tidewatch dead-letters list --reason invalid-json"))
def list_letters(
    *,
    reason: ReasonOption = None,
    limit: Annotated[int, typer.Option(min=1, help="list at most this many")] = 100,
    form: FormatOption = Format.TEXT,
) -> None:
    """List the dead letters, oldest first within each partition."""
    _check_reason(reason)
    letters = asyncio.run(_collect(connected_settings(), limit, reason))
    if form is Format.JSON:
        print_json([_document(letter) for letter in letters])
        return
    if not letters:
        print_line("there are none")
        return
    print_table(
        ["key", "refused", "records", "reason", "app", "bytes", "error"],
        [
            [
                letter.key,
                _time(letter),
                letter.records or "?",
                letter.reason,
                letter.app,
                letter.truncated_from or len(letter.value or b""),
                letter.error,
            ]
            for letter in letters
        ],
    )
    if len(letters) == limit:
        print_line(f"… the first {limit}; show more with --limit")


@app.command(epilog=example("tidewatch dead-letters show supplychain.package-install-2-9917"))
def show(
    key: Annotated[str, typer.Argument(help="source topic-partition-offset, as listed")],
    *,
    raw: Annotated[
        bool, typer.Option("--raw", help="write the record's raw bytes; to a terminal, as text")
    ] = False,
    form: FormatOption = Format.TEXT,
) -> None:
    """Show one dead letter: where it came from, why it was refused, its headers and bytes."""
    letter = asyncio.run(show_dead_letter(connected_settings(), key))
    if raw:
        write_raw(letter.value or b"")
        return
    if form is Format.JSON:
        print_json(_document(letter))
        return
    print_line(f"record:  {plain(letter.key)}")
    print_line(f"refused: {_time(letter)} by {plain(letter.app)}")
    print_line(f"reason:  {plain(letter.reason)}: {plain(letter.error)}")
    if letter.source_last_offset is not None:
        counts = ", ".join(f"{count} {plain(name)}" for name, count in letter.reasons.items())
        records = counted(letter.records, "record") if letter.records else "unknown records"
        print_line(f"range:   {records} ({counts}); below is a sample")
    if letter.truncated_from is not None:
        print_line(f"size:    {letter.truncated_from} bytes, too many to keep whole")
    print_line(f"key:     {plain(repr(letter.original_key))}")
    for name, value in letter.original_headers:
        print_line(f"header:  {plain(name)} = {plain(value.decode('utf-8', 'backslashreplace'))}")
    text = (letter.value or b"")[:_SHOWN_BYTES].decode("utf-8", "backslashreplace")
    print_line(f"value:   {'none' if letter.value is None else plain(text)}")
    if letter.value is not None and len(letter.value) > _SHOWN_BYTES:
        print_line(f"         … {len(letter.value)} bytes in all; write them with --raw")


@app.command(
    epilog=example(
        "tidewatch dead-letters replay --reason unknown-type",
        "tidewatch dead-letters replay --key supplychain.package-install-2-9917",
    )
)
def replay(
    *,
    reason: ReasonOption = None,
    key: Annotated[
        list[str] | None, typer.Option("--key", help="only this one; repeatable")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="all of them")] = False,
    form: FormatOption = Format.TEXT,
) -> None:
    """Write dead letters unchanged to the topics they came from.

    Ids are derived from content, so a letter replayed twice counts once.
    """
    _check_reason(reason)
    if not (reason or key or everything):
        raise TidewatchError(
            "no dead letters are selected",
            remedy="select them with --reason or --key, or use --all",
        )
    count = asyncio.run(
        replay_dead_letters(
            connected_settings(), reason=reason, keys=frozenset(key) if key else None
        )
    )
    if form is Format.JSON:
        print_json({"replayed": count})
    else:
        print_line(f"{counted(count, 'record')} written back")


def _check_reason(reason: str | None) -> None:
    """Refuse a reason code that no dead letter can have."""
    if reason is not None and reason not in REASONS:
        raise TidewatchError(
            f"no reason code {reason!r}",
            where="--reason",
            remedy=f"one of {', '.join(sorted(REASONS))}",
        )


async def _collect(settings: Settings, limit: int, reason: str | None) -> list[DeadLetter]:
    """Return the selected dead letters."""
    return [letter async for letter in list_dead_letters(settings, limit=limit, reason=reason)]


def _time(letter: DeadLetter) -> str:
    """Return when the letter was written, UTC."""
    moment = datetime.fromtimestamp(letter.timestamp_ms / 1000, UTC)
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def _document(letter: DeadLetter) -> dict[str, Any]:
    """Return a dead letter as a JSON document."""
    return {
        "record": letter.key,
        "time_ms": letter.timestamp_ms,
        "reason": letter.reason,
        "error": letter.error,
        "app": letter.app,
        "truncated_from": letter.truncated_from,
        "last_offset": letter.source_last_offset,
        "records": letter.records,
        "reasons": letter.reasons,
        "key": as_json(letter.original_key),
        "headers": [[name, as_json(value)] for name, value in letter.original_headers],
        "value": as_json(letter.value),
    }
