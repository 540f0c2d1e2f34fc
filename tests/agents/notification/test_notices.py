"""Records are read as notices; forged and unreadable ones are refused."""

from __future__ import annotations

from pathlib import Path

import msgspec
import orjson
import pytest

from agents.notification.notices import READS, read_notice
from schemas import dead_letters as reasons
from schemas.channels import Channel
from schemas.errors import UnreadableRecordError
from schemas.severity import Severity
from tests.agents.notification.making import alert_document, record
from tests.each import each

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
TENANTS = {Channel.OPERATOR_ALERTS: "operator"}


@pytest.mark.parametrize("channel", READS)
def test_the_documents_that_tidewatch_writes_are_read(channel):
    document = orjson.loads((GOLDEN / f"{channel}.json").read_bytes())
    notice = read_notice(channel, record(document, TENANTS.get(channel, "tenant-a")), 1_000_000)
    if channel is Channel.ALERTS:
        assert notice.incident == "inc-1"
        assert notice.severity is Severity.CRITICAL
        standing = notice.standing
        assert standing is not None
        assert standing.title == "Malicious payload in acme-labs/sentiment-base"
        assert standing.status == "new"
        assert standing.assignee == "analyst@acme.example"
        assert standing.acknowledged
        assert standing.systems == document["unmapped"]["affected_systems"]
        assert standing.next_action == document["unmapped"]["next_action"]
    elif channel is Channel.CONTAINMENT_PROPOSALS:
        assert notice.proposed is not None
        assert (notice.proposed.action, notice.proposed.mode) == ("quarantine", "proposal")
    else:
        assert (notice.tenant, notice.subject) == (None, "source-silent://ci/runner-7")


def test_unsent_fields_make_no_update():
    one, two, three = (
        read_notice(Channel.ALERTS, record(alert_document(**more), "acme"), 1_000_000)
        for more in ({}, {"score": 99}, {"assignee": "ann"})
    )
    assert one.standing.digest == two.standing.digest != three.standing.digest


@each(
    ("raw", "tenant", "reason"),
    [
        (None, "acme", reasons.NULL_VALUE),
        (b" " * 2000, "acme", reasons.TOO_LARGE),
        (b"{", "acme", reasons.INVALID_EVENT),
        (b"\xff", "acme", reasons.INVALID_EVENT),
        (b"[" * 990, "acme", reasons.INVALID_EVENT),
        (orjson.dumps({"metadata": {}}), "acme", reasons.INVALID_EVENT),
        (orjson.dumps(alert_document(tenant="globex")), "acme", reasons.TENANT_MISMATCH),
        (orjson.dumps(alert_document(tenant="")), "", reasons.TENANT_MISMATCH),
    ],
)
def test_malformed_alert_is_refused(raw, tenant, reason):
    made = msgspec.structs.replace(record({}, tenant), value=raw)
    with pytest.raises(UnreadableRecordError) as raised:
        read_notice(Channel.ALERTS, made, 1000)
    assert raised.value.reason == reason


def test_a_proposal_of_another_tenant_is_refused():
    document = orjson.loads((GOLDEN / "containment-proposals.json").read_bytes())
    with pytest.raises(UnreadableRecordError) as raised:
        read_notice(Channel.CONTAINMENT_PROPOSALS, record(document, "acme"), 1_000_000)
    assert raised.value.reason == reasons.TENANT_MISMATCH


def test_an_operator_alert_that_a_tenant_wrote_is_refused():
    document = orjson.loads((GOLDEN / "operator-alerts.json").read_bytes())
    with pytest.raises(UnreadableRecordError):
        read_notice(Channel.OPERATOR_ALERTS, record(document, "acme"), 1_000_000)
