"""Runs the TAXII server: reads its topics from their beginning, and answers from them."""

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
    """One TAXII server on one address, over shared indicators and its readers' own."""

    def __init__(self, settings: Settings, config: TaxiiConfig) -> None:
        """Bind the address; nothing is read or answered before `run`.

        Args:
            settings: The broker and the topics.
            config: The configuration.

        Raises:
            TidewatchError: A secret, a certificate or the address can't be used.
        """
        self._settings = settings
        self._tenants = frozenset(filter(None, (reader.tenant for reader in config.readers)))
        self.shelf = Shelf(config.objects, self._tenants)
        self.whole = False
        """Whether all that was on the topics at the start is on the shelf."""
        channels = [Channel.INTEL_SHARE, *([Channel.IOCS] if self._tenants else [])]
        self._topics = {topic_name(settings, channel): channel for channel in channels}
        self._unread = set(self._topics)
        # a record holds an object at least, so the shelf keeps nothing of older ones; each tenant
        # has its own share, so that none takes another's
        self._first: dict[str, deque[Any]] = {
            tenant: deque(maxlen=config.objects) for tenant in ("", *self._tenants)
        }
        taxii = TaxiiServer(config, read_tokens(config), self.shelf, ready=lambda: self.whole)
        self._server = HttpServer(
            "taxii", taxii.routes(), config.listen, config.limits, drain_seconds=DRAIN_SECONDS
        )
        self.url = self._server.url

    async def run(self, stop: asyncio.Event) -> None:
        """Answer until `stop` is set; end with the error if a topic can't be read any more.

        Raises:
            TidewatchError: The broker can't be reached, or a topic can't be read.
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
        """Put the records of the topics on the shelf, and follow them."""
        await ensure_topics(self._settings, channels=list(self._topics.values()))
        following = [asyncio.ensure_future(self._follow(topic)) for topic in self._topics]
        try:
            await asyncio.gather(*following)
        finally:
            for task in following:
                task.cancel()
            await asyncio.gather(*following, return_exceptions=True)

    async def _follow(self, topic: str) -> None:
        records = read_topic(
            self._settings,
            topic,
            from_start=True,
            follow=True,
            at_end=lambda: self._take_first(topic),
        )
        async with aclosing(records):
            async for record in records:
                whose = self._whose(record)
                if whose is None:
                    continue
                if self.whole:
                    self._take(record)
                else:
                    self._first[whose].append(record)

    def _whose(self, record: Any) -> str | None:  # noqa: ANN401 -- aiokafka's record
        """Return the tenant of a record; empty: shared; None: no reader may have it."""
        if self._topics[record.topic] is Channel.INTEL_SHARE:
            return ""
        named = next((value for name, value in record.headers if name == "ce_tenantid"), b"")
        tenant = named.decode("utf-8", "replace")
        return tenant if tenant in self._tenants else None

    def _take_first(self, topic: str) -> None:
        """Take the existing records in the order of time, once the last topic is read to its end.

        So a restart gives each object the same time of addition, regardless of the order of topics
        and partitions.
        """
        self._unread.discard(topic)
        if self._unread or self.whole:
            return
        in_order = sorted(
            (record for records in self._first.values() for record in records),
            key=lambda record: (record.timestamp, record.topic, record.partition, record.offset),
        )
        for record in in_order:
            self._take(record)
        self._first.clear()
        self.whole = True
        log.info("taxii-ready", url=self.url)

    def _take(self, record: Any) -> None:  # noqa: ANN401 -- aiokafka's record
        shelf = self.shelf
        before = (shelf.dropped, shelf.unreadable)
        if self._topics[record.topic] is Channel.INTEL_SHARE:
            shelf.add_bundle(record.value, record.timestamp)
        else:
            shelf.add_indicator(record.value, record.timestamp)
        if shelf.dropped > before[0]:
            log.warning("taxii-objects-dropped", count=shelf.dropped)
        if shelf.unreadable > before[1]:
            log.warning(
                "taxii-unreadable",
                count=shelf.unreadable,
                topic=record.topic,
                offset=record.offset,
            )
