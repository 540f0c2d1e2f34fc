"""Metrics measure what their names say, and known labels are there before the first event."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from prometheus_client import REGISTRY, generate_latest

from agents.measures import AlertMeasure, CommandMeasure, FindingMeasure, ScanMeasure
from agents.triage.routing import finding_messages
from schemas.severity import Severity, Status
from streams.apps.instrumentation import count, start_at_zero
from streams.apps.topology import APPLICATIONS
from streams.engine.router import ENTERED_HEADER, entered_ms
from tests.agents.triage.stories import finding

DEPLOY = Path(__file__).resolve().parents[3] / "deploy"


def value(name: str, **labels: str) -> float:
    """Return a sample, 0 where it is not exported."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_a_finding_counts_once_whatever_its_severity_and_however_many_rows_it_is_filed_under():
    for severity in (Severity.LOW, Severity.CRITICAL):
        found = finding("malicious_payload", "a", severity=severity)
        measures = [message.measure for message in finding_messages(found)]
        assert len(measures) > 1
        counted = [measure for measure in measures if measure is not None]
        assert counted == [FindingMeasure(rule=found.rule_id, severity=severity)]


def test_the_time_to_an_alert_starts_when_its_event_entered_kafka():
    before = value("tidewatch_event_to_alert_seconds_sum", action="create")
    count(AlertMeasure(action="create"), int((time.time() - 100) * 1000))
    assert value("tidewatch_event_to_alert_seconds_sum", action="create") - before >= 100


def test_an_alert_that_only_time_or_a_person_led_to_has_no_time_from_an_event():
    before = value("tidewatch_event_to_alert_seconds_count", action="close")
    count(AlertMeasure(action="close", false_positive="TW-X"), 0)
    assert value("tidewatch_event_to_alert_seconds_count", action="close") == before
    assert value("tidewatch_false_positives_total", rule="TW-X") == 1


def test_a_scan_takes_as_long_as_the_work_and_not_as_the_queue():
    before = value("tidewatch_scan_seconds_sum", outcome=Status.PASS)
    count(ScanMeasure(outcome=Status.PASS, seconds=2.5), 1)
    assert value("tidewatch_scan_seconds_sum", outcome=Status.PASS) - before == 2.5


def test_commands_count_by_action_and_mode():
    before = value("tidewatch_commands_total", action="block", state="proposal")
    count(CommandMeasure(action="block", mode="proposal"), 0)
    assert value("tidewatch_commands_total", action="block", state="proposal") - before == 1


@pytest.mark.parametrize("name", APPLICATIONS)
def test_known_labels_start_at_zero(name):
    start_at_zero(APPLICATIONS[name])
    exported = generate_latest(REGISTRY).decode()
    for channel in APPLICATIONS[name].reads:
        assert f'tidewatch_events_in_total{{app="{name}",channel="{channel}"}}' in exported
        assert re.search(
            rf'tidewatch_dead_letters_total{{app="{name}",channel="{channel}",reason="invalid-json"}}',
            exported,
        )


class Fetched:
    """A record as aiokafka gives it, as far as its time matters."""

    timestamp = 500
    headers = ((ENTERED_HEADER, b"123"),)


def test_only_internal_topics_carry_the_time_their_event_entered():
    assert entered_ms(Fetched, internal=True) == 123
    assert entered_ms(Fetched, internal=False) == 500


def test_rules_and_exposition_pass_promtool():
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    for name in APPLICATIONS:
        start_at_zero(APPLICATIONS[name])
    rules = DEPLOY / "prometheus" / "alerts.yaml"
    subprocess.run([promtool, "check", "rules", str(rules)], check=True)
    subprocess.run([promtool, "check", "metrics"], input=generate_latest(REGISTRY), check=True)
