"""Indicator records go where the settings say: ECS siblings, and hygiene apart."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import msgspec
import orjson
import pytest

from agents.ports import Delivery, Record
from schemas.channels import Channel
from schemas.documents.ecs import indicator_document
from schemas.findings import SupplyChainIoC
from schemas.ledger import FindingSeen
from streams.apps.ledger import build
from streams.settings import load_settings
from tests.agents.published import Publishing
from tests.agents.triage.memory_rows import MemoryRows
from tests.agents.triage.stories import finding

INDICATORS = {Channel.IOCS, Channel.IOCS_ECS, Channel.HYGIENE}


def indicators(*kinds, **settings):
    """Return the indicator records that the application publishes for findings of some kinds."""
    (binding,) = build(load_settings(**settings)).bindings
    record = Record(topic="t", partition=0, offset=0, timestamp_ms=1, key=b"", value=b"")
    findings = [finding(kind, "a") for kind in kinds]
    deliveries = [
        Delivery(
            record=record, value=FindingSeen(key=found.indicator.key, incident="inc", finding=found)
        )
        for found in findings
    ]
    out = []
    batch = SimpleNamespace(partition=0, deliveries=deliveries)
    asyncio.run(binding.agent(batch, Publishing(out.append), MemoryRows()))
    return [message for message in out if message.channel in INDICATORS]


@pytest.mark.parametrize(
    ("ecs", "hygiene", "channels"),
    [
        (False, False, ["iocs", "iocs"]),
        (False, True, ["iocs", "hygiene"]),
        (True, False, ["iocs", "iocs-ecs", "iocs", "iocs-ecs"]),
        (True, True, ["iocs", "iocs-ecs", "hygiene", "iocs-ecs"]),
    ],
)
def test_indicators_go_where_the_settings_say(ecs, hygiene, channels):
    sent = indicators("malicious_payload", "unpinned_dependency", ecs=ecs, hygiene_topic=hygiene)
    assert [message.channel for message in sent] == channels
    plain = indicators("malicious_payload", "unpinned_dependency")
    records = [message for message in sent if message.channel is not Channel.IOCS_ECS]
    for record, before in zip(records, plain, strict=True):
        assert msgspec.structs.replace(record, channel=Channel.IOCS) == before


def test_the_ecs_sibling_is_the_document_of_the_record_and_for_the_operator_only():
    record, sibling = indicators("malicious_payload", ecs=True)
    ioc = msgspec.json.decode(record.value, type=SupplyChainIoC)
    assert orjson.loads(sibling.value) == orjson.loads(msgspec.json.encode(indicator_document(ioc)))
    assert (sibling.key, sibling.headers) == (record.key, record.headers)
    assert (record.tenant, sibling.tenant) == ("a", None)
