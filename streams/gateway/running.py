"""Runs a gateway: the HTTP server, the producer, health and metrics, until it is stopped."""

from __future__ import annotations

import asyncio
import signal
from typing import Final

from agents.logs import Logger
from schemas.channels import Channel
from streams.engine.health import Health
from streams.event_records import CHANNEL_OF_TYPE
from streams.gateway.assessments import AssessmentIndex, follow
from streams.gateway.config import GatewayConfig, proof_rule
from streams.gateway.delivery import RecordWriter
from streams.gateway.handlers import Gateway
from streams.http.running import beat
from streams.http.server import HttpServer
from streams.settings import Settings

log = Logger()

APP: Final = "gateway"
WRITES: Final = (*CHANNEL_OF_TYPE.values(), Channel.DEAD_LETTER)


async def run_gateway(settings: Settings, config: GatewayConfig) -> None:
    """Take events over HTTP until asked to stop (SIGTERM, SIGINT); then drain.

    While the broker is unavailable it answers 503; it ends only if no broker answers at the start.

    Raises:
        TidewatchError: An address is taken, a file or a secret can't be read.
        BrokerUnreachableError: No broker answered within `broker_wait_seconds` of the start.
    """
    delivery = RecordWriter(settings, WRITES, config.pressure.deliver_seconds)
    gateway = Gateway(settings, config, delivery)
    server = HttpServer(
        APP,
        gateway.routes(),
        config.listen,
        config.limits,
        drain_seconds=max(settings.drain_seconds, config.pressure.deliver_seconds),
        extra_single=_proof_headers(config),
    )
    health = Health(APP, watchdog_seconds=settings.watchdog_seconds)
    try:
        health.serve(settings.http_host, settings.http_port)
        await _serve(server, delivery, health, settings, gateway.index)
    finally:
        server.close()
        health.close()


def _proof_headers(config: GatewayConfig) -> frozenset[bytes]:
    """Return the headers that carry proofs, which must not be repeated."""
    named = {proof_rule(endpoint).header.lower() for endpoint in config.endpoints.values()}
    signed = {"x-mlflow-delivery-id", "x-mlflow-timestamp", "x-github-event", "x-github-delivery"}
    return frozenset(name.encode("ascii") for name in named | signed if name)


async def _serve(
    server: HttpServer,
    delivery: RecordWriter,
    health: Health,
    settings: Settings,
    index: AssessmentIndex,
) -> None:
    stopping, drained = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    tasks = [
        asyncio.ensure_future(server.serve(stopping)),
        # the producer outlives the server: accepted requests are still delivered
        asyncio.ensure_future(
            delivery.run(drained, lambda: log.info("gateway-started", url=server.url))
        ),
    ]
    stopped = asyncio.ensure_future(stopping.wait())
    following = asyncio.ensure_future(follow(settings, index, stopping))
    beating = asyncio.ensure_future(beat(health, lambda: delivery.ready and not stopping.is_set()))
    try:
        # the three end by a stop, or by a fatal error
        await asyncio.wait({*tasks, stopped, following}, return_when=asyncio.FIRST_COMPLETED)
        health.ready = False
        stopping.set()
        index.close()
        await asyncio.wait({tasks[0]})
        drained.set()
        await asyncio.wait({*tasks, following})
        for task in (*tasks, following):
            task.result()
    finally:
        beating.cancel()
        stopped.cancel()
        await asyncio.gather(beating, stopped, return_exceptions=True)
