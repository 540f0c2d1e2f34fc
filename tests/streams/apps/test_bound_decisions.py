"""Decisions on a topic that is bound to a tenant are that tenant's own."""

from __future__ import annotations

import msgspec
import pytest

from agents.ports import Record
from schemas.channels import Channel
from schemas.cloudevents import binary_headers
from schemas.dead_letters import TENANT_MISMATCH
from schemas.decisions import DECISION_TYPE, Decision, DecisionKind
from schemas.errors import UnreadableRecordError
from schemas.key_bindings import KeyBinding, TrustedKey
from schemas.signing import new_signing_key
from streams.apps.decoding import incidents_decoder
from streams.kafka.topics import TopicOrigin
from tests.schemas.examples import TIME

KEY = new_signing_key("analyst")
RING = {
    KEY.kid: TrustedKey(
        pem=KEY.public_pem(), binding=KeyBinding(actor="ann", tenants="*", decisions="*")
    )
}


def record(tenant: str | None) -> Record:
    decision = Decision(
        id="dec-1",
        incident="inc-1",
        tenant=tenant,
        actor="ann",
        decision=DecisionKind.CLOSE,
        reason="because",
        time=TIME,
    )
    value = msgspec.json.encode(decision)
    headers = binary_headers(
        id="dec-1", type=DECISION_TYPE, source="//cli", time=TIME, tenant=tenant or "operator"
    )
    return Record(
        topic="acme-decisions",
        partition=0,
        offset=0,
        timestamp_ms=int(TIME.timestamp() * 1000),
        key=b"inc-1",
        value=value,
        headers=(*headers, KEY.sign(headers, value)),
        appended=True,
    )


@pytest.mark.parametrize("tenant", ["other", None])
def test_one_of_another_tenant_or_of_the_operator_is_refused(tenant: str | None) -> None:
    decode = incidents_decoder(RING)
    with pytest.raises(UnreadableRecordError) as refused:
        decode(record(tenant), TopicOrigin(Channel.DECISIONS, "acme"))
    assert refused.value.reason == TENANT_MISMATCH
    assert decode(record(tenant), TopicOrigin(Channel.DECISIONS)).tenant == tenant


def test_its_own_is_taken() -> None:
    decode = incidents_decoder(RING)
    assert decode(record("acme"), TopicOrigin(Channel.DECISIONS, "acme")).tenant == "acme"
