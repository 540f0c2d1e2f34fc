"""`tidewatch notify`: notify people of incidents, proposals and operator alerts."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from schemas.counting import counted
from schemas.errors import TidewatchError
from schemas.notifications import NotificationEvent
from streams.cli.frame import CheckOption, connected_settings, example, new_app, required_file
from streams.cli.output import Format, FormatOption, plain, print_json, print_line

if TYPE_CHECKING:
    from agents.notification.config import NotifyConfig
    from schemas.notifications import Notification

app = new_app("Notify people of incidents, proposals and operator alerts.")


@app.command(
    epilog=example(
        "tidewatch notify --check notify.toml",
        "tidewatch notify --config notify.toml --test soc",
        "tidewatch notify --config notify.toml --once",
        "tidewatch notify --config notify.toml",
    )
)
def notify(
    *,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="the notifier's TOML file (deploy/notify.example.toml)"),
    ] = None,
    check: CheckOption = None,
    test: Annotated[
        str | None, typer.Option("--test", help="send a test message to this route, then exit")
    ] = None,
    once: Annotated[
        bool, typer.Option("--once", help="send what is on the topics now, then exit")
    ] = False,
    form: FormatOption = Format.TEXT,
) -> None:
    """Notify people of alerts, operator alerts and containment proposals, until stopped.

    The file says who is notified, when and how: destinations (services that Apprise knows, and
    signed webhooks) and routes to them by tenant, severity and kind; see docs/notifications.md.
    """
    from agents.notification.config import load_config  # noqa: PLC0415 -- only this command

    if check is not None:
        _check(load_config(check), form)
        return
    chosen = load_config(required_file(config))
    if test is not None:
        _test(chosen, test, form)
        return
    problems = _problems(chosen)
    if problems:
        raise TidewatchError(
            problems[0], where=str(config), remedy=f"see: tidewatch notify --check {config}"
        )
    _run(chosen, once=once)


def _run(config: NotifyConfig, *, once: bool) -> None:
    from streams.apps.notifier import KafkaNotifier  # noqa: PLC0415 -- brings Kafka
    from streams.logs import configure_logs  # noqa: PLC0415 -- the same

    settings = connected_settings()
    configure_logs(settings, app="notify")

    async def run() -> tuple[int, int]:
        notifier = KafkaNotifier(settings, config, once=once)
        await notifier.run()
        return notifier.book.waiting(), notifier.given_up

    waiting, given_up = asyncio.run(run())
    if once and given_up:
        raise TidewatchError(
            f"{counted(given_up, 'message')} {'was' if given_up == 1 else 'were'} given up"
            + (f", and {waiting:,} could not be delivered yet" if waiting else ""),
            where="the dead letters",
            remedy="see the log; tidewatch dead-letters replay --reason not-delivered",
        )
    if once and waiting:
        raise TidewatchError(
            f"{counted(waiting, 'message')} could not be delivered",
            where="see the log",
            remedy="run it again: the messages are kept",
        )


def _check(config: NotifyConfig, form: Format) -> None:
    from agents.notification.config import fields, unrouted  # noqa: PLC0415 -- only this command

    problems, advice = _problems(config), unrouted(config)
    if form is Format.JSON:
        print_json({"valid": True, "problems": problems, "unrouted": advice, **fields(config)})
    else:
        print_line(
            f"valid: {counted(len(config.routes), 'route')} to "
            f"{counted(len(config.destinations), 'destination')}"
        )
        for line in advice:
            print_line(f"note     {line}")
        for problem in problems:
            print_line(f"missing  {plain(problem)}")
    if problems:
        raise typer.Exit(2)


def _problems(config: NotifyConfig) -> list[str]:
    """Return what this machine lacks, or is wrong with destinations' secrets, one sentence each."""
    from agents.notification.config import unread_files  # noqa: PLC0415 -- only this command
    from agents.notification.services import open_service  # noqa: PLC0415 -- the same
    from agents.notification.webhook import load_secrets  # noqa: PLC0415 -- the same

    problems = unread_files(config)
    for name, destination in config.destinations.items():
        where = f"destinations.{name}"
        if any(problem.startswith(f"{where}.") for problem in problems):
            continue
        try:
            if destination.secret_file is not None:
                load_secrets(destination.secret_file)
            if destination.webhook is None:
                open_service(destination, where)
        except TidewatchError as error:
            problems.append(error.explain())
    return problems


def _test(config: NotifyConfig, name: str, form: Format) -> None:
    """Send a test message to every destination of a route, escalation included."""
    from agents.notification.book import Attempt  # noqa: PLC0415 -- only this command
    from streams.apps.notifier import send  # noqa: PLC0415 -- brings Kafka

    route = config.route(name)
    if route is None:
        known = ", ".join(route.name for route in config.routes)
        raise TidewatchError(f"no route is called {name}", where="--test", remedy=f"one of {known}")
    names = dict.fromkeys(
        [
            *route.send_to,
            *(destination for step in route.escalation for destination in step.send_to),
        ]
    )
    message = _test_message(name, time.time_ns() // 1_000_000)
    came = {
        destination: send(Attempt(key="", message=message, destination=destination), config)
        for destination in names
    }
    if form is Format.JSON:
        print_json(
            {
                destination: {"taken": said.taken, "detail": said.detail}
                for destination, said in came.items()
            }
        )
    else:
        for destination, said in came.items():
            print_line(
                f"{destination}  {'taken' if said.taken else f'failed: {plain(said.detail, 200)}'}"
            )
    if not all(said.taken for said in came.values()):
        raise typer.Exit(2)


def _test_message(route: str, now_ms: int) -> Notification:
    from schemas.canonical import stable_id  # noqa: PLC0415 -- only this command
    from schemas.notifications import Notification  # noqa: PLC0415 -- the same
    from schemas.severity import Severity  # noqa: PLC0415 -- the same

    return Notification(
        id=stable_id("ntf", "test", route, str(now_ms)),
        event=NotificationEvent.TEST,
        at_ms=now_ms,
        route=route,
        severity=Severity.INFORMATIONAL,
        title=f"Test of route {route}",
        body="This is a test by tidewatch notify. There is nothing to do.",
    )
