"""What a controller has made is waited for until the broker that is asked knows of it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.protocol.metadata import MetadataRequest, MetadataRequest_v5

from schemas.channels import Channel
from schemas.errors import TidewatchError
from streams.kafka import topic_times, topics
from streams.kafka.topic_times import ensure_broker_time
from streams.kafka.topics import BROKERS_TIME, TIMESTAMP_TYPE, TopicError, ensure_topics, topic_name
from streams.settings import Settings, load_settings
from tests.each import each

BEHIND = 3
"""Questions that the broker answers as if nothing had been made."""


class Behind:
    """A fake admin client of a broker that learns late of what its controller creates."""

    def __init__(self, behind: int) -> None:
        self.behind = behind
        self.made: dict[str, int] = {}
        self.set: dict[str, dict[str, str]] = {}

    def _late(self) -> bool:
        self.behind -= bool(self.made or self.set)
        return self.behind >= 0

    async def create_topics(self, new: list[Any]) -> Any:
        # another process made it first, with more partitions
        self.made = {topic.name: topic.num_partitions + 1 for topic in new}
        return SimpleNamespace(topic_errors=[(topic.name, 36, "exists") for topic in new])

    def described(self, names: list[str]) -> list[Any]:
        known = {} if self.made and self._late() else self.made
        return [{"topic": name, "partitions": range(known.get(name, 0))} for name in names]

    async def _send_request(self, request: MetadataRequest) -> Any:
        names, created = request.build(MetadataRequest_v5).to_object().values()
        assert not created, "asking about a topic makes none"
        return SimpleNamespace(to_object=lambda: {"topics": self.described(names)})

    async def alter_configs(self, resources: list[Any]) -> list[Any]:
        self.set = {resource.name: resource.configs for resource in resources}
        return [SimpleNamespace(resources=[(0, "")])]

    async def describe_configs(self, resources: list[Any]) -> list[Any]:
        late = not self.set or self._late()
        value = "CreateTime" if late else BROKERS_TIME
        answers = [
            (0, "", 2, resource.name, [(TIMESTAMP_TYPE, value, False, 1)]) for resource in resources
        ]
        return [SimpleNamespace(resources=answers)]

    async def close(self) -> None:
        pass


@pytest.fixture
def settings(tmp_path) -> Settings:
    return load_settings(kafka="127.0.0.1:1", state_dir=tmp_path, partitions=1)


def asked(monkeypatch: pytest.MonkeyPatch, behind: int) -> Behind:
    admin = Behind(behind)

    async def opened(settings: Settings) -> Behind:
        del settings
        return admin

    monkeypatch.setattr(topics, "open_admin", opened)
    monkeypatch.setattr(topic_times, "open_admin", opened)
    return admin


def test_topics_are_there_when_they_are_said_to_be_with_their_own_partitions(settings, monkeypatch):
    admin = asked(monkeypatch, BEHIND)
    counts = asyncio.run(ensure_topics(settings, channels=[Channel.DECISIONS]))
    assert admin.behind < 0
    assert counts == {topic_name(settings, Channel.DECISIONS): 2}


def test_a_broker_that_describes_a_new_topic_without_partitions_is_asked_again(
    settings, monkeypatch
):
    admin = asked(monkeypatch, 0)
    questions = iter(range(BEHIND))

    def describe(names: list[str]) -> list[Any]:
        unheard = next(questions, None) is not None
        return [{"topic": name, "partitions": [] if unheard else [0, 1]} for name in names]

    monkeypatch.setattr(admin, "described", describe)
    counts = asyncio.run(ensure_topics(settings, channels=[Channel.DECISIONS]))
    assert counts == {topic_name(settings, Channel.DECISIONS): 2}


def test_topics_that_the_broker_never_hears_of_are_named(settings, monkeypatch):
    asked(monkeypatch, 10**9)
    monkeypatch.setattr(topics, "SPREAD_SECONDS", 0.1)
    with pytest.raises(TopicError, match=r"unknown to the broker.*decisions"):
        asyncio.run(ensure_topics(settings, channels=[Channel.DECISIONS]))


def test_who_sets_the_time_is_settled_when_it_is_said_to_be(settings, monkeypatch):
    admin = asked(monkeypatch, BEHIND)
    name = topic_name(settings, Channel.DECISIONS)
    monkeypatch.setattr(admin, "described", lambda _: [{"topic": name, "partitions": [0]}])
    assert asyncio.run(ensure_broker_time(settings, channels=[Channel.DECISIONS])) == [name]
    assert admin.behind < 0


@each(
    ("code", "message", "passes"),
    [
        (38, "Unable to replicate the partition 1 time(s): All brokers are currently fenced", True),
        (7, "the request timed out", True),
        (38, "the target replication factor of 3 cannot be reached", False),
        (29, "not authorised", False),
    ],
)
def test_topics_that_no_broker_can_take_now_are_waited_for(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, code: int, message: str, passes: bool
) -> None:
    admin = asked(monkeypatch, 0)

    async def refuse(new: list[Any]) -> Any:
        return SimpleNamespace(topic_errors=[(topic.name, code, message) for topic in new])

    monkeypatch.setattr(admin, "create_topics", refuse)
    with pytest.raises(TidewatchError, match="could not be created") as refused:
        asyncio.run(ensure_topics(settings, channels=[Channel.IOCS]))
    assert message in str(refused.value)
    assert getattr(refused.value, "passes", False) is passes
