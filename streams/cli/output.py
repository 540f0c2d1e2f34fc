"""How commands print: tables or JSON, without control characters."""

from __future__ import annotations

import shutil
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final

import orjson
import typer

from agents.logs import set_up
from streams.cli.printing import plain, print_line

if TYPE_CHECKING:
    from collections.abc import MutableMapping, Sequence

__all__ = [
    "Format",
    "FormatOption",
    "columns",
    "neutral",
    "plain",
    "print_json",
    "print_line",
    "print_table",
    "quiet_logs",
    "write_raw",
]


class Format(StrEnum):
    """The reader of the output."""

    TEXT = "text"
    JSON = "json"


FormatOption = Annotated[
    Format, typer.Option("--format", help="text for people, json for programs")
]


def quiet_logs() -> None:
    """Silence the logs of libraries, and write our own warnings to standard error.

    A command reports its own errors. `tidewatch worker` sets up its own logs.
    """
    import logging  # noqa: PLC0415 -- a command that does not log starts sooner without

    logging.basicConfig(level=logging.CRITICAL)
    set_up(_warnings_alone)


def _warnings_alone(structlog: Any) -> None:  # noqa: ANN401 -- a module
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S", utc=False),
            structlog.processors.format_exc_info,
            neutral,
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger("warning"),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def neutral(
    _logger: object, _method: str, entry: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Make quoted text safe on a terminal: names in events are hostile.

    A traceback keeps its lines; JSON lines are ASCII and need no change.
    """
    for name, value in list(entry.items()):
        if name.startswith("_"):
            continue  # structlog's own keys
        if value is None or isinstance(value, bool | int | float):
            if not name.isprintable():
                entry[plain(name)] = entry.pop(name)
            continue
        text = value if isinstance(value, str) else repr(value)
        keep = "\n" if name in {"exception", "stack"} else ""
        entry.pop(name)
        entry[plain(name)] = keep.join(map(plain, text.split(keep))) if keep else plain(text)
    return entry


def print_json(document: Any) -> None:  # noqa: ANN401 -- any JSON document
    """Print one document, on one line."""
    raw = orjson.dumps(document, default=str, option=orjson.OPT_NON_STR_KEYS)
    sys.stdout.write(plain(raw.decode()) + "\n")


def write_raw(value: bytes) -> None:
    """Write bytes as they are; to a terminal as lines of text, in which nothing drives it."""
    if sys.stdout.isatty():
        print_line(value.decode("utf-8", "replace").removesuffix("\n"))
        return
    sys.stdout.buffer.write(value)
    sys.stdout.flush()


COLUMNS: Final = 80
"""The width for text if the output is not a terminal."""
ROOM_BESIDE: Final = 40
"""If a line has less room than this left, the last column goes below, where allowed."""


def columns() -> int:
    """Return how many columns text has: the terminal's, at most 120; 80 where there is none."""
    if not sys.stdout.isatty():
        return COLUMNS
    return min(shutil.get_terminal_size((COLUMNS, 24)).columns, 120)


def print_table(head: Sequence[str], rows: Sequence[Sequence[object]], *, below: int = 0) -> None:
    """Print rows in aligned columns; the last column takes what the terminal has left.

    Args:
        head: The columns' names.
        rows: A cell for each column.
        below: The number of last columns that go on lines of their own below their row if little
            width is left for the last; empty ones are left out.
    """
    cells = [[plain(str(cell)) for cell in row] for row in rows]
    widths = [max([len(name), *(len(row[at]) for row in cells)]) for at, name in enumerate(head)]
    room = shutil.get_terminal_size((120, 24)).columns if sys.stdout.isatty() else None
    apart = below and room is not None and room - sum(widths[:-1]) - 2 * len(widths) < ROOM_BESIDE
    for row in [[name.upper() for name in head], *cells]:
        padded = [cell.ljust(width) for cell, width in zip(row[:-1], widths[:-1], strict=True)]
        if apart:
            print_line(plain("  ".join(padded[: len(head) - below]).rstrip(), room))
            for cell in filter(None, row[-below:]):
                print_line(plain(f"  {cell}", room))
            continue
        line = "  ".join([*padded, row[-1]]).rstrip()
        print_line(plain(line, room))
