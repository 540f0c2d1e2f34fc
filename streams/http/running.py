"""Runs a server with its health and metrics until it is stopped."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from streams.engine.health import Health

if TYPE_CHECKING:
    from streams.settings import Settings

BEAT_SECONDS: Final = 0.5


class Stoppable(Protocol):
    """A server that holds its address already."""

    @property
    def ready(self) -> bool:
        """Whether it can answer."""

    async def run(self, stop: asyncio.Event) -> None:
        """Answer until `stop` is set."""

    def close(self) -> None:
        """Give the address back."""


async def run_until_asked(app: str, server: Stoppable, settings: Settings) -> None:
    """Answer until asked to stop (SIGTERM, SIGINT); then drain, and close the server.

    Args:
        app: The application's name in health and metrics.
        server: The server.
        settings: Where health and metrics listen.

    Raises:
        TidewatchError: The address of health and metrics is taken, or the server can't go on.
    """
    health = Health(app, watchdog_seconds=settings.watchdog_seconds)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    beating = asyncio.ensure_future(beat(health, lambda: server.ready and not stop.is_set()))
    try:
        health.serve(settings.http_host, settings.http_port)
        await server.run(stop)
    finally:
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)
        server.close()
        health.close()


async def beat(health: Health, is_ready: Callable[[], bool]) -> None:
    """Report to health that the loop runs, and whether the server can answer, until cancelled.

    Args:
        health: The health of the process.
        is_ready: Whether it can answer now.
    """
    while True:
        health.beat(0.0)
        health.ready = is_ready()
        await asyncio.sleep(BEAT_SECONDS)
