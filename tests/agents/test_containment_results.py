"""Answers to commands: only a trusted responder's count, a forged one is kept and reported."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import jsonschema
import msgspec
import pytest

from agents.containment_results import containment_results_agent, read_result
from agents.ports import Delivery, Record
from schemas.channels import Channel
from schemas.cloudevents import binary_headers
from schemas.dead_letters import INVALID_EVENT, INVALID_SIGNATURE
from schemas.documents import openc2
from schemas.export import HEADERS, topic_schema
from schemas.incidents.updates import ForgedResult, IncidentMessage, ResultUpdate
from schemas.signing import new_signing_key
from tests.schemas import examples

TIME = datetime(2026, 11, 20, 9, tzinfo=UTC)
KEY = new_signing_key("responder")


class Published:
    def __init__(self):
        self.messages = []
        self.refused = []
        self.why = []

    def __call__(self, message):
        self.messages.append(message)

    def refuse(self, record, reason, error):
        self.refused.append((record, reason))
        self.why.append(error)


class OneBatch:
    partition = 0

    def __init__(self, record):
        self.deliveries = [Delivery(record=record, value=read_result(record))]


def record(key=KEY, tenant="tenant-a", incident="inc-1", signed_tenant=None):
    value = msgspec.json.encode(
        openc2.response_document(examples.command(), 200, "moved", {"moved_to": "/q"})
    )
    headers = binary_headers(
        id="res-1",
        type=openc2.RESULT_TYPE,
        source="//responder",
        time=TIME,
        tenant=signed_tenant or tenant,
        correlation=incident,
    )
    signature = key.sign(headers, value)
    headers = tuple(
        (name, tenant.encode() if name == "ce_tenantid" else raw) for name, raw in headers
    )
    return Record(
        topic="results",
        partition=0,
        offset=7,
        timestamp_ms=int(TIME.timestamp() * 1000),
        key=b"cmd",
        value=value,
        headers=(*headers, signature),
    )


def run(one, ring):
    published = Published()
    asyncio.run(containment_results_agent(ring)(OneBatch(one), published))
    return published, [
        msgspec.json.decode(message.value, type=IncidentMessage) for message in published.messages
    ]


def trusting(_tenant):
    return {"responder": KEY.public_pem()}


def test_a_trusted_answer_reaches_its_incident_with_an_id_that_repeats():
    published, (update,) = run(record(), trusting)
    assert isinstance(update, ResultUpdate)
    assert (update.incident, update.status, update.tenant) == ("inc-1", 200, "tenant-a")
    assert published.messages[0].channel is Channel.INCIDENT_UPDATES
    assert run(record(), trusting)[1][0].id == update.id


@pytest.mark.parametrize(
    "forged",
    [record(new_signing_key("responder")), record(new_signing_key("other"))],
)
def test_a_forged_answer_is_a_dead_letter_and_is_reported(forged):
    published, (update,) = run(forged, trusting)
    assert [reason for _, reason in published.refused] == [INVALID_SIGNATURE]
    assert isinstance(update, ForgedResult)


def test_an_answer_signed_for_one_tenant_does_not_count_for_another():
    published, (update,) = run(record(signed_tenant="tenant-b"), trusting)
    assert [reason for _, reason in published.refused] == [INVALID_SIGNATURE]
    assert isinstance(update, ForgedResult)


def test_a_key_counts_only_for_the_tenant_it_is_bound_to():
    def ring(tenant):
        return {"responder": KEY.public_pem()} if tenant == "tenant-b" else {}

    assert isinstance(run(record(), ring)[1][0], ForgedResult)
    assert isinstance(run(record(tenant="tenant-b"), ring)[1][0], ResultUpdate)


def test_an_answer_without_an_incident_is_a_dead_letter():
    published, updates = run(record(incident=""), trusting)
    assert [reason for _, reason in published.refused] == [INVALID_EVENT]
    assert updates == []


@pytest.mark.parametrize("name", sorted(openc2.ANSWER_HEADERS))
def test_a_refused_answer_names_the_missing_header_and_its_documentation(name):
    whole = record()
    lacking = msgspec.structs.replace(
        whole, headers=tuple(pair for pair in whole.headers if pair[0] != name)
    )
    published, updates = run(lacking, trusting)
    assert [reason for _, reason in published.refused] == [INVALID_EVENT]
    assert name in published.why[0]
    assert "docs/contract.md" in published.why[0]
    assert updates == []
    schema = topic_schema(Channel.CONTAINMENT_RESULTS)[HEADERS]
    headers = {key: raw.decode() for key, raw in lacking.headers}
    (error,) = jsonschema.Draft202012Validator(schema).iter_errors(headers)
    assert name in error.message


def test_an_answer_to_another_incident_than_its_header_says_is_refused():
    published, updates = run(record(incident="inc-2"), trusting)
    assert [reason for _, reason in published.refused] == [INVALID_EVENT]
    assert updates == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"status": "done"}, "status"),
        ({"status": 1}, "status"),
        ({"results": {}}, "results.x-tidewatch"),
        ({"results": {"x-tidewatch": {}}}, "command_id"),
        ({"results": {"x-tidewatch": {"command_id": ""}}}, "command_id"),
        ({"results": {"x-tidewatch": {"command_id": "c", "attempt": 0}}}, "attempt"),
        ({"results": {"x-tidewatch": {"command_id": "c", "changed": "no"}}}, "changed"),
    ],
)
def test_code_and_schema_refuse_the_same_answers_and_say_what_is_wrong(change, said):
    document = openc2.response_document(examples.command(), 200, "moved", {"moved_to": "/q"})
    validator = jsonschema.Draft202012Validator(topic_schema(Channel.CONTAINMENT_RESULTS))
    assert openc2.read_response(msgspec.json.encode(document))
    validator.validate(document)
    broken = {**document, **change}
    with pytest.raises(openc2.InvalidCommandError) as caught:
        openc2.read_response(msgspec.json.encode(broken))
    assert said in caught.value.explain()
    assert "docs/contract.md" in caught.value.explain()
    assert not validator.is_valid(broken)
