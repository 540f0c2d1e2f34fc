"""Makes the golden samples: one record of each topic, as written by today's code.

Run as a module, it writes those that are missing; a sample that is there is never rewritten, since
records like it lie on somebody's broker.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import orjson

from agents.messages import assessment_message
from schemas.assessments import Assessment, Check
from schemas.channels import Channel
from schemas.cloudevents import read_event, write_structured
from schemas.decisions import Decision, DecisionKind
from schemas.documents import ecs, ocsf, openc2, stix
from schemas.export import topic_schema
from schemas.findings import Finding
from schemas.incidents.holds import HoldState, HoldView, ReasonState, ReasonView, ThingView
from schemas.incidents.updates import FindingUpdate
from schemas.incidents.views import IncidentDocument, TenantPart
from schemas.intel import IntelFact, IntelKind
from schemas.ledger import OperatorAlert, Tick
from schemas.notifications import Leg, Notification, NotificationEvent, NotificationThread, Standing
from schemas.policy import Policy, Trusted
from schemas.scans import scan_request
from schemas.severity import Category, Severity, Status, Tlp
from tests.schemas import examples
from tests.schemas.events import PACKAGE_INSTALL, PIPELINE_RUN, REGISTRY_PUSH

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
SCHEMAS = Path(__file__).resolve().parent.parent.parent / "schemas" / "v1"
NOW = datetime(2026, 11, 20, 10, tzinfo=UTC)


def samples() -> dict[Channel, Any]:
    """Return one value of each topic, as plain JSON, as today's code writes it."""
    alert = examples.alert()
    incident = IncidentDocument(
        id="inc-1",
        root=alert.root,
        title=alert.title,
        status="new",
        phase="containment",
        score=alert.score,
        pattern="isolated",
        pattern_why="one tenant",
        tenants=(TenantPart(tenant="tenant-a", score=alert.score, status="new", systems=1),),
        tenant_count=1,
        findings=alert.findings,
        systems=alert.systems,
        system_count=1,
        timeline=alert.timeline,
        commands=alert.commands,
        tasks=alert.tasks,
        related=(),
        first_seen=examples.TIME,
    )
    push = read_event(
        orjson.dumps(REGISTRY_PUSH),
        (),
        timestamp_ms=int(NOW.timestamp() * 1000),
        max_bytes=1 << 20,
    )
    events = {
        channel: orjson.loads(
            write_structured(
                read_event(
                    orjson.dumps(event),
                    (),
                    timestamp_ms=int(NOW.timestamp() * 1000),
                    max_bytes=1 << 20,
                )
            )
        )
        for channel, event in (
            (Channel.REGISTRY_PUSH, REGISTRY_PUSH),
            (Channel.PACKAGE_INSTALL, PACKAGE_INSTALL),
            (Channel.PIPELINE_RUN, PIPELINE_RUN),
        )
    }
    finding = msgspec.convert(
        {
            "id": "fnd-1",
            "ioc_type": "malicious_payload",
            "rule_id": "TW-EXAMPLE",
            "severity": "critical",
            "confidence": 0.95,
            "description": "imports posix.system",
            "evidence": {},
            "mitre_atlas_id": "AML.T0018.002",
            "techniques": ["AML.T0018.002"],
            "ssdf": ["PW.4.4"],
            "remediation": "Quarantine.",
            "indicator": {"key": alert.root, "type": "file-digest", "value": examples.DIGEST},
            "component": examples.MODEL,
            "tenant": "tenant-a",
            "source": "//x",
            "event_id": "evt-1",
            "occurred_at": "2026-11-20T08:15:30.120Z",
        },
        Finding,
    )
    standing = Standing(
        revision=(1_795_162_530_120, 7),
        digest="std-1",
        title="Malicious payload in acme-labs/sentiment-base",
        why="A pushed model runs code when it is loaded. Two systems hold it.",
        severity=Severity.CRITICAL,
        status="new",
    )
    values: dict[Channel, Any] = {
        **events,
        Channel.INTEL: IntelFact(
            key="pypi:litellm", kind=IntelKind.COMPROMISED, versions=("1.82.7",), modified=NOW
        ),
        Channel.POLICY: Policy(
            tenant="tenant-a", trusted=Trusted(data_hosts=("data.acme.example",))
        ),
        Channel.DECISIONS: Decision(
            id="dec-1",
            incident="inc-1",
            tenant="tenant-a",
            actor="analyst@acme.example",
            decision=DecisionKind.FALSE_POSITIVE,
            reason="internal test file",
            time=NOW,
        ),
        Channel.CONTAINMENT_RESULTS: openc2.response_document(
            examples.command(), 200, "quarantined", {"moved_to": "/evidence/quarantine/20261120"}
        ),
        Channel.SCAN_REQUESTS: scan_request(push, None),
        Channel.OBSERVATIONS: Tick(time_ms=int(NOW.timestamp() * 1000)),
        Channel.INCIDENT_UPDATES: FindingUpdate(incident="inc-1", root=alert.root, finding=finding),
        Channel.IOCS: examples.ioc(),
        Channel.HYGIENE: examples.ioc("unpinned_dependency", category=Category.HYGIENE),
        Channel.ASSESSMENTS: orjson.loads(
            assessment_message(
                Assessment(
                    id="asm-1",
                    event_id="evt-1",
                    tenant="tenant-a",
                    subject=examples.MODEL,
                    overall_status=Status.FAIL,
                    checks=(
                        Check(name="hash_model.bin", status=Status.FAIL, expected="a", actual="b"),
                    ),
                ),
                NOW,
            ).value
            or b""
        ),
        Channel.ALERTS: ocsf.detection_finding(alert),
        Channel.ALERTS_ECS: ecs.alert_document(alert),
        Channel.IOCS_ECS: ecs.indicator_document(examples.ioc()),
        Channel.INCIDENTS: incident,
        Channel.CONTAINMENT_COMMANDS: openc2.command_document(examples.command()),
        Channel.CONTAINMENT_PROPOSALS: openc2.command_document(
            examples.command(mode="proposal", dry_run=True)
        ),
        Channel.HOLDS: HoldView(
            tenant="tenant-a",
            component=examples.MODEL,
            things=(
                ThingView(
                    action="quarantine",
                    target=f"{examples.MODEL}@r2",
                    state=HoldState.HELD,
                    generation=0,
                    reasons=(ReasonView(incident="inc-1", state=ReasonState.AUTOMATIC),),
                    command=examples.command(),
                    status=200,
                    status_text="moved to the quarantine",
                ),
            ),
        ),
        Channel.CONTAINMENT_AUDIT: ocsf.remediation_activity(alert.commands[0], NOW),
        Channel.INTEL_SHARE: orjson.loads(
            stix.indicator_bundle([examples.shared()], tlp=Tlp.AMBER)
        ),
        Channel.OPERATOR_ALERTS: OperatorAlert(
            id="opr-1", kind="source-silent", subject="//ci/runner-7", detail="silent for 2 hours"
        ),
        Channel.NOTIFICATIONS: NotificationThread(
            route="soc",
            subject="inc-1",
            tenant="tenant-a",
            incident="inc-1",
            now=standing,
            sent=standing,
            sent_ms=1_795_162_560_000,
            written=1,
            messages=(
                Notification(
                    id="ntf-1",
                    event=NotificationEvent.OPENED,
                    at_ms=1_795_162_560_000,
                    route="soc",
                    severity=Severity.CRITICAL,
                    title=f"[CRITICAL] {standing.title}",
                    body=standing.why,
                    tenant="tenant-a",
                    incident="inc-1",
                    status="new",
                    legs=(Leg(destination="soc-chat", attempts=1, next_ms=1_795_162_562_000),),
                ),
            ),
            changed_ms=1_795_162_560_000,
        ),
        Channel.DEAD_LETTER: "the record's own bytes",
    }
    return {channel: orjson.loads(msgspec.json.encode(value)) for channel, value in values.items()}


def main() -> None:
    """Write the samples and schemas that are missing."""
    pretty = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS
    for folder, documents in (
        (GOLDEN, samples()),
        (SCHEMAS, {channel: topic_schema(channel) for channel in Channel}),
    ):
        folder.mkdir(parents=True, exist_ok=True)
        for channel, document in documents.items():
            path = folder / f"{channel}.json"
            if not path.exists():
                path.write_bytes(orjson.dumps(document, option=pretty) + b"\n")


if __name__ == "__main__":
    main()
