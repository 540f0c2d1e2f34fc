"""What the tests of incidents share: a hostile digest at some tenants, and decisions on it."""

from __future__ import annotations

from agents.triage.routing import incident_id
from schemas.decisions import Decision
from schemas.severity import ExposureLevel
from tests.agents.triage.flow import Flow, at
from tests.agents.triage.stories import BAD, GOOD, MODEL, finding, held

ALL = ("capture-evidence", "quarantine", "block", "rollback", "revoke", "rebuild")


ROOT = f"sha256:{BAD}"


CASE = incident_id(ROOT)


def hostile(tenants="abc", policies=(), **more):
    """Return a run in which a hostile digest was met by each tenant."""
    flow = Flow(**more)
    for policy in policies:
        flow.policy(policy)
    for number, tenant in enumerate(tenants):
        flow.saw(*held(MODEL, tenant, f"gpu-{tenant}", number, version="r1", digest=GOOD))
        flow.saw(
            *held(
                MODEL,
                tenant,
                f"gpu-{tenant}",
                30 + number,
                version="r2",
                digest=BAD,
                exposure=ExposureLevel.EXECUTED,
                identities=(f"secret-ref:{tenant}-token",),
            )
        )
    flow.found(finding("malicious_payload", tenants[0], minutes=60))
    return flow


def decide(flow, kind, minutes=200, **more):
    number = len(flow.sent)
    flow.decide(
        Decision(
            id=f"dec-{number:06}",
            incident=more.pop("incident", CASE),
            actor="analyst@acme.example",
            decision=kind,
            reason="because",
            time=at(minutes),
            **more,
        )
    )
