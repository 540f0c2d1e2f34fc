"""Checking agents: an event that breaks a check has an outcome and stops nobody else."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import orjson

from agents.checking import SightingDeduplicator, checking_agent
from agents.messages import refusal_message
from agents.ports import Delivery, Message, Record
from schemas.channels import Channel
from schemas.cloudevents import read_event
from schemas.dead_letters import CHECK_FAILED
from schemas.ledger import LedgerMessage, SourceSeen
from schemas.observations import Sighting
from tests.schemas.events import PACKAGE_INSTALL

TIME = datetime(2026, 11, 20, 9, tzinfo=UTC)


def record(value=b"{}", headers=(), key=b"acme|host:x", offset=0):
    return Record(
        topic="t",
        partition=1,
        offset=offset,
        timestamp_ms=int(TIME.timestamp() * 1000),
        key=key,
        value=value,
        headers=headers,
    )


class Published(list):
    def __init__(self):
        super().__init__()
        self.refused = []

    def __call__(self, message):
        self.append(message)

    def refuse(self, one, reason, _error):
        self.refused.append((one.offset, reason))


def test_an_event_that_breaks_a_check_is_refused_and_its_neighbours_are_checked():
    def check(event):
        yield Message(channel=Channel.ASSESSMENTS, key=str(event), value=b"first")
        if event == 1:
            raise ZeroDivisionError
        yield Message(channel=Channel.ASSESSMENTS, key=str(event), value=b"second")

    class Batch:
        partition = 1
        watermark_ms = 0
        deliveries = [Delivery(record=record(offset=n), value=n) for n in range(3)]  # noqa: RUF012 -- a plain stand-in

    published = Published()
    asyncio.run(checking_agent(check)(Batch(), published))
    assert published.refused == [(1, CHECK_FAILED)]
    assert [message.key for message in published] == ["0", "0", "2", "2"]


def sighting(**changes):
    fields = {
        "id": "s",
        "component": "pypi:numpy",
        "tenant": "acme",
        "system": "host",
        "event_id": "e2",
        "source": "//ci",
        "occurred_at": TIME,
        "version": "2.0",
    }
    return Sighting(**{**fields, **changes})


def test_the_same_sighting_is_told_once_a_day():
    told = SightingDeduplicator()
    assert told.is_news(sighting())
    assert not told.is_news(sighting(event_id="e3", occurred_at=TIME + timedelta(hours=1)))
    assert told.is_news(sighting(event_id="e4", occurred_at=TIME + timedelta(days=1)))


def test_an_earlier_sighting_of_the_same_is_news():
    told = SightingDeduplicator()
    assert told.is_news(sighting())
    assert told.is_news(sighting(event_id="e1", occurred_at=TIME - timedelta(hours=1)))


def test_what_was_forgotten_is_told_again():
    told = SightingDeduplicator(limit=2)
    for name in ("a", "b", "c", "d"):
        assert told.is_news(sighting(component=f"pypi:{name}"))
    assert told.is_news(sighting(component="pypi:a"))


def test_a_source_is_heard_once_an_hour():
    told = SightingDeduplicator()
    event = read_event(orjson.dumps(PACKAGE_INSTALL), (), timestamp_ms=3_600_000, max_bytes=1 << 20)
    assert told.is_new_source(event)
    assert not told.is_new_source(event)
    assert told.is_new_source(msgspec.structs.replace(event, received_ms=7_200_000))


def refused(one):
    seen = msgspec.json.decode(refusal_message(one).value, type=LedgerMessage)
    assert isinstance(seen, SourceSeen)
    assert seen.outcome == "dead-letter"
    return seen.tenant, seen.source


def test_a_refused_record_still_tells_whose_source_it_probably_came_from():
    assert refused(record(b"\xff")) == ("acme", "unknown")
    assert refused(record(b'{"tenantid":"a","source":"//x"}')) == ("a", "//x")
    assert refused(record(None, (("ce_tenantid", b"b"), ("ce_source", b"//y")))) == ("b", "//y")
    assert refused(record(b'{"tenantid":7}', key=None)) == ("unknown", "unknown")
    assert refused(record(b"[" * 100_000, key=b"\xff|x")) == ("\ufffd", "unknown")
