"""Imports what the engine uses of Faust, without the HTTP client that Faust imports for a type."""

from __future__ import annotations

from agents.lean_imports import standing_in

# It takes a fifth of a worker's start; `HttpClient` of the app's options is what stands in for it.
with standing_in("aiohttp.client", ClientSession=object):
    from faust import App, Schema, Table
    from faust.events import Event
    from faust.stores import STORES
    from faust.stores import base as stores
    from faust.tables import TableManager
    from faust.transport.drivers import TRANSPORTS
    from faust.transport.drivers import aiokafka as driver
    from faust.types import TP
    from faust.types.tuples import ConsumerMessage
    from mode import Service

__all__ = [
    "STORES",
    "TP",
    "TRANSPORTS",
    "App",
    "ConsumerMessage",
    "Event",
    "Schema",
    "Service",
    "Table",
    "TableManager",
    "driver",
    "stores",
]
