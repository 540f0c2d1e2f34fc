"""ECS documents use fields of the standard, and name for matching only what is to be matched."""

from __future__ import annotations

from datetime import UTC, datetime

from schemas.documents import ecs
from schemas.findings import Indicator
from schemas.severity import Category, Disposition
from tests.each import each
from tests.schemas import examples
from tests.schemas.examples import ALL_TYPES, plain
from tests.schemas.standards import ecs_errors


@each(
    ("change", "error"),
    [
        ({"alert": {"id": "x"}}, "alert.id: not an ECS field"),
        ({"event": {"severity": "high"}}, "event.severity: must be a long"),
        ({"event": {"category": "malware"}}, "event.category: must be a list"),
        ({"event": {"kind": "finding"}}, "event.kind: 'finding' is not an expected value"),
        ({"file": {"hash": {"sha256": ["a"]}}}, "file.hash.sha256: must not be a list"),
        ({"labels": {"attempts": 3}}, "labels.attempts: must be a keyword"),
        ({"@timestamp": "yesterday"}, "@timestamp: no date"),
    ],
)
def test_a_departure_from_the_ecs_fields_is_found(change, error):
    document = plain(ecs.alert_document(examples.alert())) | change
    assert any(error in found for found in ecs_errors(document))


@each("ioc_type", ALL_TYPES)
def test_ecs_documents_use_only_ecs_fields(ioc_type):
    assert ecs_errors(plain(ecs.alert_document(examples.alert(ioc_type=ioc_type)))) == []
    assert ecs_errors(plain(ecs.indicator_document(examples.ioc(ioc_type)))) == []


def indicator(key, *, kind="x", ioc_type="malicious_payload", **changes):
    disposition = changes.pop("disposition", Disposition.BLOCK)
    value = key.partition(":")[2]
    found = Indicator(key=key, type=kind, value=value, disposition=disposition)
    return examples.ioc(ioc_type, indicator=found, **changes)


def test_an_ecs_indicator_has_what_a_rule_matches_and_a_store_orders_by():
    modified = datetime(2026, 11, 21, tzinfo=UTC)
    ioc = indicator("pypi:litellm@1.82.7", revision=4, modified=modified, component="pypi:litellm")
    document = plain(ecs.indicator_document(ioc))
    assert document["@timestamp"] == "2026-11-21T00:00:00.000Z"
    assert (document["event"]["id"], document["event"]["sequence"]) == (ioc.id, 4)
    assert document["event"]["severity"] == 90
    assert document["package"] == {"name": "litellm", "type": "pypi", "version": "1.82.7"}
    assert document["tidewatch"]["purl"] == "pkg:pypi/litellm@1.82.7"
    assert document["tidewatch"]["valid_until"] == "2027-11-20T00:00:00.000Z"
    assert document["tidewatch"]["disposition"] == "block"
    assert document["threat"]["indicator"]["modified_at"] == "2026-11-21T00:00:00.000Z"
    assert ecs_errors(document) == []


@each(
    "changes",
    [
        {"disposition": Disposition.CONTEXT},
        {"status": "withdrawn"},
        {"category": Category.HYGIENE, "ioc_type": "unpinned_dependency"},
    ],
)
def test_context_indicator_has_no_ecs_indicator(changes):
    """A tenant's own data host must not become a domain that a match rule fires on."""
    ioc = indicator("domain:data.acme.example", **changes)
    document = plain(ecs.indicator_document(ioc))
    assert "indicator" not in document["threat"]
    assert "related" not in document
    assert document["event"]["type"] == ["info"]
    assert ecs_errors(document) == []
    again = plain(ecs.indicator_document(indicator("domain:data.evil.example")))
    assert again["threat"]["indicator"]["url"] == {"domain": "data.evil.example"}


@each(
    ("kind", "key", "field"),
    [
        ("url", "url:https://evil.example/x", {"url": {"original": "https://evil.example/x"}}),
        ("domain", "domain:evil.example", {"url": {"domain": "evil.example"}}),
        ("ipv4-addr", "ipv4:203.0.113.9", {"ip": "203.0.113.9"}),
        ("ipv6-addr", "ipv6:2001:db8::9", {"ip": "2001:db8::9"}),
        ("wallet", "wallet:0x" + "a" * 40, {}),
    ],
)
def test_network_indicators_have_their_ecs_fields(kind, key, field):
    document = plain(ecs.indicator_document(indicator(key, kind=kind)))
    assert ecs_errors(document) == []
    found = document["threat"]["indicator"]
    assert {name: found[name] for name in field} == field


def test_a_name_that_begins_with_an_at_sign_is_no_version():
    document = plain(ecs.indicator_document(indicator("model:@acme/internal/m@r1")))
    assert document["package"] == {"name": "@acme/internal/m", "type": "model", "version": "r1"}
    assert "purl" not in document["tidewatch"]
