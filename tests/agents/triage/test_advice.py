"""Advised and once-attested versions count as clean in recovery."""

from __future__ import annotations

import msgspec
import pytest

from schemas.channels import Channel
from schemas.incidents.updates import IncidentMessage, Proof
from schemas.intel import IntelFact, IntelKind
from tests.agents.triage.flow import Flow
from tests.agents.triage.stories import BAD, GOOD, held
from tests.agents.triage.test_attested import MODEL, ON_BASE, built, holding
from tests.agents.triage.test_attested import TUNED as TUNED_DIGEST
from tests.agents.triage.test_ended_roots import ROOT, SIGNED, remove
from tests.agents.triage.test_trust import CHECKPOINT, MADE, POISON, flow_of, made

TUNED = "model:hub/b/tuned"
RUN = "deployment:@b/chat"
HOSTILE = IntelFact(
    key=TUNED, kind=IntelKind.COMPROMISED, digests=(BAD,), versions=("1",), sources=("one", "two")
)
_INCIDENT = msgspec.json.Decoder(IncidentMessage)


def replaced() -> tuple[object, ...]:
    """Return b's sightings: a bad version on a system, and one built from what is advised."""
    return (
        *held(CHECKPOINT, "b", "gpu", 5, version="1", digest=MADE, appended=(2, "runs", 0, 2)),
        *held(TUNED, "b", "gpu", 6, version="1", digest=BAD),
        *held(
            TUNED,
            "b",
            "gpu",
            9,
            version="2",
            digest=GOOD,
            kind="made",
            made_from=(f"sha256:{MADE}",),
            appended=(3, "runs", 0, 3),
        ),
    )


def proofs(flow: Flow, component: str = TUNED) -> set[tuple[str, str | None]]:
    messages = (
        _INCIDENT.decode(message.value)
        for message in flow.sent
        if message.channel is Channel.INCIDENT_UPDATES and message.value is not None
    )
    return {
        (proof.system, proof.version)
        for proof in messages
        if isinstance(proof, Proof) and proof.tenant == "b" and proof.component == component
    }


@pytest.mark.parametrize("advised", ["first", "last"])
@pytest.mark.parametrize("known", ["before it was replaced", "after it was replaced"])
def test_advised_version_replaces_a_bad_version(advised, known):
    flow = flow_of("a", "b")
    flow.saw(*made("a", 1))
    facts = (POISON, HOSTILE) if advised == "first" else (HOSTILE, POISON)
    steps = [(flow.fact, fact) for fact in facts]
    steps.insert(0 if known == "after it was replaced" else len(steps), (None, None))
    for take, fact in steps:
        if take is None:
            flow.saw(*replaced())
        else:
            take(fact)
    advice = [view for view in flow.alerts_of("b") if view.score.band == "medium"]
    assert any(system.component == TUNED for view in advice for system in view.systems)
    assert proofs(flow) == {("gpu", "2")}


@pytest.mark.parametrize("replaced_first", [True, False])
def test_version_of_a_removed_trust_root_replaces_a_bad_version(replaced_first):
    hostile = IntelFact(
        key=MODEL, kind=IntelKind.COMPROMISED, versions=("r0",), sources=("one", "two")
    )
    flow = flow_of("b")
    flow.saw(built(SIGNED), *held(MODEL, "b", "gpu", 1, version="r0", digest=GOOD))
    flow.fact(ON_BASE)
    steps = [lambda: flow.saw(*holding("b")), lambda: flow.fact(hostile)]
    if not replaced_first:
        # The row of the name is marked by another system of the tenant.
        flow.saw(*held(MODEL, "b", "cpu", 2, version="r1", digest=TUNED_DIGEST))
        steps.reverse()
    else:
        steps.pop(0)()
    remove(flow, ROOT)
    for step in steps:
        step()
    assert ("gpu", "r1") in proofs(flow, MODEL)
