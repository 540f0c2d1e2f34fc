"""Runs the TAXII server: reads the sharing topic from its beginning, and answers from it."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

from agents.logs import Logger
from schemas.channels import Channel
from streams.http.server import HttpServer
from streams.kafka.reader import read_topic
from streams.kafka.topics import ensure_topics, topic_name
from streams.taxii.config import TaxiiConfig, read_tokens
from streams.taxii.routes import TaxiiServer
from streams.taxii.shelf import Shelf

if TYPE_CHECKING:
    from streams.settings import Settings

log = Logger()

DRAIN_SECONDS: Final = 10.0


class KafkaTaxii:
    """One TAXII server on one address, over the sharing topic."""

    def __init__(self, settings: Settings, config: TaxiiConfig) -> None:
        """Bind the address; nothing is read or answered before `run`.

        Args:
            settings: The broker and the topics.
            config: The configuration.

        Raises:
            TidewatchError: A secret, a certificate or the address can't be used.
        """
        self._settings = settings
        self.shelf = Shelf(config.objects)
        self.whole = False
        """Whether all that was on the topic at the start is on the shelf."""
        # a record holds an object at least, so the shelf keeps nothing of older ones
        self._first: deque[Any] = deque(maxlen=config.objects)
        taxii = TaxiiServer(config, read_tokens(config), self.shelf, ready=lambda: self.whole)
        self._server = HttpServer(
            "taxii", taxii.routes(), config.listen, config.limits, drain_seconds=DRAIN_SECONDS
        )
        self.url = self._server.url

    async def run(self, stop: asyncio.Event) -> None:
        """Answer until `stop` is set; end with the error if the topic can't be read any more.

        Raises:
            TidewatchError: The broker can't be reached, or the topic can't be read.
        """
        ended = asyncio.Event()
        serving = asyncio.ensure_future(self._server.serve(ended))
        reading = asyncio.ensure_future(self._read())
        stopping = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({serving, reading, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended.set()
            stopping.cancel()
            failed = reading.done() and not reading.cancelled()
            reading.cancel()
            await asyncio.gather(reading, stopping, return_exceptions=True)
            await serving
        if failed:
            reading.result()

    async def _read(self) -> None:
        """Put what is on the topic on the shelf, and what comes."""
        settings = self._settings
        await ensure_topics(settings, channels=[Channel.INTEL_SHARE])
        topic = topic_name(settings, Channel.INTEL_SHARE)
        records = read_topic(settings, topic, from_start=True, follow=True, at_end=self._take_first)
        async with aclosing(records):
            async for record in records:
                if self.whole:
                    self._take(record)
                else:
                    self._first.append(record)

    def _take_first(self) -> None:
        """Take what was on the topic in the order of time, whatever order partitions came in.

        So a restart gives each object the time at which it was added before.
        """
        in_order = sorted(self._first, key=lambda one: (one.timestamp, one.partition, one.offset))
        for record in in_order:
            self._take(record)
        self._first.clear()
        self.whole = True
        log.info("taxii-ready", url=self.url)

    def _take(self, record: Any) -> None:  # noqa: ANN401 -- aiokafka's record
        shelf = self.shelf
        before = (shelf.dropped, shelf.unreadable)
        shelf.add_bundle(record.value, record.timestamp)
        if shelf.dropped > before[0]:
            log.warning("taxii-objects-dropped", count=shelf.dropped)
        if shelf.unreadable > before[1]:
            log.warning("taxii-unreadable", count=shelf.unreadable, offset=record.offset)
