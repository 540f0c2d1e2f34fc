"""Baselines are learnt, and only known malicious components reported."""

from __future__ import annotations

import pytest

from tests.agents.triage.flow import Flow
from tests.agents.triage.ledger.records import pushed
from tests.agents.triage.ledger.test_intelligence import LITELLM
from tests.agents.triage.stories import BAD, held


def test_a_baseline_is_learnt_from_and_reports_nothing_but_known_malice():
    flow = Flow()
    flow.saw(*(pushed(n, publisher_id="org-1", baseline=True) for n in range(3)))
    flow.saw(pushed(3, publisher_id="org-2", baseline=True))
    assert not flow.iocs
    assert not flow.alerts
    # what comes later is compared with it
    flow.saw(pushed(4, publisher_id="org-3"))
    assert "publisher_change" in {ioc.ioc_type for ioc in flow.iocs.values()}


@pytest.mark.parametrize("fact_first", [True, False])
def test_known_malicious_component_of_a_baseline_is_reported(fact_first):
    flow = Flow()
    there = held(
        "pypi:litellm", "a", "ci", 1, version="1.82.7", digest=BAD, kind="installed", baseline=True
    )
    if fact_first:
        flow.fact(LITELLM)
    flow.saw(*there)
    if not fact_first:
        assert not flow.alerts
        flow.fact(LITELLM)
    (alert,) = flow.alerts.values()
    assert alert.root == "pypi:litellm@1.82.7"
