"""What an incident shares with partners and auditors: once contained, and when withdrawn."""

from __future__ import annotations

import orjson
from msgspec import structs

from agents.messages import StandardDocuments
from agents.ports import Message
from schemas.basis import Basis, BasisKind
from schemas.channels import Channel
from schemas.decisions import DecisionKind
from schemas.incidents.commands import CommandView
from schemas.policy import Policy
from schemas.sharing import shared_indicators
from schemas.signing import new_signing_key
from tests.agents.triage.flow import Flow
from tests.agents.triage.incidents.incident_flow import ALL, CASE, decide, hostile

DOCUMENTS = StandardDocuments(new_signing_key("test"), k=1)


def shared(flow: Flow) -> list[dict[str, object]]:
    """Return the indicators that the incident's latest record shares with partners."""
    messages: list[Message] = list(DOCUMENTS.incident(flow.incidents[CASE], 0))
    bundles = [
        orjson.loads(message.value)
        for message in messages
        if message.channel is Channel.INTEL_SHARE
    ]
    return [obj for many in bundles for obj in many["objects"] if obj["type"] == "indicator"]


def contained() -> Flow:
    flow = hostile("a", [Policy(tenant="a", automatic=ALL)], k=1)
    for spec in list(flow.issued):
        flow.answer(spec)
    return flow


def test_indicator_is_shared_once_contained():
    assert shared(hostile("a")) == []
    (indicator,) = shared(contained())
    assert "revoked" not in indicator


def test_false_positive_revokes_what_was_shared():
    flow = contained()
    (reported,) = shared(flow)
    decide(flow, DecisionKind.FALSE_POSITIVE, tenant="a")
    (revoked,) = shared(flow)
    assert revoked["id"] == reported["id"]
    assert revoked["revoked"] is True
    assert revoked["modified"] > reported["modified"]


def test_recurrence_after_a_revocation_is_another_indicator():
    """STIX takes nothing back from `revoked`: who dropped the object would not read it again."""
    flow = contained()
    ids, states = [], []
    for decision in (None, DecisionKind.FALSE_POSITIVE, DecisionKind.REOPEN) * 2:
        if decision is not None:
            decide(flow, decision, tenant="a")
        (indicator,) = shared(flow)
        ids.append(indicator["id"])
        states.append(indicator.get("revoked", False))
    assert states == [False, True, False] * 2
    first, second, third = ids[0], ids[2], ids[5]
    assert ids == [first, first, second, second, second, third]
    assert len({first, second, third}) == 3


def test_an_indicator_holds_as_long_as_one_finding_of_it_does():
    document = contained().incidents[CASE]
    (finding,) = document.findings
    gone = structs.replace(finding, id="gone", rule_id="TW-OTHER", confidence=1.0, active=False)
    for findings in ((finding, gone), (gone, finding)):
        (indicator,) = shared_indicators(structs.replace(document, findings=findings))
        assert not indicator.revoked


def test_a_false_positive_that_was_never_shared_is_not_shared_at_all():
    flow = hostile("a")
    decide(flow, DecisionKind.FALSE_POSITIVE, tenant="a")
    assert flow.incidents[CASE].status == "false-positive"
    assert shared(flow) == []


def test_an_answer_that_is_under_way_is_audited_as_neither_success_nor_failure():
    (spec, *_) = contained().issued
    audited = {}
    for status in (102, 200, 404, 500, 501):
        view = CommandView(spec=spec, state="working", status=status)
        (message,) = DOCUMENTS.audit(view, 0)
        audited[status] = orjson.loads(message.value)["status"]
    assert audited == {
        102: "Other",
        200: "Success",
        404: "Does Not Exist",
        500: "Failure",
        501: "Unsupported",
    }


def test_the_operators_decision_is_once_in_each_tenants_timeline():
    flow = hostile("abc")
    decide(flow, DecisionKind.CLOSE)
    reported = [entry for entry in flow.incidents[CASE].timeline if entry.what == "decided"]
    assert [entry.text for entry in reported] == ["close by analyst@acme.example: because"]
    of_tenant = [entry for entry in flow.alerts[CASE, "b"].timeline if entry.what == "decided"]
    assert [entry.text for entry in of_tenant] == ["close"]


def test_indicator_held_by_k_organisations_or_released_is_shared():
    of_three = StandardDocuments(new_signing_key("test"))

    def reported(flow):
        messages = of_three.incident(flow.incidents[CASE], 0)
        return [message for message in messages if message.channel is Channel.INTEL_SHARE]

    flow = contained()
    assert flow.incidents[CASE].shared
    assert not reported(flow)
    decide(flow, DecisionKind.SHARE, tenant="a")
    assert not reported(flow)
    decide(flow, DecisionKind.SHARE)
    assert len(reported(flow)) == 1


def test_claimed_finding_is_not_shared():
    document = contained().incidents[CASE]
    (found,) = document.findings
    for basis in (None, Basis(tenant="a"), Basis(kind=BasisKind.ATTESTED, tenant="a")):
        claims = (structs.replace(found, basis=basis),)
        assert shared_indicators(structs.replace(document, findings=claims)) == []
    for basis in (Basis(kind=BasisKind.INTEL), Basis(kind=BasisKind.ATTESTED)):
        facts = (structs.replace(found, basis=basis),)
        assert len(shared_indicators(structs.replace(document, findings=facts))) == 1
