"""`tidewatch worker`: the apps that read events, in the foreground."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from schemas.errors import TidewatchError
from streams.apps.topology import FACTORIES, preload
from streams.cli.frame import connected_settings, example, new_app

app = new_app("Run the apps that read events.")


@app.command(epilog=example("tidewatch worker", "tidewatch worker --agents checks,scan"))
def worker(
    *,
    agents: Annotated[
        str, typer.Option(help="which apps, separated by commas; all by default")
    ] = "",
    await_kafka: Annotated[
        bool,
        typer.Option(
            "--await-kafka", hidden=True, help="get ready, then read Kafka's address from stdin"
        ),
    ] = False,
) -> None:
    """Run all apps as child processes, or those named, until stopped (SIGTERM, Ctrl-C).

    Several workers share the partitions: give each its own TIDEWATCH_INSTANCE.
    """
    from streams.apps.supervisor import run_worker  # noqa: PLC0415 -- brings Faust

    names = [name.strip() for name in agents.split(",") if name.strip()] or sorted(FACTORIES)
    unknown = [name for name in names if name not in FACTORIES]
    if unknown or len(set(names)) != len(names):
        raise TidewatchError(
            f"no app is called {unknown[0]}" if unknown else "an app is named twice",
            where="--agents",
            remedy=f"choose from: {', '.join(sorted(FACTORIES))}",
        )
    if await_kafka:
        from streams.parent import end_with_parent  # noqa: PLC0415 -- only for `tidewatch up`

        # before the pipe is read: it is at its end if the parent died before this
        end_with_parent(os.getppid())
        preload(names)
        address = sys.stdin.readline().strip()
        if not address:  # the parent that was to send it has ended
            raise typer.Exit
        os.environ["TIDEWATCH_KAFKA"] = address
    raise typer.Exit(run_worker(names, connected_settings()))
