"""More children than fit some pages of the size that workers read: the last is reached, too."""

from __future__ import annotations

import pytest

from agents.triage.ledger import lineage
from schemas.severity import Severity
from tests.agents.triage.stories import BAD, finding, sighting
from tests.agents.triage.test_trust import DATA, POISON, flow_of

CHILDREN = 5_000


@pytest.mark.slow
@pytest.mark.parametrize("by_scan", [False, True])
def test_a_deployment_behind_five_thousand_children_is_reached(by_scan):
    assert lineage.PAGE * 2 < CHILDREN
    named = f"sha256:{BAD}" if by_scan else f"{DATA}@v7"
    flow = flow_of("mallory", "victim")
    for number in range(CHILDREN):
        flow.put(
            sighting(
                f"deployment:@mallory/{number:05}",
                "mallory",
                "x",
                kind="served",
                version="1",
                made_from=(named,),
            )
        )
    flow.saw(
        sighting("deployment:@victim/chat", "victim", "cluster", kind="served", made_from=(named,))
    )
    if by_scan:
        flow.found(finding("malicious_payload", "lab", "model:hub/lab"))
    else:
        flow.fact(POISON)
    (alert,) = flow.alerts_of("victim")
    assert alert.score.band.rank >= Severity.HIGH.rank
    assert [one.component for one in alert.systems] == ["deployment:@victim/chat"]
