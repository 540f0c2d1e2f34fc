"""The component ledger: cost of a sighting, releases, incident roots, bounds and expiry."""

from __future__ import annotations

import pytest

from agents.triage.ledger import expiry
from agents.triage.routing import (
    finding_messages,
    incident_id,
    incident_root,
    split_version,
)
from schemas.channels import Channel
from schemas.intel import IntelFact, IntelKind
from schemas.ledger import Tick
from schemas.severity import Severity
from tests.agents.triage.flow import START, Flow
from tests.agents.triage.ledger.records import pushed, take
from tests.agents.triage.memory_rows import MemoryRows
from tests.agents.triage.stories import BAD, GOOD, MODEL, finding, held, sighting


@pytest.mark.parametrize(
    ("component", "severity"),
    [("model:hub/acme/m", Severity.HIGH), ("model:@a/registry.acme/m", Severity.MEDIUM)],
)
def test_push_by_a_colleague_to_an_own_registry_is_not_reported(component, severity):
    flow = Flow()
    for number, who in enumerate(("u-1", "u-2")):
        flow.saw(
            sighting(
                component, "a", "registry", number, version=who, publisher_id=who, kind="pushed"
            )
        )
    (ioc,) = [ioc for ioc in flow.iocs.values() if ioc.ioc_type == "publisher_change"]
    assert ioc.severity is severity


def test_a_known_clean_sighting_costs_one_read_and_no_write():
    rows = MemoryRows()
    take(rows, sighting("pypi:numpy", "a", "host", version="2.0", digest=GOOD, filename="n.whl"))
    rows.reads = rows.writes = 0
    later = sighting("pypi:numpy", "a", "host", 60, version="2.0", digest=GOOD, filename="n.whl")
    assert take(rows, later) == []
    assert rows.reads == 1
    assert rows.writes == 0


def test_a_popular_package_writes_its_component_row_once_a_tenant():
    rows = MemoryRows()
    take(rows, *(sighting("pypi:numpy", "a", f"h{n}", version="2.0") for n in range(50)))
    written = rows.writes
    take(rows, *(sighting("pypi:numpy", "a", f"g{n}", 1, version="2.0") for n in range(50)))
    assert rows.writes - written == 100  # each new system, and when it expires
    flow = Flow()
    flow.saw(*(sighting("pypi:numpy", f"t{n}", "h", version="2.0") for n in range(40)))
    assert not flow.alerts
    assert not flow.iocs


def test_a_batch_writes_each_row_once():
    rows = MemoryRows()
    take(rows, *(sighting("pypi:a", "t", "h", n, version=str(n)) for n in range(20)))
    assert rows.writes <= 4


def test_a_bad_version_is_found_on_a_system_with_more_versions_than_are_kept():
    for bad in range(40, 60):
        flow = Flow()
        fact = IntelFact(key=MODEL, kind=IntelKind.MALICIOUS, versions=(f"r{bad}",), sources=("x",))
        flow.fact(fact)
        flow.saw(*(pushed(number) for number in range(60)))
        (alert,) = flow.alerts.values()
        assert alert.root == f"{MODEL}@r{bad}"


def test_a_late_change_of_publisher_is_reported():
    for number in range(40, 60):
        flow = Flow()
        flow.saw(*(pushed(n, publisher_id="org-1") for n in range(number)))
        flow.saw(pushed(number, publisher_id="org-2"))
        assert "publisher_change" in {ioc.ioc_type for ioc in flow.iocs.values()}


def test_a_change_is_reported_for_a_repository_with_hundreds_of_versions():
    flow = Flow()
    flow.saw(*(pushed(number, publisher_id="org-1") for number in range(300)))
    flow.saw(pushed(300, publisher_id="org-2"))
    flow.saw(pushed(301, version="r299", publisher_id="org-2"))
    kinds = {ioc.ioc_type for ioc in flow.iocs.values()}
    assert {"publisher_change", "tag_mutation"} <= kinds


def test_a_release_tag_moved_to_an_earlier_version_is_reported():
    flow = Flow()
    flow.saw(pushed(0, tag="main"), pushed(0, tag="v1.0", event_id="tagged"))
    flow.saw(pushed(10, tag="main"))
    assert not flow.alerts
    flow.saw(sighting(MODEL, "a", "hub", 20, version="r10", digest=f"{10:064x}", kind="pushed",
                      tag="v1.0"))  # fmt: skip
    assert {ioc.ioc_type for ioc in flow.iocs.values()} == {"tag_mutation"}


@pytest.mark.parametrize(
    ("tag", "severities"),
    [("v45.0.5", {"high"}), ("1.2.3", {"high"}), ("v35", {"low"}), ("main", set())],
)
def test_a_moved_git_release_tag_is_reported_and_a_series_tag_at_low_severity(tag, severities):
    flow = Flow()
    step = "service:git.example/acme/step"
    for number, commit in enumerate(("a" * 40, "a" * 40, "b" * 40)):
        flow.saw(sighting(step, "a", "runner", number, version=tag, kind="used"))
        flow.saw(sighting(step, "a", "runner", number, version=commit, tag=tag, kind="used"))
    assert {ioc.severity.value for ioc in flow.iocs.values()} == severities
    assert bool(flow.alerts) is ("high" in severities)


def test_late_sighting_counts_at_its_event_time():
    reported = []
    early = pushed(1, publisher_id="org-2", version="r9", digest=BAD, event_id="early")
    inputs = [
        pushed(5, publisher_id="org-1"),
        pushed(9, publisher_id="org-2", version="r9", digest=BAD, event_id="late"),
        early,
    ]
    for order in (inputs, [early, *inputs[:2]]):
        flow = Flow()
        flow.saw(*order)
        (ioc,) = flow.iocs.values()
        reported.append((ioc.description, ioc.event_id, ioc.occurred_at))
    assert reported[0] == reported[1]


def test_the_root_follows_the_precedence_of_indicators():
    assert incident_root(finding("malicious_payload", "a")) == f"sha256:{BAD}"
    assert incident_root(finding("tag_mutation", "a", digest=None)) == f"{MODEL}@r2"
    assert incident_root(finding("poisoned_dataset", "a", "dataset:x", digest=None)) == "dataset:x"


def test_names_of_one_tenant_never_match_those_of_another():
    mine = finding("config_tampering", "a", "pipeline:train", digest=None, version=None)
    theirs = finding("config_tampering", "b", "pipeline:train", digest=None, version=None)
    assert incident_id(incident_root(mine)) != incident_id(incident_root(theirs))


def test_versions_are_split_from_keys():
    assert split_version("pypi:a@1.0") == ("pypi:a", "1.0")
    assert split_version("pypi:@tenant/a@1.0") == ("pypi:@tenant/a", "1.0")
    assert split_version("model:hub/m") == ("model:hub/m", None)


def test_findings_below_medium_open_no_incident():
    low = finding("unpinned_dependency", "a", digest=None, severity=Severity.LOW)
    assert {message.channel for message in finding_messages(low)} == {Channel.OBSERVATIONS}


@pytest.mark.slow
def test_rows_stay_within_their_bound_whatever_is_sent():
    rows = MemoryRows()
    long = "é" * 2000
    for number in range(150):
        take(
            rows,
            sighting(
                "model:big",
                "a",
                "host",
                number,
                version=f"{number}{long}",
                digest=f"{number:064d}",
                tag="v1.0.0",
                kind="pushed",
                signed=True,
                publisher=f"publisher:hub/{number}{long}",
                publisher_id=f"{number}{long}",
                identities=tuple(f"{number}{long}" for number in range(50)),
                made_from=tuple(f"model:in{part}@{number}" for part in range(100)),
            ),
        )
    assert rows.largest <= 64 * 1024


@pytest.mark.slow
def test_incident_rows_stay_within_their_bound():
    flow = Flow()
    big = {f"field-{n}": "x" * 500 for n in range(50)}
    for number in range(16):
        flow.found(
            finding(
                "malicious_payload",
                "a",
                minutes=number,
                rule_id=f"TW-TEST-{number}",
                evidence=big,
                systems=tuple(f"host-{number}-{part}" for part in range(60)),
                identities=tuple(f"secret-ref:{number}-{part}" for part in range(60)),
            )
        )
    assert max(rows.largest for rows in flow.incident_rows) <= 64 * 1024
    (alert,) = flow.alerts.values()
    assert alert.system_count >= 512
    assert "systems" in alert.truncated


def test_a_sighting_is_forgotten_400_days_after_the_last():
    rows = MemoryRows()
    take(rows, sighting("pypi:old", "a", "host", version="1"))
    day = 86_400_000
    start = int(START.timestamp() * 1000)
    take(rows, Tick(time_ms=start + 399 * day))
    assert any(key.startswith("s\x1f") for key in rows.content())
    take(rows, Tick(time_ms=start + 401 * day))
    assert not [key for key in rows.content() if not key.startswith("z")]


def test_each_tick_forgets_a_page_until_nothing_is_due(monkeypatch):
    monkeypatch.setattr(expiry, "AT_ONCE", 3)
    rows = MemoryRows()
    take(rows, *(sighting("pypi:old", "a", f"host-{number}", version="1") for number in range(8)))
    due = int(START.timestamp() * 1000) + 401 * 86_400_000

    def kept():
        return sum(key.startswith("s\x1f") for key in rows.content())

    left = []
    for tick in range(4):  # all within one period
        take(rows, Tick(time_ms=due + tick * 15_000))
        left.append(kept())
    assert left == [5, 2, 0, 0]
    take(rows, sighting("pypi:older", "a", "host", version="1"))
    take(rows, Tick(time_ms=due + 5 * 15_000))
    assert kept() == 1, "nothing was left over: the next look is after a period"
    take(rows, Tick(time_ms=due + expiry.PERIOD_MS))
    assert kept() == 0


def test_a_forgotten_component_leaves_no_row_however_many_it_has(monkeypatch):
    monkeypatch.setattr(expiry, "AT_ONCE", 3)
    rows = MemoryRows()
    day = 86_400_000
    start = int(START.timestamp() * 1000)
    take(rows, *(sighting("pypi:old", f"t{number}", "host", version="1") for number in range(20)))
    for tick in range(20):
        take(rows, Tick(time_ms=start + 401 * day + tick * 15_000))
    assert not [key for key in rows.content() if not key.startswith("z")]


def test_a_sighting_seen_again_is_kept():
    rows = MemoryRows()
    day = 86_400_000
    start = int(START.timestamp() * 1000)
    take(rows, sighting("pypi:old", "a", "host", version="1"))
    take(rows, sighting("pypi:old", "a", "host", 200 * 24 * 60, version="1"))
    take(rows, Tick(time_ms=start + 401 * day))
    assert any(key.startswith("s\x1f") for key in rows.content())
    take(rows, Tick(time_ms=start + 601 * day))
    assert not any(key.startswith("s\x1f") for key in rows.content())


def test_a_sighting_of_an_open_incident_is_kept():
    flow = Flow()
    flow.saw(*held(MODEL, "a", "gpu", version="r2", digest=BAD))
    flow.found(finding("malicious_payload", "a"))
    flow.tick(minutes=401 * 24 * 60)
    held_rows = [key for rows in flow.ledger_rows for key in rows.content() if key[0] == "s"]
    assert held_rows
