"""Checking agents: an event that breaks a check has an outcome and stops nobody else."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import orjson
import pytest

from agents.checking import (
    BASELINE_SOURCES,
    Context,
    SightingDeduplicator,
    checking_agent,
    outcome_messages,
)
from agents.domain.detection import Detection, Outcome
from agents.domain.knowledge import MemoryKnowledge
from agents.messages import refusal_message
from agents.package_install import package_install_agent
from agents.pipeline_run import pipeline_run_agent
from agents.ports import Delivery, Message, Record
from agents.registry_push import registry_push_agent
from schemas.assessments import Assessment
from schemas.basis import Basis, BasisKind
from schemas.channels import Channel
from schemas.cloudevents import read_event
from schemas.dead_letters import CHECK_FAILED
from schemas.findings import Indicator
from schemas.ledger import FindingSeen, LedgerMessage, SourceSeen
from schemas.observations import Sighting
from schemas.policy import Policy
from schemas.severity import Severity, Status
from tests.schemas.events import PACKAGE_INSTALL, PIPELINE_RUN, REGISTRY_PUSH

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
        self.undo = []

    def __call__(self, message):
        self.append(message)

    def refuse(self, one, reason, _error):
        self.refused.append((one.offset, reason))

    def on_abandoned(self, undo):
        self.undo.append(undo)

    def caused_by(self, entered_ms):
        self.entered_ms = entered_ms


def test_an_event_that_breaks_a_check_is_refused_and_its_neighbours_are_checked():
    event = read_event(orjson.dumps(PACKAGE_INSTALL), (), timestamp_ms=3_600_000, max_bytes=1 << 20)

    def check(event):
        yield Message(channel=Channel.ASSESSMENTS, key=event.id, value=b"first")
        if event.id == "1":
            raise ZeroDivisionError
        yield Message(channel=Channel.ASSESSMENTS, key=event.id, value=b"second")

    class Batch:
        partition = 1
        deliveries = tuple(
            Delivery(record=record(offset=n), value=msgspec.structs.replace(event, id=str(n)))
            for n in range(3)
        )

    published = Published()
    asyncio.run(checking_agent(check)(Batch(), published))
    assert published.refused == [(1, CHECK_FAILED)]
    (said,) = [message for message in published if message.value not in {b"first", b"second"}]
    assert [message.key for message in published if message is not said] == ["0", "0", "2", "2"]
    assessment = msgspec.json.decode(said.value, type=Assessment)
    assert (assessment.event_id, assessment.overall_status) == ("1", Status.INCOMPLETE)
    assert assessment.final
    assert dict(said.headers)["ce_final"] == b"true"


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


def test_the_same_sighting_is_sent_once_a_day():
    deduplicator = SightingDeduplicator()
    assert deduplicator.is_news(sighting())
    assert not deduplicator.is_news(sighting(event_id="e3", occurred_at=TIME + timedelta(hours=1)))
    assert deduplicator.is_news(sighting(event_id="e4", occurred_at=TIME + timedelta(days=1)))


def test_earlier_sighting_is_sent():
    deduplicator = SightingDeduplicator()
    assert deduplicator.is_news(sighting())
    assert deduplicator.is_news(sighting(event_id="e1", occurred_at=TIME - timedelta(hours=1)))


def test_forgotten_sighting_is_sent_again():
    deduplicator = SightingDeduplicator(limit=2)
    for name in ("a", "b", "c", "d"):
        assert deduplicator.is_news(sighting(component=f"pypi:{name}"))
    assert deduplicator.is_news(sighting(component="pypi:a"))


def test_sightings_of_an_abandoned_batch_are_sent_when_it_comes_again():
    """Also if others sent the same before, and it was sent again since a version came back."""
    deduplicator = SightingDeduplicator()
    earlier = sighting(event_id="e0", occurred_at=TIME - timedelta(hours=9))
    assert deduplicator.is_news(earlier)
    assert deduplicator.is_news(sighting(event_id="e1", version="3.0"))
    forget = deduplicator.begin()
    back = sighting(event_id="e2", occurred_at=TIME + timedelta(hours=2))
    sooner = sighting(event_id="e3", occurred_at=TIME + timedelta(hours=1))
    assert deduplicator.is_news(back)
    deduplicator.is_news(sooner)
    forget()
    assert deduplicator.is_news(back)


def test_sighting_in_flight_is_sent_once_and_undone_for_its_batch_alone():
    deduplicator = SightingDeduplicator()
    first = deduplicator.begin()
    assert deduplicator.is_news(sighting(component="pypi:a"))
    deduplicator.begin()
    assert deduplicator.is_news(sighting(component="pypi:b"))
    assert not deduplicator.is_news(sighting(component="pypi:a", event_id="e3"))
    first()
    assert deduplicator.is_news(sighting(component="pypi:a"))
    assert not deduplicator.is_news(sighting(component="pypi:b", event_id="e3"))


@pytest.mark.parametrize("kind", ["install", "push"])
def test_a_checking_agent_undoes_what_it_noted_when_its_batch_is_abandoned(kind):
    agent, body = {
        "install": (package_install_agent, PACKAGE_INSTALL),
        "push": (registry_push_agent, REGISTRY_PUSH),
    }[kind]
    checks = agent(MemoryKnowledge())
    event = read_event(orjson.dumps(body), (), timestamp_ms=3_600_000, max_bytes=1 << 20)

    class Batch:
        deliveries = (Delivery(record=record(b"", offset=1), value=event),)

    def messages():
        published = Published()
        asyncio.run(checks(Batch(), published))
        return [message.key for message in published], published.undo

    first, undo = messages()
    fewer, _ = messages()
    assert len(fewer) < len(first)
    for each in undo:
        each()
    again, _ = messages()
    assert again == first


def test_sightings_of_a_failed_check_are_sent_by_the_next_event():
    deduplicator = SightingDeduplicator()
    event = read_event(orjson.dumps(PACKAGE_INSTALL), (), timestamp_ms=3_600_000, max_bytes=1 << 20)
    fails = [True, False]

    def check(_event):
        if deduplicator.is_news(sighting()):
            yield Message(channel=Channel.OBSERVATIONS, key="news", value=b"")
        if fails.pop(0):
            raise ZeroDivisionError

    class Batch:
        deliveries = (Delivery(record=record(), value=event),)

    agent, again = checking_agent(check, deduplicator), Published()
    asyncio.run(agent(Batch(), Published()))
    asyncio.run(agent(Batch(), again))
    assert [message.key for message in again] == ["news"]


def test_source_is_reported_once_an_hour():
    deduplicator = SightingDeduplicator()
    event = read_event(orjson.dumps(PACKAGE_INSTALL), (), timestamp_ms=3_600_000, max_bytes=1 << 20)
    assert deduplicator.is_new_source(event)
    assert not deduplicator.is_new_source(event)
    assert deduplicator.is_new_source(msgspec.structs.replace(event, received_ms=7_200_000))


def refused(one):
    seen = msgspec.json.decode(refusal_message(one).value, type=LedgerMessage)
    assert isinstance(seen, SourceSeen)
    assert seen.outcome == "dead-letter"
    return seen.tenant, seen.source


def test_a_refused_record_still_names_its_probable_source():
    assert refused(record(b"\xff")) == ("acme", "unknown")
    assert refused(record(b'{"tenantid":"a","source":"//x"}')) == ("a", "//x")
    assert refused(record(None, (("ce_tenantid", b"b"), ("ce_source", b"//y")))) == ("b", "//y")
    assert refused(record(b'{"tenantid":7}', key=None)) == ("unknown", "unknown")
    assert refused(record(b"[" * 100_000, key=b"\xff|x")) == ("\ufffd", "unknown")


@pytest.mark.parametrize("severity", ["critical", "low"])
def test_a_withheld_detection_reaches_the_row_of_the_bytes_alone(severity):
    event = read_event(orjson.dumps(REGISTRY_PUSH), (), timestamp_ms=0, max_bytes=1 << 20)
    digest = "b" * 64
    found = Detection(
        rule_id="TW-PICKLE-DANGEROUS-CALL",
        description="bad",
        evidence={},
        locator="x",
        severity=Severity(severity),
        indicator=Indicator(key=f"sha256:{digest}", type="file-digest", value=digest),
        basis=Basis(kind=BasisKind.VERIFIED),
    )
    sent = list(
        outcome_messages(
            event, Outcome(withheld=(found,)), Context(component="model:x"), SightingDeduplicator()
        )
    )
    (assessment,) = [message for message in sent if message.channel is Channel.ASSESSMENTS]
    assert "findings" not in orjson.loads(assessment.value)
    reported = [
        msgspec.json.decode(message.value, type=LedgerMessage)
        for message in sent
        if message.channel is Channel.OBSERVATIONS
    ]
    seen = [entry for entry in reported if isinstance(entry, FindingSeen)]
    assert [(entry.key, entry.withheld) for entry in seen] == (
        [(f"sha256:{digest}", True)] if severity == "critical" else []
    )
    assert not [message for message in sent if message.channel is Channel.INCIDENT_UPDATES]


AGENTS = [
    (package_install_agent, PACKAGE_INSTALL),
    (registry_push_agent, REGISTRY_PUSH),
    (pipeline_run_agent, PIPELINE_RUN),
]


@pytest.mark.parametrize(("make", "sample"), AGENTS)
def test_the_first_event_of_a_tenant_without_a_policy_is_not_passed_over(make, sample):
    event = read_event(orjson.dumps(sample), (), timestamp_ms=0, max_bytes=1 << 20)
    knowledge = MemoryKnowledge()
    knowledge.set_policy("known", Policy(tenant="known", roots=("file:///srv/models",)))
    agent = make(knowledge)
    published = Published()
    for tenant in ("new", "new", "known", "other"):
        one = msgspec.structs.replace(event, tenantid=tenant)

        class Batch:
            deliveries = (Delivery(record=record(b""), value=one),)

        asyncio.run(agent(Batch(), published))
    reported = [
        orjson.loads(message.value)
        for message in published
        if message.channel is Channel.OPERATOR_ALERTS
    ]
    assert [(entry["kind"], entry["tenant"]) for entry in reported] == [
        ("tenant-without-policy", "new"),
        ("tenant-without-policy", "other"),
    ]
    assert all("tidewatch policy set" in entry["runbook"] for entry in reported)
    assert all("`roots`" in entry["runbook"] for entry in reported)


def detected(rule, basis):
    return Detection(rule_id=rule, description="d", evidence={}, locator=rule, basis=basis)


def test_only_known_malicious_parts_of_a_baseline_are_reported():
    event = read_event(
        orjson.dumps({**REGISTRY_PUSH, "baseline": True}),
        (),
        timestamp_ms=int(TIME.timestamp() * 1000),
        max_bytes=2**20,
    )
    assert event.baseline
    verified = Basis(kind=BasisKind.VERIFIED)
    outcome = Outcome(
        detections=(
            detected("TW-PICKLE-DANGEROUS-CALL", verified),
            detected("TW-PICKLE-PRESENT", verified),
            detected("TW-PROV-SIGNATURE-ABSENT", None),
        ),
        sightings=(
            Sighting(
                id="s", component="model:x", tenant=event.tenantid, system="h", event_id="e",
                source="//s", occurred_at=TIME,
            ),
        ),
    )  # fmt: skip
    context = Context(component="model:x")
    ledger, sent = [], []
    for message in outcome_messages(event, outcome, context, SightingDeduplicator()):
        sent.append(message)
        if message.channel is Channel.OBSERVATIONS:
            ledger.append(msgspec.json.decode(message.value, type=LedgerMessage))
    assert {message.finding.rule_id for message in ledger if isinstance(message, FindingSeen)} == {
        "TW-PICKLE-DANGEROUS-CALL"
    }
    assert [message.baseline for message in ledger if isinstance(message, Sighting)] == [True]
    # its source is heard once, and not missed then
    assert not any(isinstance(message, SourceSeen) for message in ledger)
    (said,) = [message for message in sent if message.channel is Channel.ASSESSMENTS]
    assessment = msgspec.json.decode(said.value, type=Assessment)
    assert len(assessment.findings) == 3, "a gate sees all of them"


def baseline_reported(knowledge, make, *events):
    """Return the operator alerts on baselines that an agent publishes, and all its records."""
    agent, published = make(knowledge), Published()
    for event in events:

        class Batch:
            deliveries = (Delivery(record=record(b""), value=event),)

        asyncio.run(agent(Batch(), published))
    alerts = [
        orjson.loads(message.value)
        for message in published
        if message.channel is Channel.OPERATOR_ALERTS
    ]
    return [alert for alert in alerts if alert["kind"] == "baseline-recorded"], published


@pytest.mark.parametrize(("make", "sample"), AGENTS)
def test_a_baseline_is_reported_once_for_each_source_and_day(make, sample):
    marked = read_event(
        orjson.dumps({**sample, "baseline": True}), (), timestamp_ms=0, max_bytes=1 << 20
    )

    def of(source, day, baseline=True):
        return msgspec.structs.replace(
            marked, source=source, received_ms=day * 86_400_000 + 5, baseline=baseline
        )

    events = [of("//a", 1), of("//a", 1), of("//b", 1, False), of("//a", 2), of("//c", 2)]
    reported, _ = baseline_reported(MemoryKnowledge(), make, *events)
    assert [(entry["subject"], entry["since"][:10]) for entry in reported] == [
        ("//a", "1970-01-02"),
        ("//a", "1970-01-03"),
        ("//c", "1970-01-03"),
    ]
    assert {entry["tenant"] for entry in reported} == {marked.tenantid}
    again, _ = baseline_reported(MemoryKnowledge(), make, *events)
    assert [entry["id"] for entry in again] == [entry["id"] for entry in reported], (
        "a replay adds nothing"
    )
    assert len({entry["id"] for entry in reported}) == 3
    many, _ = baseline_reported(MemoryKnowledge(), make, *(of(f"//{n}", 1) for n in range(40)))
    assert len(many) == BASELINE_SOURCES


@pytest.mark.parametrize(("make", "sample"), AGENTS)
def test_a_mark_as_baseline_changes_nothing_where_the_policy_does_not_allow_it(make, sample):
    plain = read_event(orjson.dumps(sample), (), timestamp_ms=0, max_bytes=1 << 20)
    knowledge = MemoryKnowledge()
    knowledge.set_policy(plain.tenantid, Policy(tenant=plain.tenantid, baseline=False))
    ends = []
    for baseline in (False, True):
        event = msgspec.structs.replace(plain, baseline=baseline)
        reported, published = baseline_reported(knowledge, make, event)
        assert reported == []
        ends.append([(message.channel, message.key, message.value) for message in published])
    assert ends[0] == ends[1]
