"""A tenant's part and plan are computed once per revision of their rows."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import pytest

from agents.ports import Message
from agents.triage.incidents import commands, core, tenant_state
from agents.triage.incidents.incident_rows import IncidentRows
from schemas.decisions import Decision, DecisionKind
from schemas.policy import Policy
from tests.agents.triage.flow import Flow, at
from tests.agents.triage.stories import BAD, GOOD, MODEL, finding, held


def test_a_part_is_computed_once_for_each_revision_and_its_plan_once_for_each_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parts: Counter[tuple[Any, ...]] = Counter()
    plans: Counter[int] = Counter()
    found: Counter[tuple[Any, ...]] = Counter()
    compute, find, plan = core.tenant_state_of, tenant_state._undecided, commands._plan
    kept = []

    def counted_part(case, tenant, policy, now_ms, same):
        parts[id(case), tenant, case.version(tenant), now_ms] += 1
        kept.append((case, part := compute(case, tenant, policy, now_ms, same)))
        return part

    def counted_findings(case, tenant, policy):
        found[id(case), tenant, case.version(tenant)[:2]] += 1
        return find(case, tenant, policy)

    def counted_plan(case, part, generations):
        plans[id(part)] += 1
        return plan(case, part, generations)

    monkeypatch.setattr(core, "tenant_state_of", counted_part)
    monkeypatch.setattr(tenant_state, "_undecided", counted_findings)
    monkeypatch.setattr(commands, "_plan", counted_plan)
    story()
    assert len(kept) > 5
    assert set(parts.values()) == {1}
    assert set(found.values()) == {1}
    assert found.total() < parts.total()
    assert set(plans.values()) == {1}


def story() -> Flow:
    """Return a run in which an incident of two tenants is found, contained, closed and released."""
    flow = Flow()
    flow.policy(Policy(tenant="a", automatic=("capture-evidence", "quarantine"), dry_run=False))
    flow.saw(*held(MODEL, "a", "gpu", 0, version="r1", digest=GOOD))
    flow.put(
        *held(MODEL, "a", "gpu", 10, version="r2", digest=BAD),
        *held(MODEL, "b", "gpu", 10, version="r2", digest=BAD),
        finding("malicious_payload", "a", minutes=11),
    )
    flow.run()
    for spec in list(flow.issued):
        flow.answer(spec)
    flow.tick(60)
    incident = min(flow.incidents)
    for number, kind in enumerate((DecisionKind.ACKNOWLEDGE, DecisionKind.FALSE_POSITIVE)):
        flow.decide(
            Decision(
                id=f"dec-{number}",
                incident=incident,
                actor="someone",
                decision=kind,
                reason="looked",
                time=at(70 + number),
                tenant="a",
            )
        )
    return flow


def test_caching_within_a_batch_changes_no_record(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = story()
    numbers = itertools.count()
    monkeypatch.setattr(IncidentRows, "version", lambda *_: (next(numbers), 0, 0))
    computed_anew = story()
    assert [*map(record_of, kept.sent)] == [*map(record_of, computed_anew.sent)]
    assert [rows.content() for rows in kept.incident_rows] == [
        rows.content() for rows in computed_anew.incident_rows
    ]


def test_confirmed_hold_renders_nothing_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    notices: Counter[bool] = Counter()
    rendered: list[int] = []
    take, render = core.on_notice, core.alert_view

    def counted_notice(case, notice):
        changed = take(case, notice)
        notices[changed] += 1
        return changed

    def counted_view(case, part):
        rendered.append(1)
        return render(case, part)

    monkeypatch.setattr(core, "on_notice", counted_notice)
    monkeypatch.setattr(core, "alert_view", counted_view)
    kept, views = story(), len(rendered)
    assert notices[False] > 0
    assert notices[True] > 0  # answers and releases
    rendered.clear()
    monkeypatch.setattr(core, "on_notice", lambda case, notice: take(case, notice) or True)
    always = story()
    assert views < len(rendered)
    assert [*map(record_of, kept.sent)] == [*map(record_of, always.sent)]
    assert [rows.content() for rows in kept.incident_rows] == [
        rows.content() for rows in always.incident_rows
    ]


def record_of(message: Message) -> tuple[object, ...]:
    return (message.channel, message.key, message.value, message.headers)
