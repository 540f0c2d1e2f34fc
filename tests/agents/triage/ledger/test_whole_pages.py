"""More than fits some pages of the size that workers read: all is reached, a page at a time."""

from __future__ import annotations

import msgspec
import pytest

from agents.triage.ledger import exposures, lineage
from schemas.channels import Channel
from schemas.incidents.updates import Exposure, FindingUpdate, IncidentMessage
from schemas.intel import IntelFact, IntelKind
from schemas.ledger import LedgerMessage
from schemas.severity import Severity
from tests.agents.triage.ledger_run import take
from tests.agents.triage.memory_rows import MemoryRows
from tests.agents.triage.stories import BAD, finding, sighting
from tests.agents.triage.test_trust import DATA, POISON, flow_of

CHILDREN = 2_000
_LEDGER = msgspec.json.Decoder(LedgerMessage)
_INCIDENT = msgspec.json.Decoder(IncidentMessage)


def test_a_release_that_very_many_have_is_reported_a_page_at_a_time():
    """The records of others wait for what follows from one page, not for all."""
    many = 2 * exposures.PAGE + 1
    rows = MemoryRows()
    take(rows, *(sighting("pypi:x", f"t{n:04}", "ci", version="2") for n in range(many)))
    fact = IntelFact(
        key="pypi:x", kind=IntelKind.COMPROMISED, versions=("2",), sources=("osv", "vendor")
    )
    waiting, found, reached = [fact], [], []
    while waiting:
        step = take(rows, waiting.pop(0), key=fact.key)
        # of each row a finding, filed and reported, an exposure and a version to go back to
        assert len(step) < 5 * exposures.PAGE
        for message in step:
            if message.channel is Channel.OBSERVATIONS:
                waiting.append(_LEDGER.decode(message.value or b""))
            elif message.channel is Channel.INCIDENT_UPDATES:
                update = _INCIDENT.decode(message.value or b"")
                if isinstance(update, FindingUpdate):
                    found.append(update.finding.tenant)
                elif isinstance(update, Exposure):
                    reached.append(update.tenant)
    assert len(found) == len(set(found)) == many
    assert len(reached) == len(set(reached)) == many


@pytest.mark.slow
@pytest.mark.parametrize("by_scan", [False, True])
def test_a_deployment_behind_very_many_children_is_reached(by_scan):
    assert lineage.PAGE * 10 < CHILDREN
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
    assert [system.component for system in alert.systems] == ["deployment:@victim/chat"]
