"""Poison in every topic and field, through the whole chain: refused or processed, never harmful."""

from __future__ import annotations

import asyncio
import time
from itertools import cycle

import orjson
import pytest

from schemas import dead_letters as reasons
from schemas.channels import Channel
from schemas.intel import IntelKind
from streams.kafka.topics import topic_name
from tests.e2e.chain import Chain
from tests.e2e.hostile_events import HUGE, hostile, odd, poison
from tests.e2e.mixed_events import events, intel, policies, write_models

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

SECONDS = 240
NEIGHBOURS = 400


async def produce(chain, records):
    """Write records with headers; return where each went, as the key of a dead letter says it."""
    producer = await chain._producer()
    try:
        pending = [
            await producer.send(
                topic_name(chain.settings, channel),
                value,
                key.encode() if key is not None else None,
                headers=headers,
            )
            for channel, key, value, headers in records
        ]
        places = [await delivery for delivery in pending]
    finally:
        await producer.stop()
    return [f"{position.topic}-{position.partition}-{position.offset}" for position in places]


def other_topics():
    """Yield what does not belong on the topics that others than producers of events write."""
    fact = {"key": "pypi:x", "kind": IntelKind.MALICIOUS, "details": {"n": "HUGE"}}
    huge = orjson.dumps(fact).replace(b'"HUGE"', str(HUGE).encode())
    rubbish = (None, b"", b"\xff\xfe", b"[]", b"{}", b"[" * 10_000, b'{"type":"tick"}', huge)
    for channel in (
        Channel.INTEL,
        Channel.POLICY,
        Channel.DECISIONS,
        Channel.CONTAINMENT_RESULTS,
        Channel.SCAN_REQUESTS,
        Channel.OBSERVATIONS,
        Channel.INCIDENT_UPDATES,
    ):
        for value in rubbish:
            for key in (None, "rubbish", "\x00\x1f/../\x1e"):
                compacted = channel in {Channel.INTEL, Channel.POLICY}
                if (key is None or value is None) and (compacted or key == value):
                    continue  # what the broker refuses, or lawful: a tombstone
                yield channel, key, value, [("ce_signature", b"\xff"), ("ce_time", b"noon")]


@pytest.fixture(scope="module")
def poisoned(kafka, tmp_path_factory):
    """A chain after all of it, with what was sent and what came out."""
    folder = tmp_path_factory.mktemp("poison")
    root = folder / "models"
    write_models(root)
    chain = Chain(kafka, folder)
    chain.send(
        Channel.POLICY, [*policies(root), ("tenant-a", orjson.dumps({"tenant": "tenant-a"}))]
    )
    chain.send(Channel.INTEL, intel())
    refused = list(poison())
    odd_ones = [(channel, event_id, (channel, key, _with_id(value, event_id), headers))
                for channel, event_id, key, value, headers in odd()]  # fmt: skip
    hostile_ones = list(hostile())
    ordinary = [
        (channel, key, value, []) for channel, key, value in events(NEIGHBOURS, root) if key
    ]
    started = time.monotonic()
    worker = chain.start()
    try:
        neighbours = iter(ordinary)
        sent = {"poison": [], "odd": [], "hostile": []}
        mixed = []
        for kind, record in _in_turn(
            ("poison", [(c, k, v, h) for c, k, v, h, _ in refused]),
            ("odd", [record for _, _, record in odd_ones]),
            ("hostile", [(c, i, v, []) for c, i, v in hostile_ones]),
        ):
            mixed.append((kind, record))
            mixed.extend(("neighbour", near) for near in [next(neighbours, None)] if near)
        mixed.extend(("neighbour", near) for near in neighbours)
        places = asyncio.run(produce(chain, [record for _, record in mixed]))
        for (kind, _), position in zip(mixed, places, strict=True):
            sent.setdefault(kind, []).append(position)
        asyncio.run(produce(chain, other_topics()))
        chain.settle(SECONDS)
        alive = worker.poll() is None
        letters = {
            record.key.decode(): dict(record.headers) for record in chain.read(Channel.DEAD_LETTER)
        }
        assessed = {orjson.loads(r.value)["event_id"] for r in chain.read(Channel.ASSESSMENTS)}
    finally:
        chain.stop()
    log = (folder / f"{chain.prefix}-worker-0.log").read_text(errors="replace")
    return {
        "chain": chain, "letters": letters, "assessed": assessed, "sent": sent, "log": log,
        "reasons": [reason for *_, reason in refused], "alive": alive,
        "exit_code": worker.returncode, "odd": [event_id for _, event_id, _ in odd_ones],
        "hostile": [event_id for _, event_id, _ in hostile_ones],
        "neighbours": [orjson.loads(value)["id"] for _, _, value, _ in ordinary],
        "seconds": time.monotonic() - started,
    }  # fmt: skip


def _with_id(value, event_id):
    return value.replace(b'"id":"' + _id_of(value) + b'"', f'"id":"{event_id}"'.encode(), 1)


def _id_of(value):
    begin = value.find(b'"id":"') + 6
    return value[begin : value.find(b'"', begin)]


def _in_turn(*kinds):
    """Yield from each list in turn until all are through."""
    waiting = [(kind, iter(records)) for kind, records in kinds]
    for kind, records in cycle(list(waiting)):
        one = next(records, None)
        if one is None:
            waiting = [entry for entry in waiting if entry[1] is not records]
            if not waiting:
                return
        else:
            yield kind, one


def test_no_app_ended_or_was_started_again_and_the_worker_ends_well(poisoned):
    assert poisoned["alive"]
    assert poisoned["exit_code"] == 0
    # a broker that does not answer ends an application too, and that is not the poison's doing
    failed = [line for line in poisoned["log"].splitlines() if "Traceback" in line]
    assert not [line[:3000] for line in failed if "\\naiokafka.errors." not in line]
    assert poisoned["log"].count('"child-restarts"') <= len(failed)


def test_each_poison_is_with_the_dead_letters_for_its_reason(poisoned):
    got = [
        poisoned["letters"].get(position, {}).get("reason", b"none").decode()
        for position in poisoned["sent"]["poison"]
    ]
    assert got == poisoned["reasons"]


def test_unusual_valid_events_are_processed(poisoned):
    assert set(poisoned["odd"]) <= poisoned["assessed"]
    assert not set(poisoned["sent"]["odd"]) & set(poisoned["letters"])


def test_each_hostile_event_has_an_outcome_and_breaks_no_check(poisoned):
    letters, assessed = poisoned["letters"], poisoned["assessed"]
    pairs = zip(poisoned["hostile"], poisoned["sent"]["hostile"], strict=True)
    without = [
        event for event, position in pairs if event not in assessed and position not in letters
    ]
    assert not [entry for entry in without if not entry.startswith("any-")]
    broken = [
        (name, headers["error"])
        for name, headers in letters.items()
        if headers["reason"] == reasons.CHECK_FAILED.encode()
    ]
    assert not broken


def test_neighbours_of_poison_are_unaffected(poisoned):
    assert not set(poisoned["neighbours"]) - poisoned["assessed"]
    assert not set(poisoned["sent"]["neighbour"]) & set(poisoned["letters"])


def test_tenant_name_in_an_event_impersonates_nobody(poisoned):
    for channel in (Channel.ALERTS, Channel.IOCS, Channel.ASSESSMENTS):
        for record in poisoned["chain"].read(channel):
            headers = dict(record.headers)
            assert headers["ce_tenantid"] != b"globex"
