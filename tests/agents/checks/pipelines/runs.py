"""Runs and their outcomes for the tests of pipeline checks."""

from __future__ import annotations

from agents.checks.pipelines import check_pipeline
from agents.domain.detection import rule_of
from schemas.severity import Severity
from tests.agents.examples import event_of, knowledge_of

COMMIT = "9d1c3f0be0c1c2b0a9f1f8f9b0a7d6c5e4f3a2b1"


def run(data, **known):
    return check_pipeline(event_of("pipelines", data), knowledge_of(known))


def status(outcome, name):
    return next(check.status for check in outcome.checks if check.name == name)


def ids(outcome):
    return {detection.rule_id for detection in outcome.detections}


def severity_of(found):
    return found.severity or rule_of(found).severity


def loud(outcome):
    """Return the rules that found something above low."""
    return {
        found.rule_id for found in outcome.detections if severity_of(found).rank > Severity.LOW.rank
    }


HERE = "https://data.acme.example/x"
