"""Shared rows keep room for others, however much one tenant claims."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.triage.bounded_sets import keyed_order, trim_shared
from agents.triage.ledger import source_health
from agents.triage.ledger.expiry import PERIOD_MS
from agents.triage.ledger.rows import COMPONENT, HOUR_MS, ComponentRow
from agents.triage.store import row_key
from schemas.channels import Channel
from schemas.decisions import DecisionKind
from schemas.intel import IntelFact, IntelKind
from schemas.ledger import OperatorAlert, SourceSeen, Tick
from schemas.severity import Severity
from tests.agents.triage.ledger_run import START_MS, Ledger
from tests.agents.triage.stories import BAD, GOOD, MODEL, finding, held, sighting
from tests.agents.triage.test_trust import (
    DATA,
    POISON,
    WHEEL,
    decide,
    flow_of,
    hostile_by_name,
)

PAGED = ("exposures", "lineage", "intelligence", "indicators")
MANY = 45


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch):
    for module in PAGED:
        monkeypatch.setattr(f"agents.triage.ledger.{module}.PAGE", 10)


def served(tenant, of):
    return sighting(f"deployment:@{tenant}/chat", tenant, "cluster", kind="served", made_from=(of,))


@pytest.mark.slow
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("by_scan", [False, True])
def test_many_invented_children_hide_no_deployment(by_scan, late):
    named = f"sha256:{BAD}" if by_scan else f"{DATA}@v7"
    flow = flow_of("mallory", "victim")
    known = (
        (lambda: flow.found(finding("malicious_payload", "lab", "model:hub/lab")))
        if by_scan
        else (lambda: flow.fact(POISON))
    )
    if late:
        known()
    flow.saw(
        *(
            sighting(
                f"model:hub/a{n:05}",
                "mallory",
                "x",
                kind="made",
                version=str(n),
                made_from=(named,),
            )
            for n in range(MANY)
        ),
        served("victim", named),
    )
    if not late:
        known()
    (alert,) = flow.alerts_of("victim")
    assert alert.score.band.rank >= Severity.HIGH.rank
    assert [system.component for system in alert.systems] == ["deployment:@victim/chat"]
    if not by_scan:
        flow.withdraw(DATA)
        assert flow.alerts_of("victim")[0].status == "withdrawn"


def test_hundreds_of_invented_builds_of_a_public_model_leave_the_victims_own():
    flow = flow_of("mallory", "victim")
    flow.saw(
        *(
            sighting(
                MODEL, "mallory", "x", kind="made", version=f"m{n}", made_from=(f"{DATA}@w{n}",)
            )
            for n in range(300)
        ),
        sighting(MODEL, "victim", "gpu", kind="made", version="r2", made_from=(f"{DATA}@v7",)),
    )
    flow.fact(POISON)
    (alert,) = flow.alerts_of("victim")
    assert alert.score.band.rank >= Severity.HIGH.rank


@pytest.mark.slow
def test_invented_indicators_block_no_withdrawal():
    flow = flow_of("mallory", "victim")
    flow.saw(*held(MODEL, "victim", "gpu", version="r2", digest=GOOD))
    for number in range(MANY):
        flow.found(
            hostile_by_name("mallory", version=f"v{number}", locator=str(number), minutes=number)
        )
    flow.found(hostile_by_name("victim", version="r2"))
    assert flow.alerts_of("victim")[0].status == "new"
    flow.fact(IntelFact(key=MODEL, kind=IntelKind.WARNINGLIST, sources=("x", "y")))
    assert {view.status for view in flow.alerts.values()} == {"withdrawn"}
    assert {indicator.status for indicator in flow.iocs.values()} == {"withdrawn"}


@pytest.mark.slow
def test_a_dismissal_is_kept_however_many_incidents_others_close():
    flow = flow_of("mallory", "victim")
    flow.found(hostile_by_name("victim", version="r2"))
    (alert,) = flow.alerts_of("victim")
    decide(flow, DecisionKind.FALSE_POSITIVE, alert.incident)
    for number in range(40):
        flow.found(
            hostile_by_name("mallory", version=f"v{number}", locator=str(number), minutes=number)
        )
    for view in flow.alerts_of("mallory"):
        decide(flow, DecisionKind.CLOSE, view.incident, tenant="mallory")
    flow.saw(served("victim", f"{MODEL}@r2"))
    (alert,) = flow.alerts_of("victim")
    assert alert.status == "false-positive"
    assert not alert.systems


@pytest.mark.slow
@pytest.mark.parametrize("tenants", [1, 7, 24])
@pytest.mark.parametrize("first", [False, True])
def test_invented_digests_of_a_package_file_evict_no_victims(first, tenants):
    filename = "torch-2.9.0-cp312-linux.whl"
    strangers = [f"mallory-{number}" for number in range(tenants)]
    flow = flow_of("v", "b", "c", "d", *strangers)

    def saw(tenant, digest):
        flow.saw(*held(WHEEL, tenant, "ci", version="2.9.0", digest=digest, filename=filename))

    invented = [(strangers[number % tenants], f"{number:064x}") for number in range(40)]
    if first:
        for stranger, digest in invented:
            saw(stranger, digest)
    for tenant, digest in zip("vbcd", (BAD, GOOD, GOOD, GOOD), strict=True):
        saw(tenant, digest)
    if not first:
        for stranger, digest in invented:
            saw(stranger, digest)
        saw("v", BAD)
    (alert,) = flow.alerts_of("v")
    assert alert.score.band is Severity.MEDIUM


@pytest.mark.slow
def test_invented_incidents_about_a_component_leave_others_alerts_of_a_real_one():
    flow = flow_of("mallory", "v", "b", "c", "d")
    for number in range(40):
        flow.put(
            finding("malicious_payload", "mallory", MODEL, digest=None, version=f"v{number}",
                    minutes=number, locator=str(number))
        )  # fmt: skip
    flow.run()
    for tenant in ("v", "b", "c", "d"):
        flow.found(hostile_by_name(tenant, version="r2"))
    (alert,) = flow.alerts_of("v")
    assert alert.other_tenants == 3
    rows = [rows for rows in flow.ledger_rows if rows.get(row_key(COMPONENT, MODEL))]
    row = msgspec.msgpack.decode(rows[0].get(row_key(COMPONENT, MODEL)), type=ComponentRow)
    assert alert.incident in {incident for incident, _ in row.prevalent.values()}
    assert alert.incident in {incident for incident, _ in row.incidents.values()}
    assert set(row.owners) == set(row.prevalent) | set(row.incidents)
    for number in range(20):
        flow.found(
            finding("unpinned_dependency", "mallory", MODEL, digest=None, severity=Severity.LOW,
                    version=f"w{number}", locator=str(number))
        )  # fmt: skip
    row = msgspec.msgpack.decode(rows[0].get(row_key(COMPONENT, MODEL)), type=ComponentRow)
    assert set(row.owners) == set(row.prevalent) | set(row.incidents)


def test_many_sources_of_one_tenant_hide_no_silence_of_others(monkeypatch):
    monkeypatch.setattr(source_health, "SOURCES", 5)
    monkeypatch.setattr(source_health, "SCAN", 4)
    ledger = Ledger()
    for hour in range(8):
        ledger.take(heard("victim", "//ci", hour))
    for number in range(30):
        ledger.take(heard("mallory", f"//{number}", 8))
    now = START_MS + 48 * HOUR_MS
    for period in range(4):
        ledger.take(Tick(time_ms=now + period * PERIOD_MS, partition=0))
    reported = {
        (alert.kind, alert.tenant or alert.subject)
        for message in ledger.sent
        if message.channel is Channel.OPERATOR_ALERTS
        and (alert := msgspec.json.decode(message.value, type=OperatorAlert))
    }
    assert reported == {("source-silent", "victim"), ("bound-reached", "mallory")}


def heard(tenant, source, hour):
    return SourceSeen(
        key=f"source:{tenant}|{source}",
        tenant=tenant,
        source=source,
        event_id=f"e{hour}",
        at_ms=START_MS + hour * HOUR_MS,
    )


elements = st.dictionaries(
    st.text("0123456789abcdef", min_size=4, max_size=4), st.sampled_from("abc"), max_size=40
)


@given(elements, st.integers(1, 12), st.randoms(), st.binary(max_size=4))
def test_shared_set_keeps_the_first_of_each_organisation(owned, cap, chance, secret):
    def order(place):
        return keyed_order(secret, place)

    ends = []
    for _ in range(3):
        arrivals = list(owned)
        chance.shuffle(arrivals)
        kept = {}
        for arrival in arrivals:
            kept[arrival] = owned[arrival]
            trim_shared(kept, cap, 1 << 20, lambda entry: (owned[entry],), order)
        ends.append(kept)
    assert ends[0] == ends[1] == ends[2]
    assert len(ends[0]) == min(cap, len(owned))
    if cap >= 3:
        assert set(ends[0].values()) == set(owned.values())


def test_contents_of_a_full_set_depend_on_the_secret():
    places = [f"{number:016x}" for number in range(100)]
    assert sorted(places, key=lambda place: keyed_order(b"", place)) == places
    assert sorted(places, key=lambda place: keyed_order(b"s", place)) != places
    assert keyed_order(b"s", places[0]) != keyed_order(b"t", places[0])
