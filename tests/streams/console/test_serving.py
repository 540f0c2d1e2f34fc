"""A console over a real Kafka: what was there, what comes, and what a restart goes on from."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
import requests

from schemas.channels import Channel
from schemas.errors import TidewatchError
from streams.console.config import Address, ConsoleConfig
from streams.console.queries import CaseSelection, Reader
from streams.console.serving import KafkaConsole, console_folder, printed_link
from streams.kafka.publisher import delivering
from streams.kafka.topics import ensure_topics, topic_name
from streams.settings import Settings, load_settings
from tests.streams.console.site import OPERATOR

SECONDS = 60.0
CONFIG = ConsoleConfig(listen=Address(port=0))


async def published(settings: Settings, records) -> None:
    await ensure_topics(settings)
    async with delivering(settings) as publisher:
        for channel, one in records:
            await publisher.put(topic_name(settings, channel), one.key, one.value, one.headers)


async def awaited(condition, what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if await asyncio.to_thread(lambda: bool(condition())):
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"never {what}")


def sign_in(link: str) -> requests.Session:
    browser = requests.Session()
    assert browser.get(link, timeout=SECONDS).status_code == 200
    return browser


def test_it_shows_what_is_there_and_what_comes_and_goes_on_after_a_restart(
    kafka: str, tmp_path: Path, played
) -> None:
    settings = load_settings(kafka=kafka, topic_prefix="console.", partitions=2, state_dir=tmp_path)
    incidents = {
        one.key: (channel, one) for channel, one in played.records if channel is Channel.INCIDENTS
    }
    first, *others = incidents.values()

    async def run(console: KafkaConsole, play) -> None:
        stop = asyncio.Event()
        links: list[str] = []
        running = asyncio.ensure_future(console.run(stop, links.append))
        await awaited(lambda: links and console.feeder.whole, "whole")
        assert printed_link(tmp_path) == links[0]
        await play(console, links[0])
        stop.set()
        await running
        with pytest.raises(TidewatchError, match="no console runs"):
            printed_link(tmp_path)

    def count(console: KafkaConsole) -> int:
        return Reader(console.index, OPERATOR).cases(CaseSelection()).total

    async def of_the_first(console: KafkaConsole, link: str) -> None:
        assert count(console) == 1
        browser = await asyncio.to_thread(sign_in, link)
        await awaited(lambda: printed_link(tmp_path) != link, "a new link")
        await published(settings, others)
        await awaited(lambda: count(console) == len(incidents), "all")
        text = (await asyncio.to_thread(browser.get, f"{console.url}/incidents")).text
        assert text.count('id="case-') == len(incidents)
        await awaited(lambda: console.feeder.progress, "measured")
        assert set(console.feeder.progress) == {"checks", "scan", "ledger", "incidents"}

    async def of_the_second(console: KafkaConsole, _link: str) -> None:
        assert count(console) == len(incidents)
        await awaited(lambda: console.feeder.behind == 0, "caught up")

    asyncio.run(published(settings, [first]))
    asyncio.run(run(KafkaConsole(settings, CONFIG), of_the_first))
    again = KafkaConsole(settings, CONFIG)
    assert count(again) == len(incidents), "it is there before anything is read"
    asyncio.run(run(again, of_the_second))
    mode = console_folder(tmp_path).stat().st_mode & 0o777
    assert mode == 0o700
