"""An alert, a command and an indicator as the triage makes them, for the tests of documents."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import msgspec

from schemas.basis import Basis, BasisKind
from schemas.documents.stix import SharedIndicator
from schemas.findings import Indicator, SupplyChainIoC
from schemas.incidents.commands import CommandSpec, CommandView
from schemas.incidents.views import (
    AlertView,
    FindingView,
    ProcessingTimes,
    Score,
    ScoreTerm,
    SystemView,
    TaskView,
    TimelineEntry,
)
from schemas.severity import Disposition, ExposureLevel, Severity
from schemas.taxonomy import taxonomy

TIME = datetime(2026, 11, 20, 8, 15, 30, 120_000, tzinfo=UTC)
DIGEST = "9f2b1c7e4d5a60718293a4b5c6d7e8f90123456789abcdef0123456789abcdef"
MODEL = "model:huggingface/acme-labs/sentiment-base"
ALL_TYPES = sorted(taxonomy().ioc_types)


def plain(document):
    """Return a document as its reader decodes it."""
    return json.loads(msgspec.json.encode(document))


def finding(ioc_type="malicious_payload"):
    kind = taxonomy().ioc_types[ioc_type]
    return FindingView(
        id="fnd-1",
        rule_id="TW-EXAMPLE",
        ioc_type=ioc_type,
        severity=Severity.CRITICAL,
        confidence=0.95,
        description="archive/data.pkl imports posix.system and calls it at offset 41",
        indicator_key=f"sha256:{DIGEST}",
        indicator_type="file-digest",
        indicator_value=DIGEST,
        component=MODEL,
        version="9d1c3f0b",
        evidence={"file": "weights/pytorch_model.bin", "offset": 41, "global": "posix.system"},
        mitre_atlas_id=kind.primary,
        techniques=kind.techniques,
        ssdf=kind.ssdf,
        remediation="Quarantine the file; do not load it.",
        publisher="publisher:huggingface/acme-labs",
        event_id="evt-1",
        source="//huggingface/acme-labs",
        occurred_at=TIME,
        basis=Basis(kind=BasisKind.VERIFIED),
        known_by="Tidewatch's scan of the same bytes",
    )


def command(**changes):
    fields = {
        "command_id": "8f14e45f-ceea-567a-9d2b-0c1d2e3f4a5b",
        "incident": "inc-1",
        "tenant": "tenant-a",
        "action": "quarantine",
        "target": MODEL,
        "target_type": "component",
        "digest": DIGEST,
        "after": ("11111111-ceea-567a-9d2b-0c1d2e3f4a5b",),
        "reason": "malicious payload",
        "findings": ("fnd-1",),
        "expires": datetime(2026, 11, 21, 8, 15, 30, tzinfo=UTC),
        "undo": "restore",
        "mode": "automatic",
        "dry_run": False,
    }
    return CommandSpec(**{**fields, **changes})


def alert(activity="create", status="new", ioc_type="malicious_payload"):
    kind = taxonomy().ioc_types[ioc_type]
    view = AlertView(
        id="alt-1",
        incident="inc-1",
        tenant="tenant-a",
        activity=activity,
        status=status,
        phase="containment",
        title="Malicious payload in acme-labs/sentiment-base",
        message="A pushed model runs code when it is loaded. Two systems hold it.",
        score=Score(
            value=88,
            band=Severity.CRITICAL,
            terms=(ScoreTerm(name="indicators", value=0.9, points=36.0, why="one kind"),),
        ),
        pattern="pattern",
        pattern_why="the same digest in at least 3 tenants",
        other_tenants=3,
        root=f"sha256:{DIGEST}",
        findings=(finding(ioc_type),),
        systems=(
            SystemView(
                tenant="tenant-a",
                system="inference-eu-1",
                component=MODEL,
                exposure=ExposureLevel.SERVING,
                since=TIME,
                path=(),
            ),
        ),
        system_count=1,
        timeline=(TimelineEntry(at=TIME, what="found", text="posix.system", ref="fnd-1"),),
        commands=(CommandView(spec=command(), state="done", status=200, status_text="moved"),),
        tasks=(
            TaskView(
                id="tsk-1",
                tenant="tenant-a",
                system="inference-eu-1",
                component=MODEL,
                kind="replace",
                state="open",
                text="Replace it by a verified version.",
            ),
        ),
        techniques=kind.techniques,
        ssdf=kind.ssdf,
        next_action="Replace the model on inference-eu-1.",
        runbook=("Quarantine the file; do not load it.",),
        first_seen=TIME,
        correlation_ids=("evt-1",),
        assignee="analyst@acme.example",
        processing=ProcessingTimes(detected_at=TIME),
    )
    # States are enumerations, as in what is read from a topic.
    return msgspec.convert(msgspec.to_builtins(view), AlertView)


def ioc(ioc_type="malicious_payload", **changes):
    kind = taxonomy().ioc_types[ioc_type]
    fields = {
        "id": "ioc-1",
        "ioc_type": ioc_type,
        "severity": Severity.CRITICAL,
        "confidence": 0.95,
        "description": "imports posix.system",
        "evidence": {"file": "pytorch_model.bin"},
        "mitre_atlas_id": kind.primary,
        "techniques": kind.techniques,
        "rule_id": "TW-EXAMPLE",
        "ssdf": kind.ssdf,
        "remediation": "Quarantine.",
        "indicator": Indicator(
            key=f"sha256:{DIGEST}",
            type="file-digest",
            value=DIGEST,
            disposition=Disposition.BLOCK,
        ),
        "component": MODEL,
        "tenant": "tenant-a",
        "event_id": "evt-1",
        "occurred_at": TIME,
        "valid_from": TIME,
        "valid_until": datetime(2027, 11, 20, tzinfo=UTC),
        "first_seen": TIME,
        "last_seen": TIME,
    }
    return SupplyChainIoC(**{**fields, **changes})


def shared(key=f"sha256:{DIGEST}", value=DIGEST, ioc_type="malicious_payload", **changes):
    return SharedIndicator(
        key=key,
        value=value,
        ioc_type=ioc_type,
        severity=Severity.CRITICAL,
        confidence=0.95,
        description="imports posix.system",
        techniques=taxonomy().ioc_types[ioc_type].techniques,
        first_seen=TIME,
        last_seen=TIME,
        **changes,
    )
