"""Every rule of every family holds to its examples: hits are met, misses are not."""

from __future__ import annotations

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

import agents
from agents.domain.check_names import CheckName
from agents.domain.rules import (
    RULES,
    ConditionKind,
    Example,
    InvalidRuleError,
    Rule,
    all_rules,
    families,
    family_of,
    family_rules,
    index_rules,
    load_rule,
    rule_named,
)
from agents.triage.correlation import FAMILIES as CORRELATED
from agents.triage.correlation import correlations, for_fact, of_kind
from schemas.taxonomy import taxonomy
from tests.agents.checks.artifacts.examples import SAMPLES
from tests.agents.examples import run_example
from tests.at_once import assert_survives_threads
from tests.each import each

CODE = Path(agents.__path__[0])
FAMILIES = tuple(family for family in families() if family not in CORRELATED)
"""Those of the checks; correlation rules are tried in the tests of triage."""
REGISTRIES = re.compile("|".join((r"huggingface\.co", "pypi" + r"\.org", "python" + "hosted")))
"""Hosts of registries, which no text of a rule names."""


def _cases(kind: str) -> list[object]:
    return [
        pytest.param(family, rule, example, id=f"{rule.id}: {example.title}")
        for family in FAMILIES
        for rule in family_rules(family).values()
        for example in getattr(rule.examples, kind)
    ]


@each(("family", "rule", "example"), lambda: _cases("hit"))
def test_a_hit_is_met(family: str, rule: Rule, example: Example):
    assert rule.id in run_example(family, example.given)


@each(("family", "rule", "example"), lambda: _cases("miss"))
def test_a_miss_is_not_met(family: str, rule: Rule, example: Example):
    assert rule.id not in run_example(family, example.given)


def test_each_rule_has_a_file_of_its_name_and_both_kinds_of_example():
    rules = all_rules()
    assert len(rules) > 200
    for path in RULES.rglob("*.toml"):
        rule = rules[path.stem.upper()]
        assert path.name == f"{rule.id.lower()}.toml"
        assert family_of(rule.id) == path.parent.relative_to(RULES).as_posix()
        assert rule.examples.hit, rule.id
        assert rule.examples.miss, rule.id


def test_practices_are_those_of_the_taxonomy():
    practices = {practice for kind in taxonomy().ioc_types.values() for practice in kind.ssdf}
    for rule in all_rules().values():
        assert set(rule.ssdf) <= practices, rule.id


@pytest.mark.parametrize("field", ["title", "description", "severity_reason", "triage"])
def test_no_two_rules_share_a_text_that_says_what_they_are(field: str):
    texts = Counter(str(getattr(rule, field)) for rule in all_rules().values())
    shared = [text for text, count in texts.items() if count > 1]
    # The reason for a severity may be the same where the effect of two rules is.
    assert field == "severity_reason" or not shared
    assert len(shared) < len(texts) / 10


def test_each_first_step_of_triage_belongs_to_its_rule():
    steps = Counter(rule.remediation for rule in all_rules().values())
    assert [step for step, count in steps.items() if count > 1] == []


def test_texts_name_no_registry():
    for rule in all_rules().values():
        reported = (rule.description, rule.severity_reason, rule.confidence_reason)
        for text in (*reported, *rule.false_positives, *rule.triage, *rule.references):
            assert not REGISTRIES.search(text), rule.id


@cache
def _named_in_code() -> frozenset[str]:
    """Return the ids of rules that the code writes out, also those joined of two parts."""
    found: set[str] = set()
    for path in CODE.rglob("*.py"):
        text = path.read_text()
        # parsing takes long
        for node in ast.walk(ast.parse(text)) if "TW-" in text else ():
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found |= set(re.findall(r"\bTW-[A-Z0-9]+(?:-[A-Z0-9]+)+\b", node.value))
    return frozenset(found)


def test_each_rule_that_code_names_exists():
    assert _named_in_code() <= set(all_rules())


def test_each_rule_is_named_in_code_or_has_a_condition():
    named = _named_in_code() | {"TW-PKG-COMBOSQUAT-SIGNAL"}  # its id is joined of two parts
    idle = [rule.id for rule in all_rules().values() if rule.id not in named and not rule.when]
    assert idle == []
    assert set(correlations()) == {rule.id for rule in all_rules().values() if rule.when}


def test_each_check_that_a_rule_feeds_has_a_name():
    fed = {rule.check.partition("_<")[0] for rule in all_rules().values()} - {"ledger"}
    assert fed <= set(CheckName)


def test_each_sample_is_used_and_each_one_named_exists():
    used = {
        example.given["sample"]
        for rule in all_rules().values()
        for example in (*rule.examples.hit, *rule.examples.miss)
        if isinstance(example.given, dict) and "sample" in example.given
    }
    assert used == {path.name for path in SAMPLES.iterdir()}


def test_facts_have_one_narrowest_rule():
    facts = of_kind(ConditionKind.FACT)
    for kind in {kind for fact in facts for kind in fact.when.kinds}:
        for prefix in {prefix for fact in facts for prefix in fact.when.prefixes}:
            fitting = [
                len(fact.when.prefixes)
                for fact in facts
                if kind in fact.when.kinds and prefix in fact.when.prefixes
            ]
            assert fitting.count(min(fitting, default=0)) == bool(fitting), (kind, prefix)
    found = for_fact("malicious", "pypi")
    assert found is not None
    assert found.rule.id == "TW-INTEL-PACKAGE"


TEXT = (RULES / "artifacts" / "pickle" / "tw-pickle-frame.toml").read_text()


def test_a_rule_is_read_whole():
    rule = load_rule(TEXT, "frame.toml")
    assert rule == rule_named("TW-PICKLE-FRAME")
    assert rule.remediation == rule.triage[0]


@each(
    ("old", "new"),
    [
        ("confidence = ", "certainty = 1.0\nconfidence = "),
        ('severity = "critical"', 'severity = "terrible"'),
        ("severity_reason = ", "# severity_reason = "),
        ('check = "scan"', 'check = "A B"'),
        ("confidence = 0.95", "confidence = 1.5"),
        ('ioc_type = "malicious_payload"', 'ioc_type = "unknown_kind"'),
        ('atlas = "AML.T0018.002"', 'atlas = "AML.T9999"'),
        ("created = 2026", "created = 2099"),
        ("[[examples.miss]]", "[[examples.hit]]"),
        ('"CWE-502"', '"see the advisory"'),
        ('id = "TW-PICKLE-FRAME"', 'id = "TW-PICKLE-FRAME'),
        ("The pickle's protocol 4", "x" * 3000),
    ],
)
def test_a_rule_file_that_says_something_else_is_refused(old: str, new: str):
    assert old in TEXT
    with pytest.raises(InvalidRuleError, match=r"frame\.toml"):
        load_rule(TEXT.replace(old, new), "frame.toml")


def test_an_id_in_two_families_is_refused(tmp_path: Path):
    for family in ("one", "two"):
        (tmp_path / family).mkdir()
        (tmp_path / family / "tw-a-b.toml").touch()
    with pytest.raises(InvalidRuleError, match="two families"):
        index_rules(tmp_path)


def test_an_unknown_rule_is_no_rule():
    with pytest.raises(KeyError):
        rule_named("TW-NO-SUCH")


FIRST_RULES = """
from agents.domain.rules import RULES, rule_named
items = sorted(path.stem.upper() for path in RULES.rglob("*.toml"))[:16]
"""


def test_threads_that_need_their_first_rules_at_once_get_them():
    assert_survives_threads(FIRST_RULES, "assert rule_named(item).id == item")
