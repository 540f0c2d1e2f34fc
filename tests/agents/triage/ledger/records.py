"""What the tests of the ledger share: facts, rows to take records into, ordinary sightings."""

from __future__ import annotations

import msgspec

from agents.ports import Delivery, Record
from agents.triage.ledger.core import process
from schemas.channels import Channel
from tests.agents.published import Publishing
from tests.agents.triage.flow import START
from tests.agents.triage.stories import MODEL, sighting


def take(rows, *values):
    out = []
    deliveries = [
        Delivery(
            record=Record(
                topic="t",
                partition=0,
                offset=number,
                timestamp_ms=int(START.timestamp() * 1000),
                key=b"k",
                value=b"",
            ),
            value=value,
        )
        for number, value in enumerate(values)
    ]
    process(deliveries, Publishing(out.append), rows)
    return out


def pushed(number, **more):
    digest = more.pop("digest", f"{number:064x}")
    version = more.pop("version", f"r{number}")
    return sighting(
        MODEL, "a", "hub", number, version=version, digest=digest, kind="pushed", **more
    )


def kinds(messages):
    return [
        msgspec.json.decode(message.value)["kind"]
        for message in messages
        if message.channel is Channel.OPERATOR_ALERTS
    ]
