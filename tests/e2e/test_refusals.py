"""What the operator must fix is reported in one line with its remedy, and loses nothing."""

from __future__ import annotations

import subprocess
import uuid

import orjson
import pytest

from schemas.channels import Channel
from streams.apps.topology import FACTORIES, changelogs, load_app
from streams.engine.app import needed_changelogs
from streams.settings import load_settings
from tests.e2e.chain import Chain
from tests.e2e.command import BROKEN, said, tidewatch
from tests.e2e.mixed_events import events, intel, policies, write_models

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

SECONDS = 180


@pytest.mark.parametrize("words", [("worker",), ("worker", "--agents", "checks"), ("up",)])
def test_a_misspelt_setting_is_named_with_the_nearest(words, kafka, tmp_path):
    code, text = tidewatch(*words, kafkka=kafka, state_dir=tmp_path)
    assert code == BROKEN
    (line,) = said(text)
    assert "TIDEWATCH_KAFKKA" in line
    assert "did you mean TIDEWATCH_KAFKA?" in line


@pytest.mark.parametrize("words", [("worker",), ("worker", "--agents", "ledger")])
def test_an_unreachable_broker_is_named(words, tmp_path):
    code, text = tidewatch(*words, kafka="127.0.0.1:1", state_dir=tmp_path)
    assert code == BROKEN
    (line,) = said(text)
    assert "127.0.0.1:1" in line
    assert "check TIDEWATCH_KAFKA" in line


@pytest.mark.parametrize("words", [("worker",), ("worker", "--agents", "incidents")])
def test_missing_topics_that_may_not_be_made_are_named_and_none_is_made(words, kafka, tmp_path):
    prefix = f"m{uuid.uuid4().hex[:8]}."
    code, text = tidewatch(
        *words,
        kafka=kafka,
        state_dir=tmp_path,
        topic_prefix=prefix,
        group_prefix=prefix,
        create_topics=False,
    )
    assert code == BROKEN
    (line,) = said(text)
    assert f"{prefix}alerts" in line
    assert "tidewatch topics create" in line
    assert "TIDEWATCH_CREATE_TOPICS" in line
    code, text = tidewatch(
        "topics", "list", "--format", "json", kafka=kafka, state_dir=tmp_path, topic_prefix=prefix
    )
    assert code == 0
    assert {topic["partitions"] for topic in orjson.loads(text)} == {None}


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 1 MB, and what gives it more room."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a small disk")
    yield disk, lambda: subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_stops_the_workers_and_with_room_all_comes_out(kafka, tmp_path, small_disk):
    disk, grow = small_disk
    root = tmp_path / "models"
    write_models(root)
    chain = Chain(kafka, tmp_path, state_dir=str(disk))
    chain.send(Channel.POLICY, policies(root))
    chain.send(Channel.INTEL, intel())
    by_channel = {}
    for channel, key, value in events(1_500, root):
        by_channel.setdefault(channel, []).append((key, value))
    for channel, records in by_channel.items():
        chain.send(channel, records)
    try:
        worker = chain.start()
        assert worker.wait(SECONDS) == BROKEN, chain.logs()
        lines = said(chain.logs())
        assert any("the disk is full" in line and "free space" in line for line in lines), lines
        grow()
        chain.start()
        chain.settle(SECONDS)
        sent = {
            orjson.loads(value)["id"]
            for records in by_channel.values()
            for key, value in records
            if key is not None
        }
        assessed = {
            orjson.loads(record.value)["event_id"] for record in chain.read(Channel.ASSESSMENTS)
        }
        broken = sum(1 for records in by_channel.values() for key, _ in records if key is None)
        assert assessed == sent
        assert len({record.key for record in chain.read(Channel.DEAD_LETTER)}) == broken
        assert chain.read(Channel.ALERTS)
    finally:
        chain.stop()


def test_topics_create_makes_every_topic_that_the_apps_need(tmp_path):
    settings = load_settings(kafka="127.0.0.1:1", state_dir=tmp_path)
    needed = {}
    for app in FACTORIES:
        needed |= needed_changelogs(app, load_app(app, settings).bindings, settings)
    assert changelogs(settings) == needed
