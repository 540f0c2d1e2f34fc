"""A console over a real Kafka: what was there, what comes, and what a restart goes on from."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import msgspec
import pytest
import requests

from schemas.channels import Channel
from schemas.decisions import Decision
from schemas.errors import TidewatchError
from schemas.incidents.views import IncidentDocument
from schemas.policy import default_policy
from streams.apps.decoding import incidents_decoder
from streams.cli.intel import FeedKind, read_feed
from streams.console.changing import KafkaChange
from streams.console.config import ConsoleConfig, ConsoleListen
from streams.console.queries import IndexReader
from streams.console.selections import CaseSelection
from streams.console.serving import KafkaConsole, console_folder, own_viewer, printed_link
from streams.kafka.compacted import latest_values
from streams.kafka.publisher import delivering
from streams.kafka.reader import read_topic
from streams.kafka.records import record_of
from streams.kafka.topics import TopicOrigin, ensure_topics, topic_name
from streams.settings import Settings, load_settings
from streams.signing_keys import OPERATOR as OPERATOR_KEY
from streams.signing_keys import KeyRing, keys_dir, trusted_dir
from tests.scenarios.expectation import load
from tests.streams.console.played import Played, record
from tests.streams.console.site import OPERATOR

SECONDS = 60.0
CONFIG = ConsoleConfig(listen=ConsoleListen(port=0))


async def published(settings: Settings, records) -> None:
    await ensure_topics(settings)
    async with delivering(settings) as publisher:
        for channel, entry in records:
            await publisher.put(
                topic_name(settings, channel), entry.key, entry.value, entry.headers
            )


async def decisions(settings: Settings) -> list[Decision]:
    """Return the decisions on the topic, as the incidents application takes them."""
    decode = incidents_decoder(KeyRing(trusted_dir(keys_dir(settings.state_dir), OPERATOR_KEY)))
    topic = topic_name(settings, Channel.DECISIONS)
    return [
        decode(record_of(raw), TopicOrigin(Channel.DECISIONS))
        async for raw in read_topic(settings, topic, from_start=True, follow=False)
    ]


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


def test_console_shows_old_and_new_records_and_continues_after_a_restart(
    kafka: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    # of its own: a decision changes it
    played = Played(tmp_path_factory.mktemp("played"), load("package_takeover"))
    flow = played.flow
    settings = load_settings(kafka=kafka, topic_prefix="console.", partitions=2, state_dir=tmp_path)
    incidents = {
        entry.key: (channel, entry)
        for channel, entry in played.records
        if channel is Channel.INCIDENTS
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
        return IndexReader(console.index, OPERATOR).cases(CaseSelection()).total

    async def of_the_first(console: KafkaConsole, link: str) -> None:
        assert count(console) == 1
        browser = await asyncio.to_thread(sign_in, link)
        await awaited(lambda: printed_link(tmp_path) != link, "a new link")
        await published(settings, others)
        await awaited(lambda: count(console) == len(incidents), "all")
        text = (await asyncio.to_thread(browser.get, f"{console.url}/incidents")).text
        assert text.count('id="case-') == len(incidents)
        await of_a_decision(console, browser)
        await awaited(lambda: console.feeder.progress, "measured")
        assert set(console.feeder.progress) == {"checks", "scan", "ledger", "incidents"}

    async def of_a_decision(console: KafkaConsole, browser: requests.Session) -> None:
        """What is decided is signed, counts for the application, and is seen to count."""
        incident = msgspec.json.decode(first[1].value, type=IncidentDocument).id
        page = f"{console.url}/incidents/{incident}"
        form = (await asyncio.to_thread(browser.get, f"{page}/decide?kind=close")).text
        fields = {"csrf": form.split('name="csrf" value="')[1].split('"')[0],
                  "kind": "close", "reason": "over", "for": "*"}  # fmt: skip
        after = await asyncio.to_thread(browser.post, f"{page}/decide", fields)
        assert "not yet taken" in after.text
        (decision,) = await decisions(settings)
        assert (decision.decision, decision.reason, decision.tenant) == ("close", "over", None)
        assert decision.actor == own_viewer().name
        assert decision.key == "operator"
        before = len(flow.sent)
        flow.decide(decision)
        reported = [
            message for message in flow.sent[before:] if message.channel is Channel.INCIDENTS
        ]
        await published(
            settings,
            [(Channel.INCIDENTS, record(Channel.INCIDENTS, reported[-1].key, reported[-1].value))],
        )
        await awaited(lambda: "It counts." in browser.get(after.url).text, "taken")

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


def test_changes_of_an_admin_are_written_to_the_topics(kafka: str, tmp_path: Path) -> None:
    settings = load_settings(kafka=kafka, topic_prefix="changes.", partitions=1, state_dir=tmp_path)
    change = KafkaChange(settings)

    def there(channel: Channel) -> set[str]:
        return set(asyncio.run(latest_values(settings, channel)))

    change.set_policy(default_policy("acme"))
    assert there(Channel.POLICY) == {"acme"}
    feed, prefix = read_feed(b"pypi:acme-evil\n", FeedKind.BLOCKLIST, "list", "night-shift")
    for publish in (False, True):
        (fact,) = change.import_feed(feed, prefix, publish=publish).facts
        assert there(Channel.INTEL) == ({fact.key} if publish else set())
    change.withdraw("pypi:acme-evil")
    assert there(Channel.INTEL) == set()
    with pytest.raises(TidewatchError, match="nothing is known"):
        change.withdraw("pypi:acme-evil")
    assert change.replay("changes.registry-push-0-7") == 0
