"""The TAXII server over a real topic: what was on it before is whole, and what comes follows."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import aiokafka
import msgspec
import pytest
import requests

from schemas.channels import Channel
from schemas.documents.stix import indicator_bundle
from schemas.severity import Tlp
from streams.kafka.client import client_options
from streams.kafka.compacted import publish_values
from streams.kafka.topics import ensure_topics, topic_name
from streams.settings import Settings, load_settings
from streams.taxii.config import TaxiiConfig, TaxiiListen, TaxiiReader
from streams.taxii.serving import KafkaTaxii
from tests.schemas import examples
from tests.streams.taxii.test_taxii import shared

SECONDS = 60.0


def published(settings: Settings, *numbers: int) -> Any:
    records = [(str(n), indicator_bundle([shared(n)], tlp=Tlp.GREEN)) for n in numbers]
    return publish_values(settings, Channel.INTEL_SHARE, records)


async def found_in(settings: Settings, *tenants: str) -> None:
    """Write an indicator of each tenant, as the ledger does."""
    await ensure_topics(settings, channels=[Channel.IOCS])
    producer = aiokafka.AIOKafkaProducer(**client_options(settings))
    await producer.start()
    for number, tenant in enumerate(tenants):
        record = examples.ioc(id=f"ioc-{tenant}-{number}", tenant=tenant, tlp=Tlp.GREEN)
        await producer.send_and_wait(
            topic_name(settings, Channel.IOCS),
            msgspec.json.encode(record),
            headers=[("ce_tenantid", tenant.encode())],
        )
    await producer.stop()


def indicators(url: str, token: str, collection: str = "tlp-green") -> tuple[int, int]:
    """Return the status and how many indicators there are."""
    answer = requests.get(
        f"{url}/shared/collections/{collection}/objects/?match[type]=indicator",
        headers={"Authorization": f"Bearer {token}"},
        timeout=SECONDS,
    )
    return answer.status_code, len(answer.json().get("objects", []))


def test_what_was_shared_is_served_and_what_is_shared_then_follows(
    kafka: str, tmp_path: Path
) -> None:
    token = "t" * 32
    secret = tmp_path / "token"
    secret.write_text(token)
    reader = TaxiiReader(name="isac", token=f"file:{secret}", tlp=Tlp.GREEN, tenant="acme")
    config = TaxiiConfig(readers=(reader,), listen=TaxiiListen(port=0))
    settings = load_settings(kafka=kafka, topic_prefix="taxii.", partitions=2, state_dir=tmp_path)

    async def awaited(expected: int, collection: str = "tlp-green") -> None:
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            status, count = await asyncio.to_thread(indicators, server.url, token, collection)
            assert status in {200, 503}
            if status == 200:
                assert count <= expected
                if count == expected:
                    return
            await asyncio.sleep(0.1)
        raise AssertionError(f"never {expected}")

    async def play() -> None:
        await published(settings, 1, 2, 3)
        await found_in(settings, "acme", "globex")
        stop = asyncio.Event()
        running = asyncio.ensure_future(server.run(stop))
        await awaited(3)
        await published(settings, 3, 4)
        await awaited(4)
        await awaited(1, "own-tlp-green")
        await found_in(settings, "globex", "acme")
        await awaited(2, "own-tlp-green")
        stop.set()
        await running

    server = KafkaTaxii(settings, config)
    asyncio.run(play())
    with pytest.raises(requests.ConnectionError):
        indicators(server.url, token)
