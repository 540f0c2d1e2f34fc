"""The replays are sound: readable, the same each time, and their own checks see what they show."""

from __future__ import annotations

import hashlib
from urllib.parse import unquote, urlsplit

import msgspec
import orjson
import pytest

from agents.checks.packages.check import check_packages
from agents.checks.pipelines import check_pipeline
from agents.domain.knowledge import MemoryKnowledge
from agents.domain.rules import family_rules
from schemas.cloudevents import read_event
from schemas.events import PipelineRun, RegistryPush
from schemas.severity import Severity
from schemas.taxonomy import taxonomy
from streams.demo import facts, policies, story
from tests.agents.examples import check_pushed
from tests.scenarios.expectation import SCENARIOS, documents, load
from tests.scenarios.parameters import EACH

NOW_MS = 1_795_000_000_000


def severities(events, knowledge):
    """Yield tenant, kind of indicator and severity of what the quick checks find."""
    for event in events:
        if isinstance(event.data, PipelineRun):
            family, outcome = "pipelines", check_pipeline(event, knowledge)
        elif isinstance(event.data, RegistryPush):
            family, outcome = "provenance", check_pushed(event, knowledge)
        else:
            family, outcome = "packages", check_packages(event, knowledge)
        for detection in outcome.detections:
            rule = family_rules(family)[detection.rule_id]
            yield event.tenantid, rule.ioc_type, detection.severity or rule.severity


def knowledge_of(scenario_policies, scenario_facts):
    knowledge = MemoryKnowledge()
    for policy in scenario_policies:
        knowledge.set_policy(policy.tenant, policy)
    for fact in scenario_facts:
        knowledge.set_fact(fact.key, fact)
    return knowledge


@pytest.mark.parametrize("name", EACH)
def test_a_scenario_is_readable_whole_and_the_same_each_time(name, tmp_path):
    scenario = load(name)
    first = documents(scenario, tmp_path)
    assert first == documents(scenario, tmp_path)
    assert len({document["id"] for document in first}) == len(first)
    times = [document["time"] for document in first]
    assert times == sorted(times)
    tenants = set()
    for document in first:
        event = read_event(orjson.dumps(document), (), timestamp_ms=NOW_MS, max_bytes=1 << 20)
        tenants.add(event.tenantid)
        if isinstance(event.data, RegistryPush):
            for file in event.data.files:
                path = unquote(urlsplit(file.uri).path)
                with open(path, "rb") as opened:  # noqa: PTH123 -- a path out of a URI
                    content = opened.read()
                assert hashlib.sha256(content).hexdigest() == file.digests["sha256"]
    expected = scenario.expected
    assert {alert.tenant for alert in expected.alerts} | set(expected.quiet) <= tenants
    assert not {alert.tenant for alert in expected.alerts} & set(expected.quiet)
    assert {policy.tenant for policy in scenario.policies(tmp_path)} <= tenants
    for alert in expected.alerts:
        assert alert.any_of <= set(taxonomy().ioc_types)
    for fact in scenario.intel():
        assert msgspec.json.decode(msgspec.json.encode(fact), type=type(fact)) == fact


def test_no_tenant_is_in_two_scenarios(tmp_path):
    whose = {}
    for name in SCENARIOS:
        for event in load(name).events(tmp_path / name):
            assert whose.setdefault(event.tenantid, name) == name


@pytest.mark.parametrize("name", EACH)
def test_tenants_that_must_stay_quiet_have_no_finding_above_low(name, tmp_path):
    scenario = load(name)
    known = knowledge_of(scenario.policies(tmp_path), scenario.intel())
    loud = {
        (tenant, kind)
        for tenant, kind, severity in severities(scenario.events(tmp_path), known)
        if tenant in scenario.expected.quiet and severity.rank > Severity.LOW.rank
    }
    assert not loud


def test_dependency_confusion_is_seen_where_the_policy_names_the_internal_package(tmp_path):
    scenario = load("torchtriton")
    known = knowledge_of(scenario.policies(tmp_path), ())
    found = set(severities(scenario.events(tmp_path), known))
    assert ("vision", "dependency_confusion", Severity.CRITICAL) in found


def test_the_leaked_configuration_is_seen_in_the_runs_themselves(tmp_path):
    scenario = load("leaked_config")
    known = knowledge_of(scenario.policies(tmp_path), scenario.intel())
    kinds = {kind for _, kind, _ in severities(scenario.events(tmp_path), known)}
    assert {"secret_exposure", "config_tampering", "source_mismatch"} <= kinds
    assert {"behaviour_regression", "remote_code"} <= kinds


def test_the_story_has_ordinary_work_and_its_attacks(tmp_path):
    events = list(story(tmp_path))
    assert 200 <= len(events) <= 2_000
    assert [event.id for event in events] == [event.id for event in story(tmp_path)]
    known = knowledge_of(policies(tmp_path), facts())
    found = {
        (tenant, kind)
        for tenant, kind, severity in severities(events, known)
        if severity.rank > Severity.LOW.rank
    }
    assert ("acme", "config_tampering") in found
    assert ("acme", "source_mismatch") in found
    assert {tenant for tenant, _ in found} <= {"acme", "northwind", "globex", "initech", "umbra"}
    hostile = {event.tenantid for event in events if "speedy-llm" in event.subject}
    assert len(hostile) == 3
