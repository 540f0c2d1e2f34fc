"""Draws the live view on a terminal of any size: figures above, alerts and containment below."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from typing import TYPE_CHECKING, Final

from streams.cli.incident_list import SHORT_ID
from streams.cli.output import plain
from streams.reports.incident_words import defanged_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import RenderableType
    from rich.table import Table

    from streams.cli.live_view import LiveAlert, LiveCommand, TopicFollower, View

STYLES: Final = {"critical": "bold red", "high": "red", "medium": "yellow", "low": "cyan"}
HEAD_ROWS: Final = 3
FIXED_ROWS: Final = HEAD_ROWS + 7
"""Lines that are neither alert nor command: two blank ones, two headings of two lines, the last."""
LEAST_ROWS: Final = 2
"""Lines of alerts, and of commands, on the smallest terminal."""
WIDE: Final = 110
"""The least columns at which score, systems and updates are shown."""
REFRESH_SECONDS: Final = 0.25
STEP_SECONDS: Final = 10
"""The steps in which time is drawn after the first minute, while nothing else changes."""


async def show(
    follower: TopicFollower,
    stop: asyncio.Event,
    began: float,
    *,
    broker: str,
    check: Callable[[], None],
) -> None:
    """Draw the records that a follower has read, until `stop` is set.

    Args:
        follower: The follower, which reads meanwhile.
        stop: Ends the view.
        began: The monotonic time that it counts from.
        broker: The address that is shown.
        check: Called with each drawing; an error that it raises ends the view.
    """
    from rich.live import Live  # noqa: PLC0415 -- only on a terminal

    first = render(follower.view, began, broker=broker)
    drawn = None
    with Live(first, auto_refresh=False, screen=False) as live:
        while not stop.is_set():
            check()
            shown = _shown(follower.view, began)
            if shown != drawn:
                live.update(render(follower.view, began, broker=broker), refresh=True)
                drawn = shown
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), REFRESH_SECONDS)


def _shown(view: View, began: float) -> tuple[object, ...]:
    """Return a value that differs whenever the view would be drawn differently."""
    seconds = int(time.monotonic() - began)
    return (
        seconds if seconds < 60 else seconds // STEP_SECONDS * STEP_SECONDS,  # noqa: PLR2004 -- a minute
        shutil.get_terminal_size(),
        sum(view.counts.values()),
        view.events,
        round(view.rate),
        tuple(view.lag.items()),
        view.measured,
        view.arrived,
        view.console,
    )


def render(
    view: View, began: float, *, broker: str = "", size: tuple[int, int] | None = None
) -> RenderableType:
    """Return the live view, not higher than the terminal.

    Args:
        view: What has been read.
        began: The monotonic time that it counts from.
        broker: The address of the broker.
        size: Columns and lines; those of the terminal by default.
    """
    from rich.console import Group  # noqa: PLC0415 -- only on a terminal

    columns, lines = size or shutil.get_terminal_size()
    link = _link(view.console, columns)
    room = max(lines - FIXED_ROWS - len(link), 2 * LEAST_ROWS)
    # each has half of the lines, plus those the other leaves
    wanted = len(view.commands) or 1
    for_alerts = min(len(view.alerts) or 1, max(room // 2, room - wanted))
    alerts = sorted(view.alerts.values(), key=lambda alert: (-alert.score, alert.id))
    commands = list(view.commands.values())[::-1]
    return Group(
        *_head(view, began, broker),
        *link,
        "",
        _alerts(alerts, for_alerts, wide=columns >= WIDE),
        "",
        _commands(commands, room - for_alerts),
    )


def _link(text: str, columns: int) -> list[RenderableType]:
    """Return the console's complete link, in lines that a terminal joins."""
    from rich.text import Text  # noqa: PLC0415 -- only on a terminal

    shown = plain(text)
    return [Text(shown[at : at + columns], no_wrap=True) for at in range(0, len(shown), columns)]


def _head(view: View, began: float, broker: str) -> list[RenderableType]:
    from rich.text import Text  # noqa: PLC0415 -- only on a terminal

    minutes, seconds = divmod(int(time.monotonic() - began), 60)
    behind = "  ".join(f"{name} {count:,}" for name, count in sorted(view.lag.items()))
    if not view.measured:
        behind = "not measured yet" if not view.lag else f"{behind} (the broker does not answer)"
    proposals = sum(command.proposal for command in view.commands.values())
    figures = [
        f"events {view.events:,}",
        f"{view.rate:,.0f}/s",
        f"indicators {len(view.indicators):,}",
        f"alerts {len(view.alerts):,}",
        f"commands {len(view.commands) - proposals:,}",
        f"proposals {proposals:,}",
        *(["gateway 1"] if view.arrived else []),
        *([f"unreadable {view.unreadable:,}"] if view.unreadable else []),
    ]
    lines = [
        f"Tidewatch  {plain(broker, 40)}  {minutes}:{seconds:02}  (Ctrl-C ends)",
        "  ".join(figures),
        f"behind: {behind}",
    ]
    return [Text(line, style="bold", no_wrap=True, overflow="ellipsis") for line in lines]


def _table(title: str, names: Sequence[str], last: str) -> Table:
    from rich.table import Table  # noqa: PLC0415 -- only on a terminal

    table = Table(
        title=title, title_justify="left", title_style="bold", expand=True, box=None, pad_edge=False
    )
    for name in names:
        ratio = 1 if name == last else None
        table.add_column(name, no_wrap=True, overflow="ellipsis", ratio=ratio, header_style="dim")
    return table


def _fitting(count: int, room: int) -> int:
    """Return how many rows fit, with a line for the number of others."""
    return count if count <= room else max(room - 1, 1)


def _alerts(alerts: Sequence[LiveAlert], room: int, *, wide: bool) -> Table:
    from rich.text import Text  # noqa: PLC0415 -- only on a terminal

    names = ["severity", "incident", "tenant", "status", "what"]
    if wide:
        names[1:1] = ["score"]
        names[-1:-1] = ["systems", "updates"]
    table = _table("Alerts", names, "what")
    shown = _fitting(len(alerts), room)
    for alert in alerts[:shown]:
        cells = {
            "severity": Text(plain(alert.severity, 12), style=STYLES.get(alert.severity, "")),
            "score": Text(str(alert.score)),
            "incident": Text(plain(alert.incident[:SHORT_ID])),
            "tenant": Text(plain(alert.tenant, None if wide else 12)),
            "status": Text(plain(alert.status, None if wide else 14)),
            "systems": Text(str(alert.systems)),
            "updates": Text(str(alert.updates)),
            "what": Text(plain(defanged_name(alert.title))),
        }
        table.add_row(*(cells[name] for name in names))
    _rest(table, len(alerts), shown, "none yet")
    return table


def _commands(commands: Sequence[LiveCommand], room: int) -> Table:
    from rich.text import Text  # noqa: PLC0415 -- only on a terminal

    table = _table(
        "Containment, the newest first", ("action", "tenant", "mode", "target"), "target"
    )
    shown = _fitting(len(commands), room)
    for command in commands[:shown]:
        mode = "proposal" if command.proposal else "command"
        cells = (
            command.action,
            command.tenant,
            f"{mode}, dry run" if command.dry_run else mode,
            defanged_name(command.target),
        )
        table.add_row(*(Text(plain(cell)) for cell in cells))
    _rest(table, len(commands), shown, "none yet")
    return table


def _rest(table: Table, count: int, shown: int, none: str) -> None:
    from rich.text import Text  # noqa: PLC0415 -- only on a terminal

    note = none if not count else f"{count - shown:,} more" if count > shown else ""
    if note:
        # in the widest column, so that no other column grows
        cells = [""] * (len(table.columns) - 1)
        table.add_row(*cells, Text(note, style="dim"))
