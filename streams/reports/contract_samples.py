"""One complete record of each topic, built by the code that builds them in production.

Over 500 lines, since complete records are long and refer to each other.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Final

import msgspec
import orjson

from agents import messages
from agents.ports import Message, Record
from agents.response.journal import Answered
from agents.response.outcome import OK, CommandOutcome
from agents.triage.incidents.views import finding_view
from agents.triage.routing import incident_id, incident_message, ledger_message
from schemas import dead_letters as reasons
from schemas.assessments import Assessment, AssessmentStage, Check
from schemas.basis import Basis, BasisKind
from schemas.canonical import stable_id
from schemas.channels import Channel
from schemas.cloudevents import Header, read_event
from schemas.components import component_key
from schemas.decisions import Decision, DecisionKind
from schemas.findings import Finding, Indicator, IndicatorType, SupplyChainIoC
from schemas.incidents.commands import CommandSpec, CommandView
from schemas.incidents.holds import HoldState, HoldView, ReasonState, ReasonView, ThingView
from schemas.incidents.states import (
    Action,
    Activity,
    CommandStatus,
    IncidentStatus,
    Mode,
    Occurrence,
    Pattern,
    Phase,
    TargetType,
    TaskKind,
    TaskState,
)
from schemas.incidents.updates import FindingUpdate
from schemas.incidents.views import (
    AlertView,
    IncidentDocument,
    ProcessingTimes,
    Score,
    ScoreTerm,
    SystemView,
    TaskView,
    TenantPart,
    TimelineEntry,
)
from schemas.intel import IntelFact, IntelKind
from schemas.ledger import FindingSeen, OperatorAlert
from schemas.notifications import Leg, Notification, NotificationEvent, NotificationThread, Standing
from schemas.policy import Policy, Trusted, TrustRoot
from schemas.scans import scan_request
from schemas.severity import Category, Disposition, ExposureLevel, Severity, Status
from schemas.taxonomy import taxonomy
from streams.apps.responder import result_record
from streams.kafka.dead_letters import dead_letter
from streams.reports.contract_events import (
    DIGEST,
    INSTALL,
    MODEL,
    PUSH,
    REVISION,
    RUN,
    SYSTEM,
    TENANT,
    TIME,
)
from streams.reports.signature_vectors import known_key

KIND: Final = "malicious_payload"
RULE: Final = "TW-PICKLE-DANGEROUS-CALL"
_MS: Final = int(TIME.timestamp() * 1000)
_MAX_BYTES: Final = 1 << 20


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One record as stored on the broker."""

    key: str
    headers: tuple[Header, ...]
    value: bytes


def _of(message: Message) -> Sample:
    return Sample(key=message.key, headers=tuple(message.headers), value=message.value or b"")


def samples() -> dict[Channel, Sample]:
    """Return a record of each channel; the same on every run."""
    documents = messages.StandardDocuments(known_key(1, "commands"), with_ecs=True)
    alert, alert_ecs = map(_of, documents.alert(_alert(), _MS))
    incident, shared = map(_of, documents.incident(_incident(), _MS))
    indicator, indicator_ecs = messages.IndicatorMessages(ecs=True)(_ioc())
    spec = _command()
    (command,) = documents.command(spec, _MS, proposal=False)
    asked = msgspec.structs.replace(spec, mode="proposal", attempt=1)
    (proposal,) = documents.command(asked, _MS, proposal=True)
    (hold,) = documents.hold(_hold(spec), _MS)
    (audit,) = documents.audit(_answered(spec), _MS)
    finding = _finding()
    push = read_event(orjson.dumps(PUSH), (), timestamp_ms=_MS, max_bytes=_MAX_BYTES)
    request = scan_request(push, None)
    event_of = {
        Channel.REGISTRY_PUSH: PUSH,
        Channel.PACKAGE_INSTALL: INSTALL,
        Channel.PIPELINE_RUN: RUN,
    }
    seen = FindingSeen(key=f"sha256:{DIGEST}", incident=_INCIDENT, finding=finding)
    update = FindingUpdate(incident=_INCIDENT, root=f"sha256:{DIGEST}", finding=finding)
    return {
        **{channel: _event(event) for channel, event in event_of.items()},
        Channel.INTEL: _bare(_fact().key, _fact()),
        Channel.POLICY: _bare(TENANT, _policy()),
        Channel.DECISIONS: _of(messages.decision_message(_decision(), known_key(3, "operator"))),
        Channel.CONTAINMENT_RESULTS: _triple(
            result_record(spec, _result(), known_key(4, "responder"), "serving")
        ),
        Channel.SCAN_REQUESTS: _bare(request.key, request),
        Channel.OBSERVATIONS: _of(ledger_message(seen.key, seen)),
        Channel.INCIDENT_UPDATES: _of(incident_message(_INCIDENT, update)),
        Channel.IOCS: _of(indicator),
        Channel.HYGIENE: _of(*messages.IndicatorMessages(hygiene=True)(_hygiene())),
        Channel.IOCS_ECS: _of(indicator_ecs),
        Channel.ASSESSMENTS: _of(messages.assessment_message(_assessment(), TIME)),
        Channel.ALERTS: alert,
        Channel.ALERTS_ECS: alert_ecs,
        Channel.INCIDENTS: incident,
        Channel.INTEL_SHARE: shared,
        Channel.CONTAINMENT_COMMANDS: _of(command),
        Channel.CONTAINMENT_PROPOSALS: _of(proposal),
        Channel.HOLDS: _of(hold),
        Channel.CONTAINMENT_AUDIT: _of(audit),
        Channel.OPERATOR_ALERTS: _of(messages.operator_message(_operator_alert(), messages.LEDGER)),
        Channel.NOTIFICATIONS: _notification(),
        Channel.DEAD_LETTER: _dead_letter(),
    }


def _notification() -> Sample:
    standing = Standing(
        revision=(_MS, 7),
        digest=stable_id("std", "sample"),
        title="Malicious payload: acme-labs/sentiment-base",
        why="A pushed model runs code when it is loaded. Two systems are affected.",
        severity=Severity.CRITICAL,
        status="new",
    )
    message = Notification(
        id=stable_id("ntf", "sample"),
        event=NotificationEvent.OPENED,
        at_ms=_MS,
        route="soc",
        severity=standing.severity,
        title=f"[CRITICAL] {standing.title}",
        body=f"{standing.why}\nIncident {_INCIDENT} of tenant {TENANT}.",
        tenant=TENANT,
        incident=_INCIDENT,
        status=standing.status,
        legs=(Leg(destination="soar", attempts=1, next_ms=_MS + 2000),),
    )
    thread = NotificationThread(
        route="soc",
        subject=_INCIDENT,
        tenant=TENANT,
        incident=_INCIDENT,
        now=standing,
        sent=standing,
        sent_ms=_MS,
        written=1,
        messages=(message,),
        changed_ms=_MS,
    )
    return Sample(
        key=f"default|soc|{TENANT}|{_INCIDENT}",
        headers=(("notifier", b"default"),),
        value=msgspec.json.encode(thread),
    )


def _bare(key: str, value: msgspec.Struct) -> Sample:
    return Sample(key=key, headers=(), value=msgspec.json.encode(value))


def _triple(record: tuple[bytes, bytes, Iterable[Header]]) -> Sample:
    key, value, headers = record
    return Sample(key=key.decode(), headers=tuple(headers), value=value)


def _event(event: dict[str, Any]) -> Sample:
    """Return an event in structured mode, as `tidewatch send` writes it."""
    return Sample(
        key=f"{event['tenantid']}|{event['subject']}",
        headers=(("content-type", b"application/cloudevents+json; charset=UTF-8"),),
        value=orjson.dumps(event),
    )


def _dead_letter() -> Sample:
    record = Record(
        topic="supplychain.registry-push",
        partition=2,
        offset=41,
        timestamp_ms=_MS,
        key=b"acme|model:x",
        value=b'{"specversion": "1.0", "type": "tidewatch.registry.push.v1"}',
        headers=(("content-type", b"application/cloudevents+json"),),
    )
    letter = dead_letter(
        record,
        reason=reasons.MISSING_IDENTITY,
        error="no id, source, tenantid",
        app="checks",
        limit=_MAX_BYTES,
    )
    return Sample(key=letter.key.decode(), headers=tuple(letter.headers), value=letter.value or b"")


_INCIDENT: Final = incident_id(f"sha256:{DIGEST}")
_COMMAND_ID: Final = "8f14e45f-ceea-567a-9d2b-0c1d2e3f4a5b"
_FINDING: Final = stable_id("fnd", "acme", "//huggingface/acme-labs", "5f0f6c1e-0001", RULE)
_VERIFIED: Final = Basis(kind=BasisKind.VERIFIED)
_DESCRIPTION: Final = "weights/pytorch_model.bin imports posix.system and calls it at offset 41"
_REMEDIATION: Final = "Quarantine the file; do not load it."


def _finding() -> Finding:
    kind = taxonomy().ioc_types[KIND]
    return Finding(
        id=_FINDING,
        ioc_type=KIND,
        rule_id=RULE,
        severity=Severity.CRITICAL,
        confidence=0.95,
        description=_DESCRIPTION,
        evidence={"file": "weights/pytorch_model.bin", "offset": 41, "global": "posix.system"},
        mitre_atlas_id=kind.primary,
        techniques=kind.techniques,
        ssdf=kind.ssdf,
        remediation=_REMEDIATION,
        indicator=_indicator(),
        component=MODEL,
        version=REVISION,
        tenant=TENANT,
        source="//huggingface/acme-labs",
        event_id="5f0f6c1e-0001",
        occurred_at=TIME,
        systems=(SYSTEM,),
        publisher="publisher:huggingface/acme-labs",
        basis=_VERIFIED,
    )


def _indicator() -> Indicator:
    return Indicator(
        key=component_key("sha256", DIGEST),
        type=IndicatorType.FILE_DIGEST,
        value=DIGEST,
        disposition=Disposition.BLOCK,
    )


def _ioc() -> SupplyChainIoC:
    finding = _finding()
    return SupplyChainIoC(
        id=stable_id("ioc", finding.indicator.key, TENANT, KIND),
        ioc_type=KIND,
        severity=finding.severity,
        confidence=finding.confidence,
        description=finding.description,
        evidence=finding.evidence,
        mitre_atlas_id=finding.mitre_atlas_id,
        techniques=finding.techniques,
        rule_id=RULE,
        ssdf=finding.ssdf,
        remediation=finding.remediation,
        indicator=finding.indicator,
        component=MODEL,
        tenant=TENANT,
        event_id=finding.event_id,
        occurred_at=TIME,
        revision=2,
        category=Category.COMPROMISE,
        modified=TIME + timedelta(days=1),
        valid_from=TIME,
        valid_until=TIME + timedelta(days=366),
        first_seen=TIME,
        last_seen=TIME + timedelta(days=1),
        prevalence=3,
        basis=_VERIFIED,
    )


def _hygiene() -> SupplyChainIoC:
    kind = taxonomy().ioc_types["unpinned_dependency"]
    return msgspec.structs.replace(
        _ioc(),
        id=stable_id("ioc", "pypi:requests", TENANT, "unpinned_dependency"),
        ioc_type="unpinned_dependency",
        severity=Severity.LOW,
        confidence=0.9,
        description="requests was installed without a pinned version",
        evidence={"requirement": "requests>=2"},
        mitre_atlas_id=kind.primary,
        techniques=kind.techniques,
        rule_id="TW-PKG-UNPINNED",
        ssdf=kind.ssdf,
        remediation="Pin the version, and lock it with its hash.",
        indicator=Indicator(
            key="pypi:requests",
            type=IndicatorType.PACKAGE_VERSION,
            value="requests>=2",
            disposition=Disposition.CONTEXT,
        ),
        component="pypi:requests",
        event_id="5f0f6c1e-0002",
        category=Category.HYGIENE,
        prevalence=None,
        basis=None,
    )


def _assessment() -> Assessment:
    return Assessment(
        id=stable_id("asm", TENANT, "//huggingface/acme-labs", "5f0f6c1e-0001", "scan"),
        event_id="5f0f6c1e-0001",
        tenant=TENANT,
        subject=MODEL,
        overall_status=Status.FAIL,
        contents=(
            "hf://acme-labs/sentiment-base@9d1c3f0be0c1c2b0a9f1f8f9b0a7d6c5e4f3a2b1",
            f"sha256:{DIGEST}",
        ),
        checks=(
            Check(
                name="hash_weights/pytorch_model.bin",
                status=Status.PASS,
                expected=DIGEST,
                actual=DIGEST,
            ),
            Check(
                name="scan_weights/pytorch_model.bin",
                status=Status.FAIL,
                actual="malicious",
                detail=_DESCRIPTION,
            ),
        ),
        stage=AssessmentStage.SCAN,
        source="//huggingface/acme-labs",
        findings=(_FINDING,),
        severity=Severity.CRITICAL,
        final=True,
    )


def _command() -> CommandSpec:
    return CommandSpec(
        command_id=_COMMAND_ID,
        incident=_INCIDENT,
        tenant=TENANT,
        action=Action.QUARANTINE,
        target=MODEL,
        target_type=TargetType.COMPONENT,
        version=REVISION,
        digest=DIGEST,
        after=("11111111-ceea-567a-9d2b-0c1d2e3f4a5b",),
        reason=f"{MODEL} has severe findings: see the hold of {MODEL}",
        expires=TIME + timedelta(days=1),
        undo=Action.RESTORE,
        mode=Mode.AUTOMATIC,
        dry_run=False,
        hold=MODEL,
    )


def _answered(spec: CommandSpec) -> CommandView:
    return CommandView(
        spec=spec, state=CommandStatus.DONE, status=OK, status_text="moved to the quarantine"
    )


def _result() -> Answered:
    return Answered(
        at=TIME + timedelta(seconds=9),
        outcome=CommandOutcome(
            status=OK,
            status_text="moved to the quarantine",
            results={"changed": True, "moved_to": "/evidence/quarantine/20261120"},
        ),
        dry_run=False,
    )


def _hold(spec: CommandSpec) -> HoldView:
    return HoldView(
        tenant=TENANT,
        component=MODEL,
        things=(
            ThingView(
                action=Action.QUARANTINE,
                target=spec.target,
                state=HoldState.HELD,
                generation=0,
                reasons=(ReasonView(incident=_INCIDENT, state=ReasonState.AUTOMATIC),),
                command=spec,
                status=OK,
                status_text="moved to the quarantine",
            ),
        ),
        suspected=(DIGEST, f"@{REVISION}"),
    )


def _score() -> Score:
    return Score(
        value=88,
        band=Severity.CRITICAL,
        terms=(ScoreTerm(name="indicators", value=0.9, points=36.0, why="one kind of indicator"),),
    )


def _system() -> SystemView:
    return SystemView(
        tenant=TENANT,
        system=SYSTEM,
        component=MODEL,
        exposure=ExposureLevel.SERVING,
        since=TIME,
        version=REVISION,
        digest=DIGEST,
        path=(MODEL,),
    )


def _task() -> TaskView:
    return TaskView(
        id="tsk-1",
        tenant=TENANT,
        system=SYSTEM,
        component=MODEL,
        kind=TaskKind.REPLACE,
        state=TaskState.OPEN,
        text="Replace the model by a verified version.",
    )


def _timeline() -> tuple[TimelineEntry, ...]:
    return (
        TimelineEntry(
            at=TIME, what=Occurrence.FOUND, text=_DESCRIPTION, tenant=TENANT, ref=_FINDING
        ),
        TimelineEntry(
            at=TIME, what=Occurrence.EXPOSED, text="serves it", tenant=TENANT, system=SYSTEM
        ),
    )


def _alert() -> AlertView:
    finding = finding_view(_finding(), active=True)
    return AlertView(
        id=stable_id("alt", _INCIDENT, TENANT),
        incident=_INCIDENT,
        tenant=TENANT,
        activity=Activity.CREATE,
        status=IncidentStatus.NEW,
        phase=Phase.CONTAINMENT,
        title="Malicious payload in acme-labs/sentiment-base",
        message="A pushed model runs code when it is loaded. One system serves it.",
        score=_score(),
        pattern=Pattern.PATTERN,
        pattern_why="the same digest in at least 3 organisations",
        other_tenants=3,
        root=finding.indicator_key,
        findings=(finding,),
        systems=(_system(),),
        system_count=1,
        timeline=_timeline(),
        commands=(CommandView(spec=_command(), state=CommandStatus.ISSUED),),
        tasks=(_task(),),
        techniques=finding.techniques,
        ssdf=finding.ssdf,
        next_action=f"Replace the model on {SYSTEM}.",
        runbook=(_REMEDIATION,),
        assignee="analyst@acme.example",
        first_seen=TIME,
        correlation_ids=("5f0f6c1e-0001",),
        processing=ProcessingTimes(detected_at=TIME),
    )


def _incident() -> IncidentDocument:
    alert = _alert()
    return IncidentDocument(
        id=_INCIDENT,
        root=alert.root,
        title=alert.title,
        status=IncidentStatus.CONTAINED,
        phase=Phase.INVESTIGATION,
        score=alert.score,
        pattern=alert.pattern,
        pattern_why=alert.pattern_why,
        tenants=(
            TenantPart(
                tenant=TENANT, score=alert.score, status=IncidentStatus.CONTAINED, systems=1
            ),
        ),
        tenant_count=3,
        organisations=3,
        findings=alert.findings,
        systems=alert.systems,
        system_count=1,
        timeline=alert.timeline,
        commands=(_answered(_command()),),
        tasks=alert.tasks,
        related=(),
        publishers=("publisher:huggingface/acme-labs",),
        techniques=alert.techniques,
        ssdf=alert.ssdf,
        next_action=alert.next_action,
        first_seen=TIME,
        shared=True,
        processing=ProcessingTimes(
            detected_at=TIME,
            contained_at=TIME + timedelta(seconds=9),
            seconds_to_detect=2.5,
            seconds_to_contain=9.0,
        ),
    )


def _fact() -> IntelFact:
    return IntelFact(
        key="pypi:litellm",
        kind=IntelKind.COMPROMISED,
        versions=("1.82.7", "1.82.8"),
        digests=(DIGEST,),
        sources=("OSV:MAL-2026-90001",),
        modified=TIME,
        summary="The releases carry a credential stealer.",
    )


def _policy() -> Policy:
    return Policy(
        tenant=TENANT,
        version=3,
        trusted=Trusted(data_hosts=("data.acme.example",), registries=("huggingface",)),
        roots=("hf://acme-labs",),
        automatic=("capture-evidence", "quarantine"),
        dry_run=False,
        required_checks=("hash", "signature"),
        trust_roots=(
            TrustRoot(
                signer="sigstore:releases@acme.example https://accounts.acme.example",
                namespaces=("model:huggingface/acme-labs/*",),
            ),
        ),
    )


def _decision() -> Decision:
    return Decision(
        id="dec-2026-11-20-1",
        incident=_INCIDENT,
        tenant=TENANT,
        actor="analyst@acme.example",
        decision=DecisionKind.APPROVE,
        reason="confirmed with the model's owner",
        time=TIME + timedelta(minutes=5),
        target=_COMMAND_ID,
    )


def _operator_alert() -> OperatorAlert:
    return OperatorAlert(
        id=stable_id("opa", "source-silent", "//ci/runner-7"),
        kind="source-silent",
        subject="//ci/runner-7",
        detail="nothing was heard of it for 2 hours; it used to send every 5 minutes",
        tenant=TENANT,
        since=TIME,
        runbook="Ask its owner whether it is meant to be off.",
        figures={"hours": 2.0},
    )
