"""What an affected tenant could roll back to: only what is known to be good, while it is."""

from __future__ import annotations

import random
from hashlib import sha256

import msgspec
import pytest

from agents.triage.ledger import known_good
from agents.triage.routing import incident_id
from schemas.channels import Channel
from schemas.incidents.updates import IncidentMessage, KnownGood
from schemas.intel import IntelFact, IntelKind
from tests.agents.triage.flow import Flow
from tests.agents.triage.ledger_run import Ledger
from tests.agents.triage.stories import BAD, MODEL, finding, held, sighting

PACKAGE = "pypi:popular"
COMPROMISED = IntelFact(
    key=PACKAGE, kind=IntelKind.COMPROMISED, versions=("2.0",), sources=("osv", "vendor")
)


def digest(version):
    return sha256(version.encode()).hexdigest()


def installed(version, minutes, tenant="a", system="ci", component=PACKAGE, **more):
    more.setdefault("digest", digest(version))
    return sighting(component, tenant, system, minutes, version=version, kind="installed", **more)


def answers(ledger):
    """Return what the incidents hold to be good, by incident, tenant and version."""
    return answers_of(ledger.reported_incidents)


def answers_of(reported):
    latest = {}
    for message in reported:
        if isinstance(message, KnownGood):
            place = (message.incident, message.tenant, message.version)
            known = latest.get(place)
            if known is None or (message.revision, not message.active) >= (
                known.revision,
                not known.active,
            ):
                latest[place] = message
    return {name: entry for name, entry in latest.items() if entry.active}


def versions(ledger):
    return {version for _, _, version in answers(ledger)}


def test_the_version_before_the_bad_one_is_known_good():
    ledger = Ledger()
    ledger.take(installed("1.8", 0), installed("1.9", 5), installed("2.0", 10))
    ledger.fact(COMPROMISED)
    assert versions(ledger) == {"1.9"}


def test_a_version_whose_digest_nobody_knows_is_not_known_good():
    """Its name may lead to other bytes by now."""
    ledger = Ledger()
    ledger.take(
        installed("1.8", 0), installed("1.9", 5, digest=None, signed=True), installed("2.0", 10)
    )
    ledger.fact(COMPROMISED)
    assert versions(ledger) == {"1.8"}


def test_a_version_first_seen_after_the_bad_one_is_not_known_good():
    ledger = Ledger()
    ledger.take(installed("2.0", 10), installed("2.1", 20))
    ledger.fact(COMPROMISED)
    ledger.take(installed("2.2", 30))
    assert versions(ledger) == set()


def test_a_later_version_is_known_good_if_its_signature_was_verified_or_it_is_vouched_for():
    ledger = Ledger()
    ledger.take(installed("2.0", 10), installed("2.1", 20, signed=True), installed("2.2", 30))
    ledger.fact(COMPROMISED)
    assert versions(ledger) == {"2.1"}
    # A fact has the component's key: known-good versions are reported under its digest.
    vouched = IntelFact(
        key=f"{PACKAGE}#good", kind=IntelKind.KNOWN_GOOD, versions=("2.2",), sources=("vendor",)
    )
    ledger.take(ledger.change(PACKAGE, "vendor-list", vouched))
    best = max(answers(ledger).values(), key=lambda answer: answer.by_intel)
    assert (best.version, best.by_intel) == ("2.2", True)


def test_a_signature_that_is_verified_later_counts():
    ledger = Ledger()
    ledger.take(installed("2.0", 10), installed("2.1", 20))
    ledger.fact(COMPROMISED)
    assert versions(ledger) == set()
    ledger.take(installed("2.1", 30, signed=True))
    assert versions(ledger) == {"2.1"}


def test_a_known_good_fact_withdrawn_counts_no_longer():
    ledger = Ledger()
    ledger.take(installed("2.0", 10), installed("2.2", 30))
    ledger.fact(COMPROMISED)
    vouched = IntelFact(key="x", kind=IntelKind.KNOWN_GOOD, versions=("2.2",), sources=("vendor",))
    ledger.take(ledger.change(PACKAGE, "vendor-list", vouched))
    assert versions(ledger) == {"2.2"}
    ledger.take(ledger.change(PACKAGE, "vendor-list", None))
    assert versions(ledger) == set()


def test_earlier_version_stays_known_good_without_its_voucher():
    ledger = Ledger()
    ledger.take(installed("1.9", 0), installed("2.0", 10))
    vouched = IntelFact(key="x", kind=IntelKind.KNOWN_GOOD, versions=("1.9",), sources=("v",))
    ledger.take(ledger.change(PACKAGE, "vendor-list", vouched))
    ledger.fact(COMPROMISED)
    assert [answer.by_intel for answer in answers(ledger).values()] == [True]
    ledger.take(ledger.change(PACKAGE, "vendor-list", None))
    assert [(answer.version, answer.by_intel) for answer in answers(ledger).values()] == [
        ("1.9", False)
    ]


@pytest.mark.parametrize("by", ["fact", "finding", "taint"])
def test_a_rollback_target_found_bad_later_is_withdrawn(by):
    flow = Flow()
    flow.saw(
        sighting("dataset:acme/d", "a", "lake", 1, version="v1", kind="used"),
        installed("r0", 0, component=MODEL, digest="0" * 64),
        installed("r1", 5, component=MODEL, digest="1" * 64, made_from=("dataset:acme/d@v1",)),
        installed("r2", 10, component=MODEL, digest=BAD),
    )
    flow.found(finding("malicious_payload", "a", minutes=11))
    assert held_good(flow) == {"r1"}
    assert rollback(flow) == "r1"
    if by == "fact":
        flow.fact(
            IntelFact(key=MODEL, kind=IntelKind.MALICIOUS, versions=("r1",), sources=("vendor",))
        )
    elif by == "finding":
        # What a holds it holds by the digest too, and b's scan is of the same bytes.
        flow.saw(*held(MODEL, "a", "host-1", 5, version="r1", digest="1" * 64))
        flow.found(finding("malicious_payload", "b", digest="1" * 64, version="r1", minutes=20))
    else:
        flow.fact(
            IntelFact(
                key="dataset:acme/d",
                kind=IntelKind.COMPROMISED,
                versions=("v1",),
                sources=("vendor",),
            )
        )
    assert held_good(flow) == {"r0"}
    assert rollback(flow) == "r0"


def rollback(flow):
    """Return the version that the alert about the bad one proposes to go back to."""
    (alert,) = [view for view in flow.alerts_of("a") if view.root == f"sha256:{BAD}"]
    (command,) = [issued.spec for issued in alert.commands if issued.spec.action == "rollback"]
    return command.rollback_version


def test_without_a_version_that_is_known_good_none_is_proposed():
    flow = Flow()
    flow.saw(
        installed("r2", 10, component=MODEL, digest=BAD),
        installed("r3", 20, system="gpu", component=MODEL, digest="3" * 64),
    )
    flow.found(finding("malicious_payload", "a", minutes=11))
    flow.saw(installed("r4", 30, system="gpu", component=MODEL, digest="4" * 64))
    (alert,) = [view for view in flow.alerts_of("a") if view.root == f"sha256:{BAD}"]
    (command,) = [issued.spec for issued in alert.commands if issued.spec.action == "rollback"]
    assert (command.mode, command.rollback_version) == ("advised", None)
    assert "no known-good version" in command.reason


def held_good(flow):
    """Return the versions that the incident about the bad one was sent last."""
    reported = [
        msgspec.json.decode(message.value, type=IncidentMessage)
        for message in flow.sent
        if message.channel is Channel.INCIDENT_UPDATES
    ]
    case = incident_id(f"sha256:{BAD}")
    return {version for incident, _, version in answers_of(reported) if incident == case}


def test_a_version_found_bad_and_cleared_again_is_a_rollback_target_again():
    ledger = Ledger()
    ledger.take(installed("1.8", 0), installed("1.9", 5), installed("2.0", 10))
    ledger.fact(COMPROMISED)
    wider = msgspec.structs.replace(COMPROMISED, versions=("2.0", "1.9"))
    ledger.fact(wider)
    assert versions(ledger) == {"1.8"}
    ledger.fact(COMPROMISED)
    assert versions(ledger) >= {"1.9"}


def test_sightings_send_nothing_unless_the_rollback_target_changes():
    ledger = Ledger()
    for tenant in "abc":
        ledger.take(installed("1.9", 0, tenant), installed("2.0", 10, tenant))
    ledger.fact(COMPROMISED)
    before = len(ledger.reported_incidents)
    ledger.take(
        *(
            installed(f"1.{number % 9}", 100 + number, "abc"[number % 3], f"host-{number % 50}")
            for number in range(1_000)
        )
    )
    assert len(ledger.reported_incidents) == before


def test_known_good_versions_do_not_depend_on_order():
    facts = {
        "osv": COMPROMISED,
        "more": msgspec.structs.replace(COMPROMISED, versions=("1.9",)),
        "vendor": IntelFact(key="x", kind=IntelKind.KNOWN_GOOD, versions=("1.7",), sources=("v",)),
    }
    seen = [
        installed(version, minutes, tenant, system)
        for tenant in "ab"
        for system in ("ci", "gpu")
        for minutes, version in enumerate(("1.7", "1.8", "1.9", "2.0", "2.1"))
    ]
    results = []
    for seed in range(40):
        chance = random.Random(seed)
        ledger = Ledger()
        changes = [ledger.change(PACKAGE, key, fact) for key, fact in facts.items()]
        inputs = [*seen, *changes]
        chance.shuffle(inputs)
        ledger.take(*inputs, batch=chance.choice((1, 3, 100)))
        by_incident = {}
        for (incident, tenant, _), answer in answers(ledger).items():
            by_incident.setdefault((incident, tenant), []).append(
                (answer.by_intel, answer.signed, answer.seen_at, answer.version)
            )
        results.append({name: max(many) for name, many in by_incident.items()})
    assert all(result == results[0] for result in results)
    assert len(results[0]) == 4


def test_many_versions_of_one_tenant_keep_the_one_before_the_bad_one():
    ledger = Ledger()
    early = [installed(f"1.{number}", number, system=f"h{number % 20}") for number in range(100)]
    late = [installed(f"3.{number}", 200 + number, system=f"h{number}") for number in range(200)]
    ledger.take(*early, installed("2.0", 150))
    ledger.fact(COMPROMISED)
    ledger.take(*late)
    assert versions(ledger) == {"1.99"}


def test_a_component_of_many_tenants_is_reported_page_by_page(monkeypatch):
    monkeypatch.setattr(known_good, "PAGE", 4)
    ledger = Ledger()
    for number in range(11):
        ledger.take(installed("1.9", 0, f"t{number}"), installed("2.0", 10, f"t{number}"))
    ledger.fact(COMPROMISED)
    vouched = IntelFact(key="x", kind=IntelKind.KNOWN_GOOD, versions=("1.9",), sources=("v",))
    ledger.take(ledger.change(PACKAGE, "vendor-list", vouched))
    assert sum(answer.by_intel for answer in answers(ledger).values()) == 11
