"""Intelligence meets what is held, whichever came first: findings, withdrawals, searches."""

from __future__ import annotations

import msgspec
import pytest

from agents.ports import Delivery, Record
from agents.triage.ledger.core import process
from agents.triage.ledger.rows import FACT, FactRow
from agents.triage.store import row_key
from schemas.channels import Channel
from schemas.intel import IntelFact, IntelKind
from schemas.policy import Policy
from schemas.severity import Disposition
from schemas.signing import SIGNATURE_HEADER
from tests.agents.published import Publishing
from tests.agents.triage.flow import Flow, at
from tests.agents.triage.memory_rows import MemoryRows
from tests.agents.triage.stories import BAD, GOOD, MODEL, finding, held, sighting

LITELLM = IntelFact(
    key="pypi:litellm",
    kind=IntelKind.COMPROMISED,
    versions=("1.82.7",),
    sources=("OSV:MAL-2026-2144", "vendor"),
    confidence=0.95,
    popular=True,
)


def installs(flow):
    flow.saw(
        *held("pypi:litellm", "a", "ci", 1, version="1.82.7", digest=BAD, kind="installed"),
        *held("pypi:litellm", "b", "ci", 2, version="1.82.6", digest=GOOD, kind="installed"),
    )


def test_later_intelligence_matches_earlier_sightings():
    flow = Flow()
    installs(flow)
    assert not flow.alerts
    flow.clock_ms += 3_600_000
    flow.fact(LITELLM)
    (alert,) = flow.alerts.values()
    assert alert.tenant == "a"
    assert alert.root == "pypi:litellm@1.82.7"
    assert alert.first_seen == at(1)
    assert alert.score.value >= 60
    assert alert.processing.retro


def test_the_finding_is_the_same_whichever_came_first():
    before, after = Flow(), Flow()
    installs(before)
    before.fact(LITELLM)
    after.fact(LITELLM)
    installs(after)
    (first,), (second,) = before.alerts.values(), after.alerts.values()
    assert [finding.id for finding in first.findings] == [finding.id for finding in second.findings]
    assert {*before.commands, *before.proposals} == {*after.commands, *after.proposals}


def test_withdrawal_closes_the_alert_and_releases_containment():
    flow = Flow()
    flow.policy(automatic("a"))
    installs(flow)
    flow.fact(LITELLM)
    for spec in list(flow.issued):
        flow.answer(spec)
    issued = {spec.action for spec in flow.issued}
    assert {"capture-evidence", "quarantine", "block"} <= issued
    flow.withdraw("pypi:litellm")
    (alert,) = flow.alerts.values()
    assert [view.activity for view in flow.history[alert.id]].count("close") == 1
    assert alert.status == "withdrawn"
    undone = {spec.action: spec for spec in flow.commands.values() if spec.undoes}
    assert {"restore", "unblock"} <= set(undone)
    assert {ioc.status for ioc in flow.iocs.values()} == {"withdrawn"}


def test_a_fact_published_again_reopens_under_new_commands():
    flow = Flow()
    flow.policy(automatic("a"))
    installs(flow)
    flow.fact(LITELLM)
    first = {spec.command_id for spec in flow.issued if spec.undoes is None}
    flow.withdraw("pypi:litellm")
    flow.fact(LITELLM)
    (alert,) = flow.alerts.values()
    assert alert.status == "new"
    again = {spec.command_id for spec in flow.issued if spec.undoes is None} - first
    assert len(again) == len(first)
    assert {ioc.status for ioc in flow.iocs.values()} == {"active"}


def test_a_withdrawal_keeps_findings_on_other_grounds():
    flow = Flow()
    flow.saw(*held(MODEL, "a", "gpu", version="r2", digest=BAD, kind="used"))
    flow.found(finding("malicious_payload", "a"))
    flow.fact(IntelFact(key=f"sha256:{BAD}", kind=IntelKind.MALICIOUS, sources=("x",)))
    flow.withdraw(f"sha256:{BAD}")
    (alert,) = flow.alerts.values()
    assert alert.status == "new"
    assert sum(finding.active for finding in alert.findings) == 1


def test_a_digest_of_a_fact_is_found_under_another_name():
    flow = Flow()
    flow.saw(*held("pypi:innocent", "a", "ci", version="3", digest=BAD, kind="installed"))
    flow.fact(IntelFact(key="pypi:evil", kind=IntelKind.MALICIOUS, digests=(BAD,), sources=("x",)))
    (alert,) = flow.alerts.values()
    assert alert.root == f"sha256:{BAD}"
    assert alert.findings[0].component == "pypi:innocent"


def test_a_warninglist_withdraws_findings_and_its_end_restores_them():
    flow = Flow()
    domain = "domain:cdn.example"
    flow.found(finding("blocked_source_used", "a", component=domain, digest=None, version=None))
    assert len(flow.alerts) == 1
    flow.fact(IntelFact(key=domain, kind=IntelKind.WARNINGLIST, sources=("list",)))
    assert flow.alerts_of("a")[0].status == "withdrawn"
    assert {ioc.status for ioc in flow.iocs.values()} == {"withdrawn"}
    flow.withdraw(domain)
    assert flow.alerts_of("a")[0].status == "new"


def test_a_popular_package_on_one_source_is_not_contained():
    fact = IntelFact(
        key="pypi:requests",
        kind=IntelKind.COMPROMISED,
        versions=("2.0",),
        sources=("feed",),
        popular=True,
    )
    flow = Flow()
    flow.policy(automatic("a"))
    flow.saw(*held("pypi:requests", "a", "ci", version="2.0", digest=GOOD, kind="installed"))
    flow.fact(fact)
    (alert,) = flow.alerts.values()
    assert {spec.action for spec in flow.commands.values()} == {"capture-evidence"}
    assert not flow.proposals
    states = {command.spec.action: command.state for command in alert.commands}
    assert states["quarantine"] == states["block"] == "advised"
    (ioc,) = flow.iocs.values()
    assert ioc.indicator.disposition is not Disposition.BLOCK


@pytest.mark.slow
def published(rows, fact, *, offset, minutes, signed=None):
    """Take a record of the intel topic, signed `minutes` after the story began, or as `signed`."""
    signed = minutes if signed is None else signed
    headers = () if signed is False else (
        ("ce_time", at(signed).isoformat().encode()),
        (SIGNATURE_HEADER, b"ed25519;kid=ops;x"),
    )  # fmt: skip
    record = Record(
        topic="intel", partition=0, offset=offset, timestamp_ms=int(at(minutes).timestamp() * 1000),
        key=KEY.encode(), value=b"", headers=headers, appended=True,
    )  # fmt: skip
    out = []
    process([Delivery(record=record, value=fact)], Publishing(out.append), rows)
    kinds = [msgspec.json.decode(m.value)["kind"] for m in out if m.channel == "operator-alerts"]
    known = rows.get(row_key(FACT, KEY, KEY))
    return msgspec.msgpack.decode(known, type=FactRow).fact, kinds


KEY = "pypi:evil"


def test_a_signed_fact_that_is_published_again_after_its_end_changes_nothing():
    """Within the replay window, whoever may write to the topic can repeat an earlier record."""
    bad = IntelFact(key=KEY, kind=IntelKind.MALICIOUS, versions=("6",), sources=("x", "y"))
    good = IntelFact(key=KEY, kind=IntelKind.MALICIOUS, versions=("7",), sources=("x", "y"))
    rows = MemoryRows()
    assert published(rows, bad, offset=0, minutes=0) == (bad, [])
    assert published(rows, good, offset=1, minutes=20) == (good, [])
    assert published(rows, bad, offset=2, minutes=30, signed=0) == (good, ["replayed-fact"])
    assert published(rows, None, offset=3, minutes=40, signed=10) == (good, ["replayed-fact"])
    # The broker's records that are read again are no replay; signers' clocks differ a little.
    assert published(rows, bad, offset=0, minutes=0) == (good, [])
    assert published(rows, None, offset=4, minutes=41, signed=19.5) == (None, [])
    assert published(rows, bad, offset=5, minutes=42, signed=5) == (None, ["replayed-fact"])
    assert published(rows, bad, offset=6, minutes=43) == (bad, [])
    # Where signatures are not required, the last record counts, as before.
    assert published(rows, good, offset=7, minutes=44, signed=False) == (good, [])
    assert published(rows, bad, offset=8, minutes=500, signed=30) == (bad, [])


def test_a_search_continues_page_by_page(monkeypatch):
    monkeypatch.setattr("agents.triage.ledger.intelligence.PAGE", 50)
    monkeypatch.setattr("agents.triage.ledger.exposures.PAGE", 50)
    flow = Flow()
    flow.saw(
        *(
            sighting("pypi:litellm", f"t{n % 7}", f"h{n:05}", 1, version="1.82.7")
            for n in range(230)
        )
    )
    flow.fact(LITELLM)
    (incident,) = flow.incidents.values()
    assert incident.tenant_count == 7
    assert incident.system_count >= 128
    found = {
        message.key
        for message in flow.sent
        if message.channel is Channel.OBSERVATIONS and b'"after"' in message.value
    }
    assert found == {"pypi:litellm"}
    flow.withdraw("pypi:litellm")
    assert {view.status for view in flow.alerts.values()} == {"withdrawn"}


def automatic(tenant):
    return Policy(
        tenant=tenant,
        automatic=("capture-evidence", "quarantine", "block", "rollback", "revoke"),
    )
