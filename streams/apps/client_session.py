"""Runs an ordinary client of the broker: signals, health, shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiokafka.errors import KafkaError

from streams.engine.health import Health
from streams.kafka.client import BrokerUnreachableError
from streams.settings import Settings


@asynccontextmanager
async def client_session(
    settings: Settings,
    consumer: Any,  # noqa: ANN401 -- aiokafka's own, untyped
    producer: Any,  # noqa: ANN401 -- the same
    health: Health,
    stopping: asyncio.Event,
    *,
    watched: bool,
) -> AsyncIterator[None]:
    """Start a client's producer; stop consumer and producer at the end.

    The caller starts the consumer when it is ready to read.

    Args:
        settings: The broker, and the address of health and metrics.
        consumer: Its consumer.
        producer: Its producer.
        health: Served while the client runs; not ready after it ends.
        stopping: Set by SIGTERM and SIGINT.
        watched: Whether health and metrics are served.

    Raises:
        BrokerUnreachableError: The broker can't be used.
        TidewatchError: The port of health and metrics is taken.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    if watched:
        health.serve(settings.http_host, settings.http_port)
    try:
        await producer.start()
        yield
    except (KafkaError, OSError) as error:
        raise BrokerUnreachableError(
            f"the broker can't be used ({error!r})",
            where=str(settings.kafka),
            remedy="check the broker; pending work resumes at the next start",
        ) from error
    finally:
        health.ready = False
        health.close()
        with contextlib.suppress(KafkaError):
            await consumer.stop()
        await producer.stop()
