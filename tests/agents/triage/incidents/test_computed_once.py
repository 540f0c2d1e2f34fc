"""A tenant's part and its plan are computed once for each revision of the rows they follow from."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from agents.triage.incidents import commands, core
from schemas.policy import Policy
from tests.agents.triage.flow import Flow
from tests.agents.triage.stories import BAD, GOOD, MODEL, finding, held


def test_a_part_is_computed_once_for_each_revision_and_its_plan_once_for_each_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parts: Counter[tuple[Any, ...]] = Counter()
    plans: Counter[int] = Counter()
    compute, plan = core.tenant_state_of, commands._plan
    kept = []

    def counted_part(case, tenant, policy, now_ms):
        parts[id(case), tenant, case.version(tenant), now_ms] += 1
        kept.append((case, part := compute(case, tenant, policy, now_ms)))
        return part

    def counted_plan(case, part, generations):
        plans[id(part)] += 1
        return plan(case, part, generations)

    monkeypatch.setattr(core, "tenant_state_of", counted_part)
    monkeypatch.setattr(commands, "_plan", counted_plan)
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
    assert len(kept) > 5
    assert set(parts.values()) == {1}
    assert set(plans.values()) == {1}
