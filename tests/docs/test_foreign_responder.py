"""A responder that knows nothing but the contract: its answers count, its refusals are right."""

from __future__ import annotations

import ast
import asyncio
import importlib.util
from datetime import UTC, datetime

import jsonschema
import msgspec
import orjson
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agents.containment_results import containment_results_agent
from agents.ports import Record
from schemas.channels import Channel
from schemas.export import HEADERS, topic_schema
from schemas.incidents.holds import hold_key
from schemas.incidents.updates import IncidentMessage, ResultUpdate
from streams.reports.contract_samples import TENANT, samples
from streams.reports.signature_vectors import trusted_keys
from tests.agents.test_containment_results import OneBatch, Published
from tests.docs.reading import ROOT

CONTRACT = ROOT / "docs" / "contract"
NOW = datetime(2026, 11, 20, 8, 16, tzinfo=UTC)
AT_MS = int(NOW.timestamp() * 1000)
KEY = Ed25519PrivateKey.generate()


def program(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


verify = program(CONTRACT / "signatures" / "verify.py").verify
foreign = program(CONTRACT / "answers" / "answer.py")


def command(channel=Channel.CONTAINMENT_COMMANDS):
    sample = samples()[channel]
    return dict(sample.headers), sample.value


def answered(status, **more):
    headers, value = command()
    assert verify(headers, value, trusted_keys(), AT_MS) == "commands"
    assert foreign.refusal(headers, value, NOW) == ""
    return foreign.answer(headers, value, status, "moved", KEY, "acme-1", now=NOW, **more)


def reported(key, value, headers):
    record = Record(
        topic="results",
        partition=0,
        offset=1,
        timestamp_ms=AT_MS,
        key=key,
        value=value,
        headers=tuple(headers),
    )
    public = KEY.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    published = Published()

    def ring(tenant):
        return {"acme-1": public} if tenant == TENANT else {}

    asyncio.run(containment_results_agent(ring)(OneBatch(record), published))
    assert published.why == []
    (message,) = published.messages
    return message, msgspec.json.decode(message.value, type=IncidentMessage)


@pytest.mark.parametrize("status", [102, 200, 403, 500])
def test_answer_of_a_foreign_responder_reaches_its_hold(status):
    key, value, headers = answered(status, changed=True)
    schema = topic_schema(Channel.CONTAINMENT_RESULTS)
    jsonschema.Draft202012Validator(schema).validate(orjson.loads(value))
    texts = {name: raw.decode() for name, raw in headers}
    jsonschema.Draft202012Validator(schema[HEADERS]).validate(texts)
    message, update = reported(key, value, headers)
    spec = orjson.loads(command()[1])["args"]["x-tidewatch"]
    assert isinstance(update, ResultUpdate)
    assert message.key == hold_key(TENANT, spec["hold"])
    assert (update.status, update.tenant, update.incident) == (status, TENANT, spec["incident"])
    assert update.results["changed"] is True


def test_the_same_answer_has_the_same_id():
    first, second = (dict(answered(200)[2])["ce_id"] for _ in range(2))
    assert first == second != dict(answered(500)[2])["ce_id"]


def test_foreign_responder_refuses_unapproved_and_expired_commands():
    headers, value = command(Channel.CONTAINMENT_PROPOSALS)
    assert verify(headers, value, trusted_keys(), AT_MS) == "commands"
    assert "approved" in foreign.refusal(headers, value, NOW)
    headers, value = command()
    assert "expired" in foreign.refusal(headers, value, datetime(2026, 12, 24, tzinfo=UTC))
    other = {**headers, "ce_tenantid": b"globex"}
    assert "another tenant" in foreign.refusal(other, value, NOW)


def test_foreign_responder_imports_nothing_of_tidewatch():
    for path in (CONTRACT / "answers" / "answer.py", CONTRACT / "signatures" / "verify.py"):
        tree = ast.parse(path.read_text())
        named = {
            (node.module if isinstance(node, ast.ImportFrom) else alias.name).partition(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        }
        assert not named & {"agents", "schemas", "streams"}
