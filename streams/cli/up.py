"""`tidewatch up`: everything at once, with a live view of what is found."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from schemas.errors import TidewatchError
from streams.cli.frame import example, new_app
from streams.cli.output import Format, FormatOption, plain, print_json, print_line, print_table
from streams.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType

    from streams.cli.live_view import Follower, View
    from streams.demo import Story
    from streams.settings import Settings

app = new_app("Start everything that is not running yet, and watch.")

SETTLED_SECONDS: Final = 2.0
"""No app behind for this long after the replay: it is done."""
REPLAY_LIMIT_SECONDS: Final = 600.0
STOP_SECONDS: Final = 25.0
BATCH: Final = 200
OTHER_ROWS: Final = 12
"""Lines of the live view that are no alert and no command."""
LEAST_ROWS: Final = 3


@app.command(
    epilog=example("tidewatch up", "tidewatch up --demo", "tidewatch up --replay events.jsonl")
)
def up(
    *,
    replay: Annotated[
        Path | None, typer.Option(help="feed the events of this file: JSON lines or an array")
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="feed a story of several tenants and three attacks")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="start the embedded Kafka and all state empty")
    ] = False,
    exit_when_done: Annotated[
        bool,
        typer.Option(
            "--exit-when-done",
            help="print a summary and end when all is processed; so also off a terminal",
        ),
    ] = False,
    form: FormatOption = Format.TEXT,
) -> None:
    """Start the embedded Kafka if none is named, the topics and the workers; show what is found."""
    began = time.monotonic()
    settings = load_settings()
    ends = exit_when_done or not sys.stdout.isatty()
    if ends and replay is None and not demo:
        raise TidewatchError(
            "there is nothing to wait for",
            where="--exit-when-done",
            remedy="feed events with --replay FILE or --demo",
        )
    workers = _start_workers(settings)
    try:
        with _broker(settings, fresh=fresh) as connected:
            watching = _watch(connected, workers, replay, demo=demo, ends=ends, began=began)
            view = asyncio.run(watching)
    finally:
        _stop_workers(workers)
    _summary(view, form)


@contextlib.contextmanager
def _broker(settings: Settings, *, fresh: bool) -> Iterator[Settings]:
    """Give the settings with a broker, started here if none is named and none runs."""
    if settings.kafka is not None:
        yield settings
        return
    from streams.broker import EmbeddedBroker, status  # noqa: PLC0415 -- not with a Kafka named
    from streams.broker.paths import jars_dir  # noqa: PLC0415 -- the same

    found = status(settings.state_dir)
    if found.ready:
        yield settings.model_copy(update={"kafka": found.bootstrap})
        return
    if fresh:
        _empty(settings.state_dir / "state")
    jars = jars_dir(settings.state_dir)
    if not jars.is_dir():
        typer.echo("fetching Kafka once, and preparing it: some 20 seconds …", err=True)
    broker = EmbeddedBroker(settings.state_dir, fresh=fresh, jars=jars)
    bootstrap = broker.start()
    try:
        yield settings.model_copy(update={"kafka": bootstrap})
    finally:
        broker.stop()


def _empty(folder: Path) -> None:
    """Delete what workers kept of a Kafka that starts empty: it would belong to no topic."""
    shutil.rmtree(folder, ignore_errors=True)


async def _watch(
    settings: Settings,
    workers: subprocess.Popen[bytes],
    replay: Path | None,
    *,
    demo: bool,
    ends: bool,
    began: float,
) -> View:
    from streams.cli.live_view import Follower  # noqa: PLC0415 -- brings the Kafka client
    from streams.kafka.topics import ensure_topics  # noqa: PLC0415 -- the same

    await ensure_topics(settings)
    story = await _story(settings) if demo else None
    _tell_address(workers, settings)
    follower = Follower(settings, began)
    background = [asyncio.ensure_future(follower.run()), asyncio.ensure_future(follower.sample())]
    feeding = asyncio.ensure_future(_feed(settings, replay, story))
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        if ends:
            await _until_settled(follower, feeding, background, workers, stop)
        else:
            await _show(follower, feeding, background, workers, stop, began)
    finally:
        feeding.cancel()
        for task in background:
            task.cancel()
        await asyncio.gather(feeding, *background, return_exceptions=True)
        _stop_workers(workers)
    return follower.view


def _start_workers(settings: Settings) -> subprocess.Popen[bytes]:
    """Start the worker process; it loads its apps while the broker starts."""
    log = settings.state_dir / "worker.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as opened:
        return subprocess.Popen(
            [sys.executable, "-m", "streams", "worker", "--await-kafka"],
            env={**os.environ, "TIDEWATCH_STATE_DIR": str(settings.state_dir)},
            stdin=subprocess.PIPE,
            stdout=opened,
            stderr=opened,
        )


def _tell_address(workers: subprocess.Popen[bytes], settings: Settings) -> None:
    """Let the workers begin."""
    assert workers.stdin is not None, "it was opened as a pipe"
    with contextlib.suppress(BrokenPipeError):  # it ended: said when its exit code is seen
        workers.stdin.write(f"{settings.kafka}\n".encode())
        workers.stdin.close()


def _stop_workers(workers: subprocess.Popen[bytes]) -> None:
    if workers.stdin is not None:
        workers.stdin.close()
    if workers.poll() is None:
        workers.terminate()
        try:
            workers.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            workers.kill()
            workers.wait()


async def _story(settings: Settings) -> Story:
    """Return the story, its facts and policies published: workers read them before any event."""
    from streams.demo import Story  # noqa: PLC0415 -- only for the story

    story = Story((settings.state_dir / "demo").absolute())
    await story.publish_knowledge(settings)
    return story


async def _feed(settings: Settings, replay: Path | None, story: Story | None) -> None:
    """Publish the story and the file."""
    from streams.cli.send import publish, read_records, written  # noqa: PLC0415 -- when fed

    records = [written(event) for event in story.events()] if story is not None else []
    if replay is not None:
        records.extend(read_records(replay, max_bytes=settings.max_event_bytes))
    for start in range(0, len(records), BATCH):
        await publish(settings, records[start : start + BATCH])


async def _until_settled(
    follower: Follower,
    feeding: asyncio.Future[None],
    background: Sequence[asyncio.Future[None]],
    workers: subprocess.Popen[bytes],
    stop: asyncio.Event,
) -> None:
    deadline = time.monotonic() + REPLAY_LIMIT_SECONDS
    quiet_since: float | None = None
    while not stop.is_set():
        _raise_ended(feeding, background, workers)
        now = time.monotonic()
        if now > deadline:
            raise TidewatchError(
                f"not done after {REPLAY_LIMIT_SECONDS:.0f} seconds",
                where=f"behind by {follower.view.lag}",
                remedy="see the worker's log in the state folder",
            )
        settled = feeding.done() and follower.view.settled
        quiet_since = (quiet_since or now) if settled else None
        if quiet_since is not None and now - quiet_since >= SETTLED_SECONDS:
            return
        await asyncio.sleep(0.1)


def _raise_ended(
    feeding: asyncio.Future[None],
    background: Sequence[asyncio.Future[None]],
    workers: subprocess.Popen[bytes],
) -> None:
    """Raise what ended a part that should go on."""
    for task in (feeding, *background):
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            raise error
    if (code := workers.poll()) is not None:
        raise TidewatchError(
            f"the workers ended with exit code {code}",
            where="worker.log in the state folder",
            remedy="read its last lines; tidewatch doctor checks what is needed",
        )


async def _show(
    follower: Follower,
    feeding: asyncio.Future[None],
    background: Sequence[asyncio.Future[None]],
    workers: subprocess.Popen[bytes],
    stop: asyncio.Event,
    began: float,
) -> None:
    from rich.live import Live  # noqa: PLC0415 -- only on a terminal

    with Live(render(follower.view, began), refresh_per_second=4, screen=False) as live:
        while not stop.is_set():
            _raise_ended(feeding, background, workers)
            live.update(render(follower.view, began))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 0.25)


def render(view: View, began: float) -> RenderableType:
    """Return the live view: figures above, alerts and commands below."""
    from rich.box import SIMPLE  # noqa: PLC0415 -- only on a terminal
    from rich.console import Group  # noqa: PLC0415 -- only on a terminal
    from rich.table import Table  # noqa: PLC0415 -- the same
    from rich.text import Text  # noqa: PLC0415 -- the same

    behind = "  ".join(f"{name} {count}" for name, count in sorted(view.lag.items()))
    rows = max((shutil.get_terminal_size().lines - OTHER_ROWS) // 2, LEAST_ROWS)
    head = Text(
        f"Tidewatch  {time.monotonic() - began:6.1f} s   events {view.events}"
        f"   {view.rate:,.0f}/s   indicators {len(view.indicators)}   alerts {len(view.alerts)}"
        f"   commands {len(view.commands)}   behind: {behind or '-'}   (Ctrl-C ends)",
        style="bold",
    )
    alerts = Table(title="alerts", title_justify="left", expand=True, box=SIMPLE)
    for name in ("severity", "score", "tenant", "status", "systems", "updates", "what"):
        alerts.add_column(
            name, no_wrap=True, overflow="ellipsis", ratio=1 if name == "what" else None
        )
    for alert in sorted(view.alerts.values(), key=lambda item: -item.score)[:rows]:
        alerts.add_row(
            Text(alert.severity, style=_STYLES.get(alert.severity, "")),
            str(alert.score),
            plain(alert.tenant),
            alert.status,
            str(alert.systems),
            str(alert.updates),
            plain(alert.title),
        )
    commands = Table(title="containment", title_justify="left", expand=True, box=SIMPLE)
    for name in ("action", "tenant", "mode", "target"):
        commands.add_column(
            name, no_wrap=True, overflow="ellipsis", ratio=1 if name == "target" else None
        )
    for command in list(view.commands.values())[-rows:]:
        mode = "proposal" if command.proposal else "command"
        commands.add_row(
            command.action,
            plain(command.tenant),
            f"{mode}, dry run" if command.dry_run else mode,
            plain(command.target),
        )
    return Group(head, alerts, commands)


_STYLES: Final = {"Critical": "bold red", "High": "red", "Medium": "yellow", "Low": "cyan"}


def _summary(view: View, form: Format) -> None:
    alerts = sorted(view.alerts.values(), key=lambda alert: (-alert.score, alert.tenant, alert.id))
    if form is Format.JSON:
        print_json(
            {
                "events": view.events,
                "indicators": len(view.indicators),
                "alerts": [vars(alert) for alert in alerts],
                "commands": [vars(command) for command in view.commands.values()],
                "counts": view.counts,
            }
        )
        return
    print_table(
        ("severity", "score", "tenant", "status", "systems", "updates", "incident", "what"),
        [
            (
                alert.severity,
                alert.score,
                alert.tenant,
                alert.status,
                alert.systems,
                alert.updates,
                alert.incident,
                alert.title,
            )
            for alert in alerts
        ],
    )
    proposals = sum(command.proposal for command in view.commands.values())
    first = min((alert.first_told for alert in alerts), default=None)
    print_line()
    print_line(
        f"{view.events} events, {len(view.indicators)} indicators, {len(alerts)} alerts, "
        f"{len(view.commands) - proposals} commands, {proposals} proposals"
        + (f"; first alert after {first:.1f} s" if first is not None else "")
    )
