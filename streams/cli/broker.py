"""`tidewatch broker`: the embedded Kafka in the background."""

from __future__ import annotations

from typing import Annotated

import typer

from schemas.errors import TidewatchError
from streams.broker import EmbeddedBroker, status, stop_background
from streams.broker.access import USER, password_file
from streams.broker.paths import jars_dir
from streams.cli.frame import PortOption, example, new_app
from streams.cli.output import Format, FormatOption, print_json, print_line
from streams.settings import load_settings

app = new_app("Start and stop the embedded Kafka of the state folder, and show its state.")


@app.command(epilog=example("tidewatch broker start --fresh"))
def start(
    *,
    fresh: Annotated[bool, typer.Option("--fresh", help="start empty: delete all data")] = False,
    port: PortOption = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """Start Kafka in the background; it runs until `tidewatch broker stop`.

    It requires a password, which commands of the same user and state folder find automatically.
    """
    settings = load_settings()
    if settings.kafka is not None:
        raise TidewatchError(
            f"a Kafka is already configured ({settings.kafka})",
            where="TIDEWATCH_KAFKA",
            remedy="unset it to use the embedded one",
        )
    if not jars_dir(settings.state_dir).is_dir():
        typer.echo("fetching Kafka and preparing it; this happens once …", err=True)
    broker = EmbeddedBroker(
        settings.state_dir,
        fresh=fresh,
        port=settings.embedded_port if port is None else port,
        jars=jars_dir(settings.state_dir),
        detached=True,
        guarded=True,
    )
    bootstrap = broker.start()
    where = settings.state_dir
    if form is Format.JSON:
        print_json(
            {
                "bootstrap": bootstrap,
                "pid": broker.jvm_pid,
                "user": USER,
                "password_file": password_file(where),
            }
        )
    else:
        print_line(f"Kafka listens on {bootstrap} (process {broker.jvm_pid})")
        print_line(f"other clients: SASL/PLAIN as {USER}, password in {password_file(where)}")
        print_line("stop it with: tidewatch broker stop")


@app.command(epilog=example("tidewatch broker stop"))
def stop(*, form: FormatOption = Format.TEXT) -> None:
    """Stop the embedded Kafka; its data is kept."""
    stopped = stop_background(load_settings().state_dir)
    if form is Format.JSON:
        print_json({"stopped": stopped})
    else:
        print_line("stopped" if stopped else "it was not running")


@app.command("status", epilog=example("tidewatch broker status --format json"))
def show_status(*, form: FormatOption = Format.TEXT) -> None:
    """Show whether the embedded Kafka runs, and where."""
    found = status(load_settings().state_dir)
    if form is Format.JSON:
        print_json(
            {
                "running": found.running,
                "ready": found.ready,
                "bootstrap": found.bootstrap,
                "pid": found.pid,
                "data": found.data,
                "log": found.log,
            }
        )
        return
    if not found.running:
        print_line("it is not running")
    else:
        print_line(
            f"it {'is ready' if found.ready else 'starts: it does not answer yet'} on "
            f"{found.bootstrap} (process {found.pid})"
        )
    print_line(f"data: {found.data}")
    print_line(f"log:  {found.log}")
