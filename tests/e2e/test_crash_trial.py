"""Killed workers, a worker that comes and goes, a broker restart: the same comes out."""

from __future__ import annotations

import os
import random
import threading
import time
from hashlib import sha256

import orjson
import psutil
import pytest

from schemas.channels import Channel
from tests.e2e.chain import Chain, results
from tests.e2e.mixed_events import events, intel, policies, write_models

EVENTS = int(os.environ.get("TRIAL_EVENTS", "1000"))
"""Enough for every kind of output; more make the trial longer, not another."""
BATCH = EVENTS // 20
"""A second apart, so that the kills fall into the feeding."""
KILLS = 6
SECONDS = 240

pytestmark = [pytest.mark.kafka, pytest.mark.fault, pytest.mark.timeout(900)]


def feed(chain, items, pause=0.0):
    for start in range(0, len(items), BATCH):
        by_channel = {}
        for channel, key, value in items[start : start + BATCH]:
            by_channel.setdefault(channel, []).append((key, value))
        for channel, records in by_channel.items():
            chain.send(channel, records)
        time.sleep(pause)


def know(chain, root):
    chain.send(Channel.POLICY, policies(root))
    chain.send(Channel.INTEL, intel())


def harass(chain, broker, done):
    """Kill app processes at random moments; let a worker join and leave; restart the broker."""
    chance = random.Random(11)
    kills = 0
    second = None
    while kills < KILLS:
        if done.wait(chance.uniform(1.5, 4.0)):
            break
        running = chain.processes()
        if not running:
            continue
        try:
            chance.choice(running).kill()
        except psutil.NoSuchProcess:
            continue
        kills += 1
        if kills == 2:
            second = chain.start("1")
        if kills == 3:
            broker.restart()
        if kills == 5 and second is not None:
            second.terminate()
    return kills


def test_disturbed_chain_gives_the_output_of_an_undisturbed_one(own_kafka, tmp_path):
    broker = own_kafka()
    root = tmp_path / "models"
    write_models(root)
    items = list(events(EVENTS, root))
    assert len(items) == EVENTS

    calm = Chain(broker.bootstrap, tmp_path)
    chain, done = None, threading.Event()
    try:
        know(calm, root)
        calm.start()
        feed(calm, items)
        calm.settle(SECONDS)
        expected = results(calm)
        calm.stop()

        chain = Chain(broker.bootstrap, tmp_path)
        know(chain, root)
        chain.start()
        counted = []
        harasser = threading.Thread(
            target=lambda: counted.append(harass(chain, broker, done)), daemon=True
        )
        harasser.start()
        feed(chain, items, pause=1.0)
        harasser.join(SECONDS)
        done.set()
        chain.settle(SECONDS)
        got = results(chain)
    finally:
        done.set()
        for trial in (calm, chain):
            if trial is not None:
                trial.stop()

    assert counted[0] >= 5
    assert expected.findings
    assert expected.commands
    assert expected.alerts
    for name in ("findings", "commands", "dead_letters", "events", "indicators"):
        assert getattr(got, name) == getattr(expected, name), name
    for name in ("assessments", "alerts", "incidents"):
        one, other = getattr(expected, name), getattr(got, name)
        assert one.keys() == other.keys(), name
        differing = [key for key in one if one[key] != other[key]]
        assert not differing, (name, one[differing[0]], other[differing[0]])

    readable = {orjson.loads(value)["id"] for _, key, value in items if key is not None}
    refused = {sha256(value).hexdigest() for _, key, value in items if key is None}
    assert got.events == readable
    assert got.dead_letters == refused
