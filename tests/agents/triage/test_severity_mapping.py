"""Severities are at least those promised of each kind of indicator, or say why they are lower."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from agents.domain.rules import RULES, InvalidRuleError, load_rule
from schemas.taxonomy import taxonomy

PROMISED = tomllib.loads((Path(__file__).parent / "indicator_kinds.toml").read_text())


def test_no_kind_of_indicator_weighs_less_than_the_mapping_says_without_a_reason():
    kinds = taxonomy().ioc_types
    assert len(PROMISED) == 28
    assert set(PROMISED) <= set(kinds)
    for name, said in PROMISED.items():
        kind = kinds[name]
        assert kind.base_severity >= said["base_severity"] or kind.reason, name
        assert kind.primary == said["primary"], name
        assert set(kind.techniques) >= {said["primary"], *said["further"]}, name
        assert set(kind.mitigations) >= set(said["mitigations"]), name
        assert set(kind.ssdf) >= set(said["ssdf"]), name


def test_a_severity_without_a_reason_is_not_loaded():
    text = (RULES / "artifacts" / "archives" / "tw-archive-link.toml").read_text()
    rule = load_rule(text, "test.toml")
    assert rule.severity.rank < taxonomy().ioc_types[rule.ioc_type].severity.rank
    for line in text.splitlines():
        if line.startswith("severity_reason"):
            without = text.replace(line + "\n", "")
            empty = text.replace(line, 'severity_reason = ""')
    for changed in (without, empty):
        with pytest.raises(InvalidRuleError):
            load_rule(changed, "test.toml")
