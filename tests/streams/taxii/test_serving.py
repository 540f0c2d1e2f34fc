"""The TAXII server over a real topic: what was on it before is whole, and what comes follows."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
import requests

from schemas.channels import Channel
from schemas.documents.stix import indicator_bundle
from schemas.severity import Tlp
from streams.kafka.compacted import publish_values
from streams.settings import Settings, load_settings
from streams.taxii.config import Address, Reader, TaxiiConfig
from streams.taxii.serving import KafkaTaxii
from tests.streams.taxii.test_taxii import shared

SECONDS = 60.0


def published(settings: Settings, *numbers: int) -> Any:
    records = [(str(n), indicator_bundle([shared(n)], tlp=Tlp.GREEN)) for n in numbers]
    return publish_values(settings, Channel.INTEL_SHARE, records)


def indicators(url: str, token: str) -> tuple[int, int]:
    """Return the status and how many indicators there are."""
    answer = requests.get(
        f"{url}/shared/collections/tlp-green/objects/?match[type]=indicator",
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
    reader = Reader(name="isac", token=f"file:{secret}", tlp=Tlp.GREEN)
    config = TaxiiConfig(readers=(reader,), listen=Address(port=0))
    settings = load_settings(kafka=kafka, topic_prefix="taxii.", partitions=2, state_dir=tmp_path)

    async def awaited(expected: int) -> None:
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            status, count = await asyncio.to_thread(indicators, server.url, token)
            assert status in {200, 503}
            if status == 200:
                assert count <= expected
                if count == expected:
                    return
            await asyncio.sleep(0.1)
        raise AssertionError(f"never {expected}")

    async def play() -> None:
        await published(settings, 1, 2, 3)
        stop = asyncio.Event()
        running = asyncio.ensure_future(server.run(stop))
        await awaited(3)
        await published(settings, 3, 4)
        await awaited(4)
        stop.set()
        await running

    server = KafkaTaxii(settings, config)
    asyncio.run(play())
    with pytest.raises(requests.ConnectionError):
        indicators(server.url, token)
