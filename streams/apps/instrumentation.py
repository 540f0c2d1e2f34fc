"""Counts delivered messages in the metrics, and starts known labels at zero."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from agents.domain.rules import family_rules
from agents.measures import AlertMeasure, CommandMeasure, FindingMeasure, Measure, ScanMeasure
from schemas.dead_letters import REASONS
from schemas.documents.openc2 import ACTIONS
from schemas.severity import Status
from streams import metrics
from streams.apps.topology import written_channels

if TYPE_CHECKING:
    from streams.apps.topology import Application

ACTIVITIES = ("create", "update", "close")
MODES = ("automatic", "proposal", "approved")


def count(measure: Measure, entered_ms: int) -> None:
    """Count the measure of a delivered message.

    Args:
        measure: The measure to count.
        entered_ms: When the event that caused it entered Kafka, milliseconds since the epoch;
            0 if a tick or a person caused it: then no latency is observed.
    """
    match measure:
        case FindingMeasure(rule=rule, severity=severity):
            metrics.FINDINGS.labels(rule, severity).inc()
        case AlertMeasure(action=action, false_positive=wrong):
            if entered_ms:
                seconds = max(time.time() - entered_ms / 1000, 0.0)
                metrics.ALERT_SECONDS.labels(action).observe(seconds)
            if wrong is not None:
                metrics.FALSE_POSITIVES.labels(wrong).inc()
        case CommandMeasure(action=action, mode=mode):
            metrics.COMMANDS.labels(action, mode).inc()
        case ScanMeasure(outcome=outcome, seconds=seconds):
            metrics.SCANS.labels(outcome).inc()
            metrics.SCAN_SECONDS.labels(outcome).observe(seconds)


def start_at_zero(application: Application) -> None:
    """Export every known label of an application's metrics, so `rate()` sees the first rise."""
    name = application.name
    for channel in application.reads:
        metrics.EVENTS_IN.labels(name, channel)
        for reason in REASONS:
            metrics.DEAD_LETTERS.labels(name, channel, reason)
    for channel in written_channels(application):
        metrics.EVENTS_OUT.labels(name, channel)
    for metric in (metrics.GAPS, metrics.COMMITS, metrics.TICKS, metrics.STATE_REPAIRS):
        metric.labels(name)
    for family in application.rule_families:
        for rule in family_rules(family).values():
            metrics.FINDINGS.labels(rule.id, rule.severity)
    if application.name == "incidents":
        for activity in ACTIVITIES:
            metrics.ALERT_SECONDS.labels(activity)
        for action in ACTIONS:
            for mode in MODES:
                metrics.COMMANDS.labels(action, mode)
    if application.name == "scan":
        for status in Status:
            metrics.SCANS.labels(status)
            metrics.SCAN_SECONDS.labels(status)
