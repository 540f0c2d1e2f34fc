"""Each replay of a real incident, through the whole chain on Kafka, gives what must come out."""

from __future__ import annotations

import pytest

from schemas.severity import Severity
from tests.e2e.chain import Chain
from tests.e2e.scenario_run import play
from tests.scenarios.expectation import SCENARIOS, load

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

PLAYED = tuple(name for name in SCENARIOS if name != "busy_week")
"""`make scenarios` plays that one as well, and the replays in memory play all."""
ALERTS_OF_ONE = 3
"""More alerts of one scenario for one tenant would be a storm."""
RECORDS_OF_ALERT = 12
"""More records of one alert would be a storm too; a busy machine puts fewer changes into one."""


@pytest.fixture(scope="module")
def played(kafka, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenarios")
    chain = Chain(kafka, folder)
    try:
        yield play(chain, folder / "models", PLAYED)
    finally:
        chain.stop()


@pytest.mark.parametrize("name", PLAYED)
def test_expected_alerts_are_raised_at_the_expected_severity(name, played):
    for wanted in load(name).expected.alerts:
        mine = [alert for alert in played[name] if alert.tenant == wanted.tenant]
        alerts = [alert for alert in mine if alert.matches(wanted)]
        assert alerts, f"no alert for {wanted.tenant}"
        assert max(alert.severity.rank for alert in alerts) >= Severity.MEDIUM.rank
        worst = max(
            finding.severity.rank for alert in alerts for finding in alert.incident.findings
        )
        assert worst >= wanted.at_least.rank


@pytest.mark.parametrize("name", PLAYED)
def test_quiet_tenants_get_no_alert_above_low(name, played):
    quiet = load(name).expected.quiet
    loud = [
        (alert.tenant, alert.incident.root, alert.severity)
        for alert in played[name]
        if alert.tenant in quiet and alert.severity.rank > Severity.LOW.rank
    ]
    assert not loud


@pytest.mark.parametrize("name", PLAYED)
def test_number_of_alerts_per_tenant_is_bounded(name, played):
    per_tenant: dict[str, int] = {}
    for alert in played[name]:
        per_tenant[alert.tenant] = per_tenant.get(alert.tenant, 0) + 1
        assert alert.records <= RECORDS_OF_ALERT, alert.document["finding_info"]["title"]
    assert all(count <= ALERTS_OF_ONE for count in per_tenant.values()), per_tenant


@pytest.mark.parametrize("name", [name for name in PLAYED if load(name).expected.exposed])
def test_the_blast_radius_names_what_was_built_from_it(name, played):
    for tenant, components in load(name).expected.exposed.items():
        reached = {
            system.component
            for alert in played[name]
            for system in alert.incident.systems
            if system.tenant == tenant
        }
        assert components <= reached
