"""Every rule of every family holds to its examples: hits are met, misses are not."""

from __future__ import annotations

import pytest

from agents.domain.rules import FAMILIES, Example, Rule, all_rules, family_rules
from schemas.errors import TidewatchError
from schemas.taxonomy import taxonomy
from tests.agents.examples import run_example


def _rules(family: str) -> dict[str, Rule]:
    try:
        return family_rules(family)
    except (OSError, TidewatchError):
        # Shown by the test of the family, which must fail alone and not the collection of all.
        return {}


def _cases(kind: str) -> list[object]:
    return [
        pytest.param(family, rule, example, id=f"{rule.id}: {example.title}")
        for family in FAMILIES
        for rule in _rules(family).values()
        for example in getattr(rule.examples, kind)
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_each_rule_of_a_family_has_both_kinds_of_example(family):
    rules = family_rules(family)
    assert rules, f"{family} has no rules"
    bare = [rule.id for rule in rules.values() if not (rule.examples.hit and rule.examples.miss)]
    assert not bare


@pytest.mark.parametrize(("family", "rule", "example"), _cases("hit"))
def test_a_hit_is_met(family: str, rule: Rule, example: Example):
    assert rule.id in run_example(family, example.given)


@pytest.mark.parametrize(("family", "rule", "example"), _cases("miss"))
def test_a_miss_is_not_met(family: str, rule: Rule, example: Example):
    assert rule.id not in run_example(family, example.given)


def test_ids_are_unique_and_techniques_are_those_of_the_taxonomy():
    known = taxonomy().techniques
    for rule in all_rules().values():
        assert rule.atlas in known, rule.id
        assert set(rule.all_techniques) <= set(known), rule.id
        assert rule.runbook.endswith("."), rule.id
