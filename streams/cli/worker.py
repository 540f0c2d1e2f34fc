"""`tidewatch worker`: the apps that read events, in the foreground."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from agents.uncollected import uncollected
from schemas.errors import TidewatchError
from streams.apps.topology import FACTORIES, preload
from streams.cli.frame import connected_settings, example, new_app

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from streams.settings import Settings

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
        _loaded(names)
        address = sys.stdin.readline().strip()
        if not address:  # the parent that was to send it has ended
            raise typer.Exit
        os.environ["TIDEWATCH_KAFKA"] = address
    settings = connected_settings()  # what is wrong with them is said before much is imported
    raise typer.Exit(_loaded(names)(names, settings))


def _loaded(names: Sequence[str]) -> Callable[[Sequence[str], Settings], int]:
    """Import what the apps of those names need, and return what runs them."""
    with uncollected():
        from streams.apps.supervisor import run_worker  # noqa: PLC0415 -- brings Faust

        preload(names)
    return run_worker
