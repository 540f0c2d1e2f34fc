"""Each scenario, played through checks, scans, ledger and incidents, gives what must come out."""

from __future__ import annotations

import pytest

from schemas.severity import Severity
from streams.demo import facts, policies, story
from tests.scenarios.expectation import SCENARIOS, Expected, Scenario, load
from tests.scenarios.parameters import EACH
from tests.scenarios.replay import Replay


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    replays = {}

    def play(name):
        if name not in replays:
            replays[name] = Replay(load(name), tmp_path_factory.mktemp(name))
        return replays[name]

    return play


def keys_of(view):
    """Return every key an alert is about, with and without a version."""
    found = {view.root}
    for finding in view.findings:
        found |= {finding.component, finding.indicator_key}
        found.add(f"{finding.component}@{finding.version}")
    return found


def matching(views, wanted):
    return [
        view
        for view in views
        if keys_of(view) & wanted.about
        and {finding.ioc_type for finding in view.findings} & wanted.any_of
    ]


@pytest.mark.parametrize("name", EACH)
def test_expected_alerts_are_raised_at_the_expected_severity(name, played):
    replay, expected = played(name), load(name).expected
    for wanted in expected.alerts:
        views = matching(replay.alerts(wanted.tenant), wanted)
        assert views, f"no alert for {wanted.tenant}"
        assert max(view.score.band.rank for view in views) >= Severity.MEDIUM.rank
        worst = max(
            (finding.severity for view in views for finding in view.findings),
            key=lambda severity: severity.rank,
        )
        assert worst.rank >= wanted.at_least.rank


@pytest.mark.parametrize("name", EACH)
def test_quiet_tenants_get_no_alert_above_low(name, played):
    replay = played(name)
    loud = [
        (tenant, view.root, view.score.value)
        for tenant in load(name).expected.quiet
        for view in replay.alerts(tenant)
        if view.score.band.rank > Severity.LOW.rank
    ]
    assert not loud


@pytest.mark.parametrize("name", EACH)
def test_no_tenant_gets_a_storm_and_none_reads_of_another(name, played):
    replay = played(name)
    tenants = {tenant for _, tenant in replay.flow.alerts}
    for tenant in tenants:
        assert len(replay.alerts(tenant)) <= 3
        said = replay.flow.texts_for(tenant)
        for other in tenants - {tenant}:
            assert f'"{other}"' not in said
            assert f"@{other}/" not in said


@pytest.mark.parametrize("name", [name for name in SCENARIOS if load(name).expected.exposed])
def test_the_blast_radius_names_what_was_built_from_it(name, played):
    replay = played(name)
    for tenant, components in load(name).expected.exposed.items():
        reached = {system.component for view in replay.alerts(tenant) for system in view.systems}
        assert components <= reached


@pytest.mark.slow
def test_the_demonstration_alerts_each_of_its_attacks_and_nothing_else(tmp_path):
    scenario = Scenario(
        name="demo",
        expected=Expected(title="the story of the demonstration"),
        events=lambda root: list(story(root)),
        intel=facts,
        policies=policies,
    )
    replay = Replay(scenario, tmp_path)
    reported = {
        (tenant, kind)
        for (_, tenant), view in replay.flow.alerts.items()
        for kind in {finding.ioc_type for finding in view.findings}
        if view.score.band.rank > Severity.LOW.rank
    }
    assert {
        ("northwind", "malicious_payload"),
        ("globex", "malicious_payload"),
        ("initech", "malicious_payload"),
        ("acme", "known_compromised_package"),
        ("umbra", "known_compromised_package"),
        ("acme", "config_tampering"),
        ("acme", "source_mismatch"),
    } <= reported
    assert len(replay.flow.alerts) <= 10
    poisoned = [
        view
        for view in replay.alerts("umbra")
        if "deployment:@umbra/moderation-api" in {system.component for system in view.systems}
    ]
    assert poisoned


def test_a_replay_sent_twice_gives_the_same_alerts(tmp_path):
    first, second = (Replay(load("leaked_config"), tmp_path) for _ in range(2))
    assert sorted(first.flow.alerts) == sorted(second.flow.alerts)
    assert {view.id for view in first.alerts("freight")} == {
        view.id for view in second.alerts("freight")
    }


def test_output_of_another_configuration_is_not_in_the_incident(played):
    systems = {
        system.component
        for view in played("remote_code_served").alerts("sluice")
        for system in view.systems
    }
    assert "deployment:@sluice/archive" not in systems
