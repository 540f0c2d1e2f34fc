"""A policy's suppressions silence findings of every kind of event, and no check."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from schemas.severity import Status
from tests.agents.examples import TENANT, event_of, knowledge_of

DIGEST = "a" * 64
KINDS: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "packages": (
        "agents.checks.packages.check",
        "check_packages",
        {
            "packages": [{"name": "torch", "version": "2.9.0", "hashes": {"sha256": DIGEST}}],
            "lock": {"torch==2.9.0": ["sha256:" + "b" * 64]},
        },
        "TW-PKG-HASH-MISMATCH",
    ),
    "pipelines": (
        "agents.checks.pipelines",
        "check_pipeline",
        {"data_sources": [{"url": "http://data.example/set.csv"}]},
        "TW-PIPE-INSECURE-SOURCE",
    ),
    "provenance": (
        "tests.agents.examples",
        "check_pushed",
        {"files": [{"path": "m.safetensors"}]},
        "TW-PROV-UNSIGNED",
    ),
}


def outcome_of(kind: str, *suppressions: dict[str, str]) -> tuple[set[str], list[Status]]:
    """Return the rules reported and the statuses of the checks under a policy."""
    module, name, data, _ = KINDS[kind]
    event = event_of(kind, data)
    entries = [
        {"reason": "known", "expires": "2999-01-01", **suppression} for suppression in suppressions
    ]
    knowledge = knowledge_of({"policy": {"suppressions": entries}})
    assert knowledge.policy(TENANT).tenant == TENANT
    outcome = getattr(importlib.import_module(module), name)(event, knowledge)
    return {found.rule_id for found in outcome.detections}, [c.status for c in outcome.checks]


@pytest.mark.parametrize("kind", KINDS)
def test_a_suppressed_rule_is_not_reported_and_its_check_keeps_its_status(kind: str) -> None:
    rule = KINDS[kind][3]
    reported, statuses = outcome_of(kind)
    assert rule in reported
    silenced, same = outcome_of(kind, {"rule_id": rule})
    assert silenced == reported - {rule}
    assert same == statuses


@pytest.mark.parametrize("kind", KINDS)
def test_a_suppression_that_has_ended_silences_nothing(kind: str) -> None:
    reported, _ = outcome_of(kind)
    assert outcome_of(kind, {"rule_id": KINDS[kind][3], "expires": "2020-01-01"})[0] == reported


def test_a_digest_that_is_the_indicator_is_suppressed() -> None:
    reported, _ = outcome_of("packages", {"digest": DIGEST})
    assert "TW-PKG-HASH-MISMATCH" not in reported
    other, _ = outcome_of("packages", {"digest": "c" * 64})
    assert "TW-PKG-HASH-MISMATCH" in other
