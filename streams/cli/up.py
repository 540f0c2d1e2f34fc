"""`tidewatch up`: everything at once, with a live view of findings."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from schemas.counting import counted
from schemas.errors import TidewatchError
from streams.cli.frame import PortOption, example, new_app
from streams.cli.instance import Instance
from streams.cli.output import Format, FormatOption, print_json, print_line, print_table
from streams.cli.workers import Workers
from streams.reports.incident_words import defanged_name
from streams.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from streams.cli.live_view import TopicFollower, View
    from streams.demo import Story
    from streams.settings import Settings

app = new_app("Start everything that is not running yet, and watch.")

SETTLED_SECONDS: Final = 2.0
"""No app behind for this long after the replay: it is done."""
REPLAY_LIMIT_SECONDS: Final = 600.0
ORPHAN_SECONDS: Final = 10.0
"""How long a worker whose `up` was killed may take to end."""
BATCH: Final = 200


@app.command(
    epilog=example("tidewatch up", "tidewatch up --demo", "tidewatch up --replay events.jsonl")
)
def up(
    *,
    replay: Annotated[
        Path | None, typer.Option(help="feed the events of this file: JSON lines or an array")
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="feed a demonstration: five tenants and four attacks")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="start with an empty Kafka and empty state")
    ] = False,
    port: PortOption = None,
    exit_when_done: Annotated[
        bool,
        typer.Option(
            "--exit-when-done",
            help="print a summary and exit when all is processed; the default if the output "
            "is not a terminal",
        ),
    ] = False,
    form: FormatOption = Format.TEXT,
) -> None:
    """Start the embedded Kafka if none is named, the topics and the workers; show findings."""
    began = time.monotonic()
    settings = load_settings()
    ends = exit_when_done or not sys.stdout.isatty()
    if ends and replay is None and not demo:
        raise TidewatchError(
            "there is nothing to wait for",
            where="--exit-when-done",
            remedy="feed events with --replay FILE or --demo",
        )
    if settings.kafka is not None and (fresh or port is not None):
        raise TidewatchError(
            f"a Kafka is named ({settings.kafka}), and this option is for the embedded one",
            where="--fresh" if fresh else "--port",
            remedy="unset TIDEWATCH_KAFKA to use the embedded one",
        )
    with Instance(settings.state_dir, fresh=fresh) as instance:
        running = _running_broker(settings, fresh=fresh, port=port)
        workers = Workers(settings)
        try:
            with _broker(settings, running, fresh=fresh, port=port) as connected:
                instance.tell(connected.kafka)
                watching = _watch(connected, workers, replay, demo=demo, ends=ends, began=began)
                view = asyncio.run(watching)
        finally:
            workers.stop()
    _summary(view, form)


def _running_broker(settings: Settings, *, fresh: bool, port: int | None) -> str | None:
    """Return the address of a running Kafka; None if it has to be started.

    Raises:
        TidewatchError: A running Kafka conflicts with `--fresh` or `--port`.
    """
    if settings.kafka is not None:
        return settings.kafka
    from streams.broker import await_end, status  # noqa: PLC0415 -- not with a Kafka named

    found = status(settings.state_dir)
    if found.running and not found.detached:
        # it belongs to an `up` that was killed, since this process has the lock: it is ending
        await_end(settings.state_dir)
        found = status(settings.state_dir)
    stop = "stop it with: tidewatch broker stop"
    if found.running and fresh:
        raise TidewatchError(
            f"the embedded Kafka is already running ({found.bootstrap}, process {found.pid}), "
            "and --fresh would delete its data",
            where=str(settings.state_dir),
            remedy=stop,
        )
    if not found.ready:
        if fresh:
            _refuse_workers(settings.state_dir / "state")
        return None
    if port and found.bootstrap != f"127.0.0.1:{port}":
        raise TidewatchError(
            f"the embedded Kafka is already running on {found.bootstrap}",
            where=f"--port {port}",
            remedy=f"leave the option out, or {stop}",
        )
    return found.bootstrap


@contextlib.contextmanager
def _broker(
    settings: Settings, running: str | None, *, fresh: bool, port: int | None
) -> Iterator[Settings]:
    """Yield the settings with a broker, started here if none is `running`."""
    from streams.broker.access import with_password  # noqa: PLC0415 -- only for this command

    if running is not None:
        yield with_password(settings.model_copy(update={"kafka": running}))
        return
    from streams.broker import EmbeddedBroker  # noqa: PLC0415 -- not with a Kafka that runs
    from streams.broker.paths import jars_dir  # noqa: PLC0415 -- the same

    if fresh:
        # existing state of workers would not match a Kafka that starts empty
        shutil.rmtree(settings.state_dir / "state", ignore_errors=True)
    jars = jars_dir(settings.state_dir)
    if not jars.is_dir():
        typer.echo("fetching Kafka and preparing it; this happens once …", err=True)
    broker = EmbeddedBroker(
        settings.state_dir,
        fresh=fresh,
        port=settings.embedded_port if port is None else port,
        jars=jars,
        guarded=True,
    )
    _starting("Kafka")
    bootstrap = broker.start()
    try:
        yield with_password(settings.model_copy(update={"kafka": bootstrap}))
    finally:
        broker.stop()


def _starting(what: str) -> None:
    """Print on a terminal what is awaited: the view begins once it can be drawn."""
    if sys.stdout.isatty():
        typer.echo(f"starting {what} …", err=True)


def _refuse_workers(state: Path) -> None:
    """Refuse to delete the state of a running worker; wait for one whose `up` was killed.

    Raises:
        TidewatchError: A worker has a lock on a folder below `state`.
    """
    deadline = time.monotonic() + ORPHAN_SECONDS
    for path in state.glob("*/*/lock"):
        with contextlib.suppress(FileNotFoundError), path.open("rb") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise TidewatchError(
                            "a worker is running, and --fresh would delete its data",
                            where=str(path.parent),
                            remedy="stop that worker first",
                        ) from None
                    time.sleep(0.05)
                else:
                    break


async def _watch(
    settings: Settings,
    workers: Workers,
    replay: Path | None,
    *,
    demo: bool,
    ends: bool,
    began: float,
) -> View:
    from streams.cli.live_screen import show  # noqa: PLC0415 -- brings the Kafka client
    from streams.cli.live_view import CALM_SAMPLE_SECONDS, TopicFollower  # noqa: PLC0415 -- the same
    from streams.kafka.topics import ensure_topics  # noqa: PLC0415 -- the same

    await ensure_topics(settings)
    story = await _story(settings) if demo else None
    workers.tell_address(settings)
    follower = TopicFollower(settings, began)
    # a run that ends by itself must see at once that all is done
    sampling = follower.sample(calm_seconds=None if ends else CALM_SAMPLE_SECONDS)
    background = [asyncio.ensure_future(follower.run()), asyncio.ensure_future(sampling)]
    console_stop = asyncio.Event()
    console = (
        None if ends else asyncio.ensure_future(_console(settings, follower.view, console_stop))
    )
    feeding = asyncio.ensure_future(_feed(settings, replay, story, follower.view))
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        if ends:
            await _until_settled(follower, feeding, background, workers, stop)
        else:
            await show(
                follower,
                stop,
                began,
                broker=str(settings.kafka),
                check=lambda: _raise_ended(feeding, background, workers),
            )
    finally:
        console_stop.set()
        if console is not None:
            await asyncio.gather(console, return_exceptions=True)
        feeding.cancel()
        for task in background:
            task.cancel()
        await asyncio.gather(feeding, *background, return_exceptions=True)
        workers.stop()
    return follower.view


async def _console(settings: Settings, view: View, stop: asyncio.Event) -> None:
    """Serve the console for this machine; its errors do not end the command."""
    from streams.console.serving import serve_beside  # noqa: PLC0415 -- only on a terminal

    def tell(text: str) -> None:
        view.console = text

    await serve_beside(settings, stop, tell)


async def _story(settings: Settings) -> Story:
    """Return the story, its facts and policies published: workers read them before any event."""
    from streams.demo import Story  # noqa: PLC0415 -- only for the story

    story = Story((settings.state_dir / "demo").absolute())
    await story.publish_knowledge(settings)
    return story


async def _feed(settings: Settings, replay: Path | None, story: Story | None, view: View) -> None:
    """Publish the story and the file; one event of the story arrives through a gateway."""
    from streams.cli.send import publish, read_records  # noqa: PLC0415 -- when fed
    from streams.event_records import written  # noqa: PLC0415 -- the same

    records = [written(event) for event in story.events()] if story is not None else []
    if story is not None:
        from streams.demo.arrival import through_gateway  # noqa: PLC0415 -- only for the story

        arrival = await through_gateway(settings, records.pop(0), story.root)
        view.arrived = f"POST {arrival.url} answered {arrival.status}"
    if replay is not None:
        records.extend(read_records(replay, max_bytes=settings.max_event_bytes))
    for start in range(0, len(records), BATCH):
        await publish(settings, records[start : start + BATCH])


async def _until_settled(
    follower: TopicFollower,
    feeding: asyncio.Future[None],
    background: Sequence[asyncio.Future[None]],
    workers: Workers,
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
    workers: Workers,
) -> None:
    """Raise the error of a background task that ended."""
    for task in (feeding, *background):
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            raise error
    workers.check()


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
                "unreadable": view.unreadable,
                "dropped": view.dropped,
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
                defanged_name(alert.title),
            )
            for alert in alerts
        ],
    )
    proposals = sum(command.proposal for command in view.commands.values())
    first = min((alert.first_shown for alert in alerts), default=None)
    print_line()
    counts = (
        counted(view.events, "event"),
        counted(len(view.indicators), "indicator"),
        counted(len(alerts), "alert"),
        counted(len(view.commands) - proposals, "command"),
        counted(proposals, "proposal"),
    )
    print_line(
        ", ".join(counts) + (f"; first alert after {first:.1f} s" if first is not None else "")
    )
    if view.arrived:
        print_line(f"1 event came through the gateway: {view.arrived}")
    if view.unreadable:
        print_line(f"{counted(view.unreadable, 'record')} could not be read, so not shown")
    if view.dropped:
        print_line(f"{view.dropped:,} older alerts and commands are left out")
