"""A decision counts if its key is bound to its actor, its tenant and its kind, and the broker
received it while it was fresh."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from agents.ports import Headers, Record
from schemas.channels import Channel
from schemas.cloudevents import binary_headers
from schemas.dead_letters import INVALID_EVENT, INVALID_SIGNATURE, NOT_AUTHORISED, PRODUCER_TIME
from schemas.decisions import DECISION_TYPE, SEVERITY_TARGETS, Decision, DecisionKind
from schemas.errors import UnreadableRecordError
from schemas.key_bindings import KeyBinding, TrustedKey
from schemas.signing import SigningKey, new_signing_key
from streams.apps.decoding import incidents_decoder
from streams.kafka.topics import TopicOrigin

NOW = datetime(2026, 11, 1, 9, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=300)
INTERN, BOSS, CONSOLE, UNBOUND = (
    new_signing_key(name) for name in ("intern", "boss", "console", "unbound")
)
RING = {
    "intern": TrustedKey(
        pem=INTERN.public_pem(),
        binding=KeyBinding(
            actor="ida@acme.example",
            tenants=("acme",),
            decisions=(DecisionKind.ACKNOWLEDGE, DecisionKind.APPROVE),
        ),
    ),
    "boss": TrustedKey(
        pem=BOSS.public_pem(),
        binding=KeyBinding(actor="bea@op.example", tenants="*", decisions="*"),
    ),
    "console": TrustedKey(
        pem=CONSOLE.public_pem(),
        binding=KeyBinding(
            actor="console@op.example",
            tenants=("acme",),
            decisions=(DecisionKind.APPROVE,),
            vouches=True,
        ),
    ),
    "unbound": TrustedKey(pem=UNBOUND.public_pem()),
}


def record(
    key: SigningKey,
    actor: str,
    *,
    tenant: str | None = "acme",
    kind: DecisionKind = DecisionKind.APPROVE,
    signed: datetime = NOW,
    received: datetime = NOW,
    appended: bool = True,
    type_: str = DECISION_TYPE,
    claims: str | None = None,
    target: str | None = None,
) -> Record:
    value = msgspec.json.encode(
        Decision(
            id="dec-1",
            incident="inc-1",
            actor=actor,
            decision=kind,
            reason="seen",
            time=signed,
            tenant=tenant,
            key=claims,
            target=target,
        )
    )
    headers: Headers = binary_headers(
        id="dec-1", type=type_, source="//cli", time=signed, tenant=tenant or "operator"
    )
    return Record(
        topic="decisions",
        partition=0,
        offset=0,
        timestamp_ms=int(received.timestamp() * 1000),
        key=b"inc-1",
        value=value,
        headers=(*headers, key.sign(headers, value)),
        appended=appended,
    )


def decide(given: Record, ring: dict[str, TrustedKey] = RING) -> Any:
    return incidents_decoder(ring)(given, TopicOrigin(Channel.DECISIONS))


def reason(given: Record, ring: dict[str, TrustedKey] = RING) -> str:
    with pytest.raises(UnreadableRecordError) as refused:
        decide(given, ring)
    return refused.value.reason


def test_decision_counts_for_the_actor_tenant_and_kind_of_its_key() -> None:
    assert decide(record(INTERN, "ida@acme.example")).actor == "ida@acme.example"
    assert decide(record(BOSS, "bea@op.example", tenant=None)).tenant is None


def test_the_id_of_the_key_goes_with_it_whatever_the_record_claims() -> None:
    assert decide(record(INTERN, "ida@acme.example", claims="boss")).key == "intern"


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(lambda: record(INTERN, "bea@op.example"), id="another actor"),
        pytest.param(lambda: record(INTERN, "ida@acme.example", tenant="globex"), id="tenant"),
        pytest.param(lambda: record(INTERN, "ida@acme.example", tenant=None), id="all tenants"),
        pytest.param(
            lambda: record(INTERN, "ida@acme.example", kind=DecisionKind.FALSE_POSITIVE), id="kind"
        ),
        pytest.param(lambda: record(UNBOUND, "unbound"), id="bound to nobody"),
    ],
)
def test_unauthorised_decision_is_refused(given: Callable[[], Record]) -> None:
    assert reason(given()) == NOT_AUTHORISED


def test_an_old_one_is_a_replay_even_if_its_producer_sets_its_time_back() -> None:
    old = {"signed": LONG_AGO, "actor": "bea@op.example"}
    assert reason(record(BOSS, received=NOW, **old)) == INVALID_SIGNATURE  # type: ignore[arg-type]
    assert reason(record(BOSS, received=LONG_AGO, appended=False, **old)) == PRODUCER_TIME  # type: ignore[arg-type]


def test_record_signed_for_another_purpose_is_no_decision() -> None:
    assert reason(record(BOSS, "bea@op.example", type_="tidewatch.policy.v1")) == INVALID_SIGNATURE


def test_a_key_that_has_ended_signs_nothing_more_but_what_it_signed_stays() -> None:
    binding = RING["boss"].binding
    assert binding is not None
    ended = msgspec.structs.replace(binding, until=NOW)
    ring = {"boss": TrustedKey(pem=BOSS.public_pem(), binding=ended)}
    assert reason(record(BOSS, "bea@op.example"), ring) == NOT_AUTHORISED
    before = NOW - timedelta(seconds=1)
    assert decide(record(BOSS, "bea@op.example", signed=before, received=before), ring).key


def test_a_key_that_vouches_decides_in_the_names_of_people_and_says_so():
    for actor in ("console@op.example", "ida@acme.example via console@op.example"):
        assert decide(record(CONSOLE, actor)).actor == actor
    for actor in (
        "ida@acme.example",
        "bea@op.example",
        " via console@op.example",
        "ida@acme.example via bea@op.example via console@op.example",
        "ida@acme.example via console@op.example2",
        "ida@acme.example via another@op.example",
    ):
        assert reason(record(CONSOLE, actor)) == NOT_AUTHORISED


def test_vouching_key_is_limited_to_its_own_rights():
    actor = "bea@op.example via console@op.example"
    assert reason(record(CONSOLE, actor, tenant="globex")) == NOT_AUTHORISED
    assert reason(record(CONSOLE, actor, tenant=None)) == NOT_AUTHORISED
    assert reason(record(CONSOLE, actor, kind=DecisionKind.CLOSE)) == NOT_AUTHORISED
    assert reason(record(INTERN, "x via ida@acme.example")) == NOT_AUTHORISED


@pytest.mark.parametrize("target", sorted(SEVERITY_TARGETS))
def test_a_severity_is_decided_by_its_name(target):
    made = decide(record(BOSS, "bea@op.example", kind=DecisionKind.SEVERITY, target=target))
    assert made.target == target


@pytest.mark.parametrize("target", [None, "", "HIGH", "severe", "high ", "<b>high</b>"])
def test_a_severity_that_does_not_exist_is_refused(target):
    given = record(BOSS, "bea@op.example", kind=DecisionKind.SEVERITY, target=target)
    assert reason(given) == INVALID_EVENT
