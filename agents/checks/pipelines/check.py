"""The check of a pipeline run: its data sources, configuration, behaviour, code and lineage."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

import msgspec

from agents.checks.pipelines.config_checks import (
    RunConfig,
    check_hash,
    check_secrets,
    check_settings,
    read_run_config,
)
from agents.checks.pipelines.configuration import UnreadableConfigError
from agents.checks.pipelines.intel_check import check_intel
from agents.checks.pipelines.lineage import Lineage, run_lineage
from agents.checks.pipelines.reference_checks import (
    check_behaviour,
    check_blocked_inputs,
    check_digests,
    check_pins,
    check_synthetic,
)
from agents.checks.pipelines.source_checks import check_blocked_sources, check_source
from agents.checks.pipelines.sources import config_sources, implied_sources, run_sources
from agents.checks.pipelines.subject import RunSubject, run_subject
from agents.checks.suppressing import unsuppressed
from agents.domain.check_names import CheckName
from agents.domain.detection import Detection, Outcome
from agents.domain.knowledge import Knowledge
from agents.domain.rules import rule_named
from schemas.assessments import Check
from schemas.counting import counted
from schemas.events import DataSource, Event, PipelineRun
from schemas.severity import Severity, Status, worst

MAX_DETECTIONS: Final = 500
_CHECKS: Final = (
    CheckName.DATA_SOURCES,
    CheckName.BLOCKED_SOURCES,
    CheckName.CONFIG_INTEGRITY,
    CheckName.DATA_INTEGRITY,
    CheckName.BEHAVIOUR,
    CheckName.REMOTE_CODE,
    CheckName.SECRETS,
)
"""The checks of a run, in the order of its assessment; each rule names its check."""
_OF_CONFIG: Final = frozenset(
    {CheckName.CONFIG_INTEGRITY, CheckName.REMOTE_CODE, CheckName.SECRETS}
)


def check_pipeline(event: Event[PipelineRun], knowledge: Knowledge) -> Outcome:
    """Return the results of the checks of a pipeline run.

    Findings from intel are the ledger's; here a match only fails the `intel` check.

    Args:
        event: The run.
        knowledge: Intel facts, and the tenant's policy.

    Source: the response procedure's `check_training_pipeline_integrity` for data sources and the
    configuration's hash; MITRE ATLAS AML.T0010.002, AML.T0020.
    """
    return check_run(run_subject(event, knowledge.policy(event.tenantid)), knowledge)


def check_run(subject: RunSubject, knowledge: Knowledge) -> Outcome:
    """Check a run whose subject has been computed, as `check_pipeline` does."""
    event, policy = subject.event, subject.policy
    config = read_run_config(event.data)
    reported = [
        msgspec.structs.replace(source, url=source.url.strip())
        for source in event.data.data_sources
    ]
    incomplete: dict[str, list[str]] = defaultdict(list)
    implied: list[DataSource] = []
    try:
        implied = implied_sources(config.value)
    except UnreadableConfigError as error:
        incomplete[CheckName.DATA_SOURCES].append(error.what)
    sources, sources_left_out = run_sources(config_sources(config.value), reported, implied)
    if config.problem:
        for name in (CheckName.DATA_SOURCES, *sorted(_OF_CONFIG)):
            incomplete[name].append(config.problem)
    if sources_left_out:
        incomplete[CheckName.DATA_SOURCES].append(f"{sources_left_out} sources beyond the limit")

    found: list[Detection] = []
    for source in sources:
        found.extend(check_source(source, event, policy))
    found.extend(check_blocked_sources(event, sources, policy))
    found.extend(check_blocked_inputs(subject))
    found.extend(check_hash(subject, config))
    found.extend(check_digests(subject))
    found.extend(check_settings(subject, config, incomplete))
    found.extend(check_pins(subject))
    found.extend(check_secrets(subject, config, incomplete))
    changed = any(
        d.rule_id
        in {"TW-PIPE-CONTENT-CHANGED", "TW-PIPE-DIGEST-CONFLICT", "TW-PIPE-CONFIG-TAMPERED"}
        for d in found
    )
    found.extend(check_behaviour(subject, sources, inputs_changed=changed))
    found.extend(check_synthetic(subject))
    found = _once(found)
    if len(found) > MAX_DETECTIONS:
        incomplete[CheckName.DATA_SOURCES].append(
            f"{counted(len(found) - MAX_DETECTIONS, 'finding')} "
            f"beyond the limit of {MAX_DETECTIONS}"
        )
        found = sorted(found, key=lambda d: -_severity(d).rank)[:MAX_DETECTIONS]

    lineage = run_lineage(
        subject,
        sources,
        config_digest=config.digest,
        is_baseline=not event.data.expected_config_hash,
    )
    checks = [
        *_checks(found, incomplete, config),
        check_intel(subject, sources, knowledge),
        _lineage(lineage),
    ]
    return Outcome(
        checks=tuple(checks),
        detections=unsuppressed(found, policy.suppressions, event.time.date()),
        sightings=lineage.sightings,
    )


def _severity(detection: Detection) -> Severity:
    return detection.severity or rule_named(detection.rule_id).severity


def _once(found: list[Detection]) -> list[Detection]:
    return list({(d.rule_id, d.locator): d for d in reversed(found)}.values())[::-1]


def _checks(
    found: list[Detection], incomplete: dict[str, list[str]], config: RunConfig
) -> Iterator[Check]:
    by_check: dict[str, list[Detection]] = defaultdict(list)
    for detection in found:
        by_check[rule_named(detection.rule_id).check].append(detection)
    for name in _CHECKS:
        mine = by_check[name]
        statuses = [_status(_severity(detection)) for detection in mine]
        if incomplete.get(name):
            statuses.append(Status.INCOMPLETE)
        detail = [*dict.fromkeys(d.rule_id for d in mine), *incomplete.get(name, ())]
        tampering = next((d for d in mine if d.rule_id == "TW-PIPE-CONFIG-TAMPERED"), None)
        yield Check(
            name=name,
            status=worst(statuses),
            expected=tampering.evidence["expected"] if tampering else None,
            actual=config.digest if name == CheckName.CONFIG_INTEGRITY else None,
            detail="; ".join(detail)[:500] or None,
        )


def _status(severity: Severity) -> Status:
    return Status.FAIL if severity.rank >= Severity.HIGH.rank else Status.WARN


def _lineage(lineage: Lineage) -> Check:
    problems = [f"no component: {name}" for name in lineage.unreadable[:10]]
    if lineage.left_out:
        problems.append(f"{lineage.left_out} sightings or parents beyond the limit")
    return Check(
        name=CheckName.LINEAGE,
        status=Status.INCOMPLETE if problems else Status.PASS,
        detail="; ".join(problems)[:500] or None,
    )
