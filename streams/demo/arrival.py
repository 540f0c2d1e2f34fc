"""Sends one event of the demonstration over HTTP, as a producer does."""

from __future__ import annotations

import asyncio
import secrets
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from schemas.errors import TidewatchError
from streams.event_records import CHANNEL_OF_TYPE, EventRecord
from streams.gateway.config import CLOUDEVENTS, Endpoint, GatewayConfig
from streams.gateway.delivery import RecordWriter
from streams.gateway.handlers import Gateway
from streams.gateway.reading import STRUCTURED
from streams.http.listening import Limits, Listen
from streams.http.server import HttpServer
from streams.private_files import private_folder, write_private

if TYPE_CHECKING:
    from streams.settings import Settings

SECONDS: Final = 30.0


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """How the event arrived."""

    url: str
    """The address that it was sent to."""
    status: int
    """What the gateway answered."""


async def through_gateway(settings: Settings, record: EventRecord, folder: Path) -> Arrival:
    """Send an event to a gateway that runs for it alone; return once the broker acknowledged it.

    Args:
        settings: Which broker.
        record: The event.
        folder: Where the endpoint's secret is kept meanwhile.

    Raises:
        TidewatchError: The gateway did not take it.
    """
    secret = private_folder(folder) / "gateway-secret"
    token = secrets.token_hex(32)
    write_private(secret, token)
    endpoint = Endpoint(tenant=record.event.tenantid, producer=CLOUDEVENTS, secret=f"file:{secret}")
    listen = Listen(port=0)
    config = GatewayConfig(listen=listen, endpoints={"demo": endpoint})
    delivery = RecordWriter(settings, [CHANNEL_OF_TYPE[record.event.type]], SECONDS)
    gateway = Gateway(settings, config, delivery)
    server = HttpServer("gateway", gateway.routes(), listen, Limits(), drain_seconds=SECONDS)
    connected, stop, drained = asyncio.Event(), asyncio.Event(), asyncio.Event()
    delivering = asyncio.ensure_future(delivery.run(drained, connected.set))
    serving = asyncio.ensure_future(server.serve(stop))
    try:
        waiting = asyncio.ensure_future(connected.wait())
        await asyncio.wait({waiting, delivering}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        url = f"{server.url}/v1/events"
        return Arrival(url=url, status=await asyncio.to_thread(_send, url, token, record.value))
    finally:
        stop.set()
        await asyncio.gather(serving, return_exceptions=True)
        drained.set()
        await asyncio.gather(delivering, return_exceptions=True)
        secret.unlink(missing_ok=True)


def _send(url: str, token: str, value: bytes) -> int:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": STRUCTURED}
    request = urllib.request.Request(url, data=value, headers=headers)  # noqa: S310 -- our own
    try:
        # a proxy of the environment does not lead to this machine
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=SECONDS) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        raise TidewatchError(
            f"the gateway answered {error.code}", where=url, remedy="see: tidewatch doctor"
        ) from error
    except OSError as error:
        raise TidewatchError(
            "the gateway did not answer", where=url, remedy="see the log of the gateway"
        ) from error
