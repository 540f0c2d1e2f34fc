"""Requirement files, lock files and pipeline definitions: the findings their events would give."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
import orjson

from agents.checks.packages.check import check_packages
from agents.checks.pipelines.check import check_pipeline
from agents.checks.provenance.push import check_push
from agents.domain.detection import Outcome
from agents.domain.knowledge import Knowledge
from schemas.errors import TidewatchError
from schemas.events import (
    TYPE_PACKAGE_INSTALL,
    TYPE_PIPELINE_RUN,
    Event,
    PipelineRun,
)
from schemas.severity import Severity, Status, Verdict, worst
from streams.adapters import ADAPTERS, adapt
from streams.reports.entries import FileEntry, finding_entry
from streams.scanning.targets import LOCAL_TENANT

_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""Nothing in these checks asks for the time of a file; the same file gives the same findings."""


def check_manifest(path: Path, kind: str, knowledge: Knowledge) -> FileEntry:
    """Return what the checks say of a manifest: the same as of the event it would become.

    Args:
        path: The file.
        kind: As `manifest_kind` tells.
        knowledge: Intelligence at hand, and the policy of `local`.

    Raises:
        TidewatchError: it can't be read as its kind.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise TidewatchError(f"can't be read ({error.strerror})", where=str(path)) from error
    events = [_pipeline(path, raw)] if kind == "pipeline-config" else _events(path, kind, raw)
    outcomes = [_check(event, knowledge) for event in events]
    detections = {
        (found.rule_id, found.locator): found for one in outcomes for found in one.detections
    }
    checks = [check for one in outcomes for check in one.checks]
    findings = tuple(finding_entry(found) for found in detections.values())
    reasons = tuple(
        f"{check.name}: {check.detail or 'incomplete'}"
        for check in checks
        if check.status is Status.INCOMPLETE
    )
    return FileEntry(
        path=str(path),
        format=kind,
        size=len(raw),
        verdict=_verdict(findings, worst(check.status for check in checks)),
        findings=findings,
        reasons=reasons,
    )


def _verdict(findings: tuple[Any, ...], status: Status) -> Verdict:
    rank = max((finding.severity.rank for finding in findings), default=0)
    if rank >= Severity.CRITICAL.rank:
        return Verdict.MALICIOUS
    if status is Status.INCOMPLETE:
        return Verdict.INCOMPLETE
    return Verdict.SUSPICIOUS if rank >= Severity.MEDIUM.rank else Verdict.CLEAN


def _events(path: Path, kind: str, raw: bytes) -> list[Event[Any]]:
    if kind not in ADAPTERS:
        raise TidewatchError(f"no adapter reads {kind}", where=str(path))
    return adapt(
        kind,
        raw,
        tenant=LOCAL_TENANT,
        source="//local",
        system="local",
        time=_EPOCH,
    )


def _pipeline(path: Path, raw: bytes) -> Event[PipelineRun]:
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise TidewatchError("not JSON", where=str(path), remedy=str(error)) from error
    if "config" in document and isinstance(document["config"], dict):
        run = msgspec.json.decode(raw, type=PipelineRun)
    else:
        run = PipelineRun(config=msgspec.Raw(raw))
    if run.pipeline is None:
        run = msgspec.structs.replace(run, pipeline=path.stem)
    return Event(
        id=path.name,
        source="//local",
        type=TYPE_PIPELINE_RUN,
        subject=f"pipeline:{run.pipeline}",
        time=_EPOCH,
        tenantid=LOCAL_TENANT,
        data=run,
    )


def _check(event: Event[Any], knowledge: Knowledge) -> Outcome:
    if event.type == TYPE_PACKAGE_INSTALL:
        return check_packages(event, knowledge)
    if event.type == TYPE_PIPELINE_RUN:
        return check_pipeline(event, knowledge)
    return check_push(event, knowledge)
