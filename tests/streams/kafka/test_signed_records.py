"""Where policies and intelligence must be signed, what is not, or by nobody who may, is refused."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agents.domain.knowledge import MemoryKnowledge
from agents.ports import Record
from schemas.channels import Channel
from schemas.dead_letters import INVALID_SIGNATURE, NOT_AUTHORISED, TENANT_MISMATCH
from schemas.errors import UnreadableRecordError
from schemas.intel import IntelFact, IntelKind
from schemas.key_bindings import KeyBinding, NotAuthorisedError
from schemas.policy import Policy
from streams.apps.decoding import ledger_decoder
from streams.apps.knowledge_topics import knowledge_references, policy_reference
from streams.kafka import signed_records
from streams.kafka.compacted import latest_values, publish_values
from streams.kafka.dead_letters import DeadLetter, list_dead_letters
from streams.kafka.publisher import delivering
from streams.kafka.signed_records import (
    LatestSigned,
    admission,
    admitting,
    publication_headers,
)
from streams.kafka.topics import TopicOrigin, ensure_topics, topic_name
from streams.settings import Settings, load_settings
from streams.signing_keys import (
    OPERATOR,
    Signer,
    keys_dir,
    load_or_create_signing_key,
    load_signer,
    load_trusted,
    trusted_dir,
    write_binding,
)

NOW = datetime(2026, 11, 1, 9, tzinfo=UTC)
CHANNELS = (Channel.POLICY, Channel.INTEL, Channel.DEAD_LETTER, Channel.OPERATOR_ALERTS)
FACT = IntelFact(key="pypi:evil", kind=IntelKind.MALICIOUS, sources=("a",), summary="s")


@pytest.fixture
def settings(tmp_path: Path, prefix: str) -> Settings:
    return load_settings(
        state_dir=tmp_path, signed_topics=["policy", "intel"], topic_prefix=f"{prefix}."
    )


def signer(settings: Settings, name: str, **binding: Any) -> Signer:
    folder = keys_dir(settings.state_dir)
    load_or_create_signing_key(folder, name, purpose=OPERATOR)
    write_binding(folder, name, KeyBinding(actor=f"{name}@op.example", **binding))
    return load_signer(settings.state_dir, name)


def record(
    channel: Channel, key: str, value: bytes | None, by: Signer, *, late: timedelta = timedelta()
) -> Record:
    return Record(
        topic="t",
        partition=0,
        offset=0,
        timestamp_ms=int((NOW + late).timestamp() * 1000),
        key=key.encode(),
        value=value,
        headers=publication_headers(channel, key, value, by, NOW),
        appended=True,
    )


def refusal(settings: Settings, channel: Channel, given: Record) -> str:
    ring = load_trusted(trusted_dir(keys_dir(settings.state_dir), OPERATOR))
    with pytest.raises(UnreadableRecordError) as refused:
        admitting(channel, ring)(given)
    return refused.value.reason


def test_nothing_is_asked_for_where_signatures_are_not_required(tmp_path: Path) -> None:
    assert admission(load_settings(state_dir=tmp_path), Channel.POLICY) is None


def test_a_signed_fact_and_its_withdrawal_count(settings: Settings) -> None:
    by = signer(settings, "feeds", tenants="*", publishes=("intel",))
    admit = admission(settings, Channel.INTEL)
    assert admit is not None
    decode = ledger_decoder(admit)
    raw = msgspec.json.encode(FACT)
    assert decode(record(Channel.INTEL, FACT.key, raw, by), TopicOrigin(Channel.INTEL)) == FACT
    assert decode(record(Channel.INTEL, FACT.key, None, by), TopicOrigin(Channel.INTEL)) is None


def test_an_unsigned_fact_or_withdrawal_is_refused(settings: Settings) -> None:
    by = signer(settings, "feeds", tenants="*", publishes=("intel",))
    for value in (msgspec.json.encode(FACT), None):
        signed = record(Channel.INTEL, FACT.key, value, by)
        unsigned = msgspec.structs.replace(signed, headers=signed.headers[:-1])
        assert refusal(settings, Channel.INTEL, unsigned) == INVALID_SIGNATURE


def test_a_signature_counts_for_its_key_topic_and_hour_alone(settings: Settings) -> None:
    by = signer(settings, "ops", tenants="*", publishes=("policy", "intel"))
    withdrawn = record(Channel.INTEL, FACT.key, None, by)
    elsewhere = msgspec.structs.replace(withdrawn, key=b"pypi:worse")
    assert refusal(settings, Channel.INTEL, elsewhere) == INVALID_SIGNATURE
    assert refusal(settings, Channel.POLICY, withdrawn) == INVALID_SIGNATURE
    again = record(Channel.INTEL, FACT.key, None, by, late=timedelta(hours=2))
    assert refusal(settings, Channel.INTEL, again) == INVALID_SIGNATURE


def test_a_key_publishes_only_what_it_may_and_for_whom(settings: Settings) -> None:
    by = signer(settings, "acme-ops", tenants=("acme",), publishes=("policy",))
    ours = msgspec.json.encode(Policy(tenant="acme"))
    admission(settings, Channel.POLICY)(record(Channel.POLICY, "acme", ours, by))  # type: ignore[misc]
    with pytest.raises(NotAuthorisedError):
        publication_headers(Channel.POLICY, "globex", ours, by, NOW)
    with pytest.raises(NotAuthorisedError):
        publication_headers(Channel.INTEL, FACT.key, None, by, NOW)
    wide = Signer(key=by.key, binding=KeyBinding(actor="x", tenants="*", publishes=("policy",)))
    forged = record(Channel.POLICY, "globex", ours, wide)
    assert refusal(settings, Channel.POLICY, forged) == NOT_AUTHORISED


REPLAYED = (timedelta(minutes=-20), timedelta(minutes=-2))


@pytest.mark.parametrize("channel", [Channel.POLICY, Channel.INTEL])
@pytest.mark.parametrize("value", [b"{}", None])
def test_what_was_signed_before_the_one_in_force_is_refused(
    settings: Settings, channel: Channel, value: bytes | None
) -> None:
    by = signer(settings, "ops", tenants="*", publishes=("policy", "intel"))
    admit = admission(settings, channel)
    assert admit is not None

    def at(offset: int, signed: timedelta, key: str = "acme", partition: int = 0) -> Record:
        given = msgspec.structs.replace(
            record(channel, key, value, by),
            headers=publication_headers(channel, key, value, by, NOW + signed),
        )
        return msgspec.structs.replace(given, offset=offset, partition=partition)

    first, second = at(0, timedelta(minutes=-20)), at(1, timedelta())
    admit(first)
    admit(second)
    for number, signed in enumerate(REPLAYED):
        with pytest.raises(UnreadableRecordError, match="replay"):
            admit(at(2 + number, signed))
    # Who starts over reads what it read before; clocks differ a little; keys are apart.
    admit(first)
    admit(second)
    admit(at(4, timedelta(seconds=-30)))
    admit(at(5, timedelta(minutes=-20), "globex"))
    admit(at(6, timedelta(minutes=-20), partition=1))
    with pytest.raises(UnreadableRecordError, match="replay"):
        admit(at(7, timedelta(minutes=-20)))


def test_what_the_replay_window_refuses_is_not_remembered(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signed_records, "ROOM", 4)
    latest, by = LatestSigned(), signer(settings, "ops", tenants="*", publishes=("intel",))
    for number in range(40):
        late, key = timedelta(minutes=30 * number), f"k{number}"
        headers = publication_headers(Channel.INTEL, key, None, by, NOW + late)
        given = record(Channel.INTEL, key, None, by, late=late)
        assert not latest.refuses(msgspec.structs.replace(given, headers=headers, offset=number))
    assert len(latest) < 10


# -- on a broker ------------------------------------------------------------------------------


@pytest.fixture
def on_kafka(kafka: str, settings: Settings) -> Settings:
    return settings.model_copy(update={"kafka": kafka, "partitions": 1})


async def unsigned(settings: Settings, topic: str, key: str, value: bytes | None) -> None:
    async with delivering(settings) as publisher:
        await publisher.put(topic, key.encode(), value)


async def known(settings: Settings, *, reporter: str | None = None) -> MemoryKnowledge:
    knowledge = MemoryKnowledge()
    topics = [*knowledge_references(knowledge, settings)[:1]]
    topics.append(policy_reference(knowledge, settings, reporter=reporter))
    for topic in topics:
        await topic.load(settings)
        await topic.close()
    return knowledge


def dead(settings: Settings) -> list[DeadLetter]:
    async def read() -> list[DeadLetter]:
        return [letter async for letter in list_dead_letters(settings)]

    return asyncio.run(read())


@pytest.mark.kafka
def test_an_unsigned_policy_changes_nothing_and_is_a_dead_letter(on_kafka: Settings) -> None:
    asyncio.run(ensure_topics(on_kafka, channels=CHANNELS))
    ours = msgspec.json.encode(Policy(tenant="acme", version=2))
    topic = topic_name(on_kafka, Channel.POLICY)
    asyncio.run(publish_values(on_kafka, Channel.POLICY, [("acme", ours)]))
    hostile = msgspec.json.encode(Policy(tenant="acme", version=666))
    asyncio.run(unsigned(on_kafka, topic, "acme", hostile))
    asyncio.run(unsigned(on_kafka, topic, "acme", None))
    knowledge = asyncio.run(known(on_kafka, reporter="incidents"))
    assert knowledge.policy("acme").version == 2
    assert [(letter.source_topic, letter.reason) for letter in dead(on_kafka)] == [
        (topic, INVALID_SIGNATURE)
    ] * 2
    assert asyncio.run(latest_values(on_kafka, Channel.POLICY)) == {"acme": ours}


@pytest.mark.kafka
def test_a_refused_policy_is_a_dead_letter_once_whatever_starts_again(on_kafka: Settings) -> None:
    asyncio.run(ensure_topics(on_kafka, channels=CHANNELS))
    topic = topic_name(on_kafka, Channel.POLICY)
    value = msgspec.json.encode(Policy(tenant="acme", version=666))
    asyncio.run(unsigned(on_kafka, topic, "acme", value))
    for _ in range(3):
        assert asyncio.run(known(on_kafka, reporter="incidents")).policy("acme").version == 1
    assert [letter.source_offset for letter in dead(on_kafka)] == [0]
    asyncio.run(unsigned(on_kafka, topic, "acme", value))
    for _ in range(2):
        asyncio.run(known(on_kafka, reporter="incidents"))
    assert [letter.source_offset for letter in dead(on_kafka)] == [0, 1]


@pytest.mark.kafka
def test_what_only_newer_rules_refuse_is_a_dead_letter_then(on_kafka: Settings) -> None:
    before = on_kafka.model_copy(update={"signed_topics": frozenset()})
    asyncio.run(ensure_topics(before, channels=CHANNELS))
    topic = topic_name(before, Channel.POLICY)
    value = msgspec.json.encode(Policy(tenant="acme", version=5))
    asyncio.run(unsigned(before, topic, "acme", value))
    assert asyncio.run(known(before, reporter="incidents")).policy("acme").version == 5
    assert not dead(before)
    for _ in range(2):
        assert asyncio.run(known(on_kafka, reporter="incidents")).policy("acme").version == 1
    assert [letter.reason for letter in dead(on_kafka)] == [INVALID_SIGNATURE]


@pytest.mark.kafka
def test_facts_from_before_signing_are_imported_again(on_kafka: Settings) -> None:
    raw = msgspec.json.encode(FACT)
    before = on_kafka.model_copy(update={"signed_topics": frozenset()})
    asyncio.run(publish_values(before, Channel.INTEL, [(FACT.key, raw)]))
    asyncio.run(ensure_topics(on_kafka, channels=CHANNELS))
    assert asyncio.run(known(before)).fact(FACT.key) == FACT
    assert asyncio.run(known(on_kafka)).fact(FACT.key) is None
    assert asyncio.run(latest_values(on_kafka, Channel.INTEL)) == {}
    asyncio.run(publish_values(on_kafka, Channel.INTEL, [(FACT.key, raw)]))
    assert asyncio.run(known(on_kafka)).fact(FACT.key) == FACT


@pytest.mark.kafka
def test_a_bound_topic_of_policies_sets_its_own_tenants_alone(on_kafka: Settings) -> None:
    name = f"{on_kafka.topic_prefix}policy-of-acme"
    bound = load_settings(
        kafka=on_kafka.kafka,
        topic_prefix=on_kafka.topic_prefix,
        partitions=1,
        state_dir=on_kafka.state_dir,
        bound_topics={name: {"channel": "policy", "tenant": "acme"}},
    )
    asyncio.run(ensure_topics(bound, channels=CHANNELS))
    for tenant in ("acme", "globex"):
        value = msgspec.json.encode(Policy(tenant=tenant, version=7))
        asyncio.run(unsigned(bound, name, tenant, value))
    knowledge = asyncio.run(known(bound, reporter="incidents"))
    assert knowledge.policy("acme").version == 7
    assert knowledge.policy("globex").version != 7
    assert [letter.reason for letter in dead(bound)] == [TENANT_MISMATCH]
