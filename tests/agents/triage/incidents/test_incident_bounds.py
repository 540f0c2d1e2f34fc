"""Incidents stay within their limits and report reached ones."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from agents.triage.bounded_sets import trim
from agents.triage.containment import PATHS
from agents.triage.incidents import exposures
from agents.triage.incidents.rows import COMMANDS, ROW_BYTES
from agents.triage.routing import incident_id, incident_message
from schemas.decisions import Decision, DecisionKind
from schemas.incidents.updates import (
    Exposure,
    FindingUpdate,
    KnownGood,
    Proof,
    Related,
    ResultUpdate,
    Withdrawal,
)
from schemas.policy import Policy
from schemas.severity import ExposureLevel
from tests.agents.triage.flow import Flow, at
from tests.agents.triage.stories import BAD, MODEL, finding, held
from tests.depth import examples

CASE = incident_id(f"sha256:{BAD}")
EVERYTHING = (
    "capture-evidence",
    "quarantine",
    "block",
    "rollback",
    "revoke",
    "hold-pipeline",
    "rebuild",
)


def spread(systems: int, *, shuffle: int | None = None) -> Flow:
    """Return a run in which a hostile model lies on many systems, all containment automatic."""
    flow = Flow(batch=8)
    flow.policy(Policy(tenant="a", automatic=EVERYTHING, criticality={"node-007": 1.0}))
    numbers = list(range(systems))
    if shuffle is not None:
        random.Random(shuffle).shuffle(numbers)
    flow.found(finding("malicious_payload", "a", minutes=0))
    for number in numbers:
        flow.saw(*held(MODEL, "a", f"node-{number:03}", 1 + number, version="r2", digest=BAD))
    return flow


SERVING = range(90, 98)


@pytest.mark.parametrize("room", [4_000, 1 << 20], ids=["row", "list"])
@pytest.mark.parametrize("last", [False, True])
def test_what_serves_is_listed_among_very_many_builds(
    monkeypatch: pytest.MonkeyPatch, last: bool, room: int
) -> None:
    monkeypatch.setattr(exposures, "ENTRIES_BYTES", room)
    flow = Flow()
    flow.found(finding("malicious_payload", "a", minutes=0))
    for number in (*range(60), *SERVING) if last else (*SERVING, *range(60)):
        exposure = ExposureLevel.SERVING if number in SERVING else ExposureLevel.DELIVERED
        seen = {"version": "r2", "digest": BAD, "exposure": exposure}
        flow.saw(*held(MODEL, "a", f"node-{number:03}", 1 + number, **seen))
    (alert,) = flow.alerts_of("a")
    assert len(alert.systems) < 60
    assert {f"node-{number:03}" for number in SERVING} <= {entry.system for entry in alert.systems}


def test_no_tenants_systems_hide_those_of_another() -> None:
    flow = Flow()
    flow.found(finding("malicious_payload", "lab", "model:hub/lab", minutes=0))
    for number in range(140):
        flow.put(*held(MODEL, "ab"[number % 2], f"node-{number:03}", 1, version="r2", digest=BAD))
    flow.put(*held(MODEL, "z", "gpu", 1, version="r2", digest=BAD))
    flow.run()
    document = flow.incidents[CASE]
    assert len(document.systems) == 128
    assert ("z", "gpu") in {(entry.tenant, entry.system) for entry in document.systems}


@pytest.fixture(scope="module")
def two_orders() -> tuple[Flow, Flow]:
    """The same in two orders; only looked at."""
    return spread(120), spread(120, shuffle=7)


@pytest.mark.slow
def test_no_command_is_evicted_in_any_order(two_orders):
    forward, mixed = two_orders
    captured = {command.system for command in forward.issued if command.target_type == "system"}
    assert captured == {f"node-{number:03}" for number in range(120)}
    assert set(forward.commands) == set(mixed.commands)
    assert max(rows.largest for rows in forward.incident_rows) <= ROW_BYTES


@pytest.mark.slow
def test_the_alert_lists_the_most_important_commands_and_says_that_there_are_more(two_orders):
    forward, mixed = two_orders
    view = forward.alerts[CASE, "a"]
    assert "commands" in view.truncated
    assert {"quarantine", "block"} <= {command.spec.action for command in view.commands}
    # the most critical asset comes before those that have it longer
    assert "node-007" in {command.spec.system for command in view.commands}
    listed = [command.spec.command_id for command in view.commands]
    assert listed == [command.spec.command_id for command in mixed.alerts[CASE, "a"].commands]


@pytest.mark.slow
def test_answers_reach_commands_of_every_page():
    flow = spread(90)
    for spec in list(flow.issued):
        flow.answer(spec)
    assert flow.incidents[CASE].tenants[0].status in {"contained", "recovering"}
    before = len(flow.issued)
    flow.tick(minutes=600)
    assert len(flow.issued) == before


def test_more_commands_than_are_issued_is_reported(monkeypatch):
    monkeypatch.setattr("agents.triage.incidents.commands.COMMANDS", 20)
    flow = spread(40)
    assert len(flow.commands) == 20
    assert "over-commanding" in flow.alerts[CASE, "a"].truncated
    assert "commands" in flow.incidents[CASE].truncated
    reported = [notice for notice in flow.operator.values() if notice.kind == "bound-reached"]
    assert [entry.subject for entry in reported] == [CASE]
    assert COMMANDS > 20


def test_evidence_locations_beyond_the_limit_are_reported():
    flow = Flow()
    paths = (*tuple(f"/var/log/{number}" for number in range(PATHS)), "/" + "x" * 9000)
    flow.policy(Policy(tenant="a", automatic=EVERYTHING, evidence={"gpu": paths}))
    flow.found(finding("malicious_payload", "a"))
    flow.saw(*held(MODEL, "a", "gpu", version="r2", digest=BAD))
    (capture,) = [command for command in flow.issued if command.target == "gpu"]
    assert capture.paths == paths[:-1]
    assert "evidence paths" in flow.alerts[CASE, "a"].truncated


@pytest.mark.slow
@settings(
    max_examples=examples(3),
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
@given(
    letter=st.sampled_from(("x", "é", "\U0001f40d", "\x00", "@")),
    whose=st.sampled_from((1, 40, 1_000)),
    sizes=st.lists(st.sampled_from((1, 40, 700, 5_000)), min_size=1, max_size=4),
    many=st.integers(1, 20),
)
@example(letter="é", whose=1_000, sizes=[5_000], many=30)
def test_rows_stay_within_their_bound_whatever_is_sent(letter, whose, sizes, many):
    tenant, names = letter * whose, [letter * size for size in sizes]
    flow = Flow(batch=200)
    paths = tuple(f"/var/log/{name}" for name in names) * 9
    flow.policy(
        Policy(
            tenant=tenant,
            automatic=EVERYTHING,
            evidence={f"{name}-{number}"[:100]: paths for name in names for number in range(many)},
        )
    )
    for number in range(many):
        name = f"{names[number % len(names)]}-{number}"
        send_hostile(flow, tenant, name, number)
    for spec in list(flow.issued)[:10]:
        result = ResultUpdate(
            incident=CASE,
            id=f"res-{spec.command_id}",
            command_id=spec.command_id,
            tenant=tenant,
            status=500,
            at=at(99),
            status_text=names[0] * 9,
        )
        flow.send([incident_message(CASE, result)])
    assert max(rows.largest for rows in flow.incident_rows) <= ROW_BYTES


def found_hostile(tenant: str, name: str, number: int) -> FindingUpdate:
    """Return a finding, each text of it as long as `name`."""
    found = finding(
        "malicious_payload",
        tenant,
        f"model:hub/{name}",
        version=name,
        minutes=number,
        rule_id=f"TW-{number}",
        evidence={name: name, "file": name},
        systems=tuple(f"{name}-{number}" for number in range(5)),
        identities=tuple(f"secret-ref:{name}-{number}" for number in range(12)),
        publisher=f"publisher:{name}",
    )
    return FindingUpdate(incident=CASE, root=f"sha256:{BAD}", finding=found)


@pytest.mark.slow
def test_a_row_of_findings_stays_within_its_bound_however_many_there_are():
    """Alone, since commands and holds for so many systems take most of the time."""
    flow = Flow(batch=200)
    name = "é" * 5_000
    flow.send(
        incident_message(CASE, found_hostile("é" * 1_000, f"{name}-{number}", number))
        for number in range(120)
    )
    assert max(rows.largest for rows in flow.incident_rows) <= ROW_BYTES


def send_hostile(flow: Flow, tenant: str, name: str, number: int) -> None:
    """Send everything that an incident takes, each text of it as long as `name`."""
    model = f"model:hub/{name}"
    root = f"sha256:{BAD}"
    messages = [
        found_hostile(tenant, name, number),
        Exposure(
            incident=CASE,
            root=root,
            tenant=tenant,
            system=name,
            component=model,
            occurred_at=at(number),
            event_id=name,
            version=name,
            digest=BAD,
            path=(model,) * 20,
            origin=name,
            publisher=name,
            stage=name,
            identities=(name,) * 20,
        ),
        KnownGood(
            incident=CASE,
            tenant=tenant,
            component=model,
            version=f"{number}{name}",
            digest=name,
            seen_at=at(number),
        ),
        Proof(
            incident=CASE,
            tenant=tenant,
            system=name,
            component=model,
            event_id=name,
            occurred_at=at(number),
            kind=name,
            version=name,
            digest=name,
        ),
        Withdrawal(incident=CASE, tenant=tenant, finding=f"f-{name}", reason=name, at=at(number)),
        Related(incident=CASE, other=f"inc-{name}", via=name, tenant=tenant),
    ]
    flow.send(incident_message(CASE, message) for message in messages)
    for whose in (tenant, None):
        flow.decide(
            Decision(
                id=f"dec-{whose is None}-{name}",
                incident=CASE,
                actor=name,
                decision=DecisionKind.ASSIGN,
                reason=name,
                time=at(number),
                tenant=whose,
                target=name,
            )
        )


@given(
    sizes=st.dictionaries(st.text("0123456789abcdef", min_size=1, max_size=16), st.integers(0, 90)),
    cap=st.integers(1, 20),
    limit=st.integers(0, 900),
    order=st.randoms(use_true_random=False),
)
def test_contents_of_a_full_set_depend_on_the_set_alone(sizes, cap, limit, order):
    kept = {key: "x" * size for key, size in sizes.items()}
    mixed = list(kept.items())
    order.shuffle(mixed)
    again = dict(mixed)
    whole = dict(kept)
    assert trim(kept, cap, limit) == (len(kept) < len(whole))
    trim(again, cap, limit)
    assert kept == again
    assert len(kept) <= cap
    assert not kept or len(msgspec.msgpack.encode(kept)) <= limit + 3
