"""The quick checks of a registry push."""

from __future__ import annotations

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.checks.provenance.identity import parse_origin, push_component
from agents.checks.provenance.planning import plan_scan
from agents.domain.detection import to_finding
from agents.domain.rules import family_rules
from schemas.components import digest_of_files
from schemas.events import Event, RegistryPush
from schemas.intel import IntelFact, IntelKind
from schemas.policy import default_policy
from schemas.scans import ScanRequest
from schemas.severity import Severity, Status
from tests.agents.checks.provenance.pushes import knowing, push_event
from tests.agents.examples import check_pushed
from tests.each import each
from tests.samples import sample

A, B = "a" * 64, "b" * 64
QUICK = [
    (rule.id, kind, example)
    for rule in family_rules("provenance").values()
    for kind in ("hit", "miss")
    for example in getattr(rule.examples, kind)
    if "registry" in example.given
]


def statuses(outcome):
    return {check.name: check.status for check in outcome.checks}


def rules(outcome):
    return {found.rule_id for found in outcome.detections}


@each(("rule_id", "kind", "example"), QUICK)
def test_each_rule_meets_its_hits_and_leaves_its_misses(rule_id, kind, example):
    data = dict(example.given)
    outcome = check_pushed(
        push_event(**{k: v for k, v in data.items() if k != "policy"}), knowing(data.get("policy"))
    )
    assert (rule_id in rules(outcome)) is (kind == "hit")


def test_every_rule_has_examples_of_both_kinds():
    for rule in family_rules("provenance").values():
        assert rule.examples.hit, rule.id
        assert rule.examples.miss, rule.id


def test_sample_event_is_checked_as_the_contract_shows():
    raw = orjson.loads(sample("events", "registry-push.json"))
    event = push_event(**raw["data"])
    found = statuses(check_pushed(event, knowing()))
    assert found["format_safety"] is Status.PASS
    assert found["hash_model.safetensors"] is Status.PASS
    assert found["source"] is Status.PASS


def test_no_gate_passes_a_push_that_was_not_scanned():
    event = push_event(files=[{"path": "m.safetensors", "uri": "file:///models/m.safetensors"}])
    assert statuses(check_pushed(event, knowing()))["scan"] is Status.INCOMPLETE
    with_roots = knowing({"roots": ["file:///models"]})
    assert statuses(check_pushed(event, with_roots))["scan"] is Status.INCOMPLETE
    assert plan_scan(event, with_roots.policy("tenant-a")) is not None


def test_hub_webhook_without_files_is_planned_at_its_pinned_revision_only():
    policy = knowing({"roots": ["hf://acme-labs"]}).policy("tenant-a")
    pinned = push_event(revision="9d1c3f0be0c1c2b0a9f1f8f9b0a7d6c5e4f3a2b1")
    request = plan_scan(pinned, policy)
    assert request is not None
    assert request.listing == "hf://acme-labs/m@9d1c3f0be0c1c2b0a9f1f8f9b0a7d6c5e4f3a2b1"
    assert plan_scan(push_event(revision="main"), policy) is None
    image = push_event(
        registry="registry.example:5000", repository="team/m", revision=f"sha256:{A}"
    )
    assert plan_scan(image, policy).listing == f"oci://registry.example:5000/team/m@sha256:{A}"


def test_scan_request_survives_the_wire_and_is_the_same_on_replay():
    policy = knowing({"roots": ["file:///m"]}).policy("tenant-a")
    event = push_event(files=[{"path": "m.bin", "uri": "file:///m/m.bin"}])
    request = plan_scan(event, policy)
    again = msgspec.json.decode(msgspec.json.encode(request), type=ScanRequest)
    assert again == request == plan_scan(event, policy)
    assert isinstance(again.event, Event)
    assert isinstance(again.event.data, RegistryPush)


def test_a_push_reports_model_publisher_and_each_digest_for_each_system():
    event = push_event(
        files=[
            {"path": "a", "digests": {"sha256": A}},
            {"path": "b.md", "digests": {"SHA-256": B.upper()}},
        ],
        publisher={"name": "acme-labs", "id": "org-1"},
        revision="r1",
        tag="main",
        systems=["s1", "s2"],
        card={"base_model": ["acme/base"], "datasets": ["acme/reviews"]},
    )
    seen = check_pushed(event, knowing()).sightings
    assert {(s.component, s.system) for s in seen} == {
        (key, system)
        for key in (
            "model:huggingface/acme-labs/m",
            "publisher:huggingface/acme-labs",
            f"sha256:{A}",
            f"sha256:{B}",
            f"tree:{digest_of_files({'a': A, 'b.md': B})}",
            "model:huggingface/acme/base",
            "dataset:huggingface/acme/reviews",
        )
        for system in ("s1", "s2")
    }
    assert {s.kind for s in seen if s.component.startswith("dataset:")} == {"named"}
    model = next(s for s in seen if s.component.startswith("model:"))
    assert model.digest == digest_of_files({"a": A, "b.md": B})
    assert model.parts == (A,)
    assert model.has_signature is False
    assert model.made_from == ("model:huggingface/acme/base", "dataset:huggingface/acme/reviews")
    assert (model.version, model.tag, model.exposure) == ("r1", "main", "delivered")
    by_digest = next(s for s in seen if s.component == f"sha256:{A}")
    assert (by_digest.name, by_digest.filename) == ("model:huggingface/acme-labs/m", "a")
    assert len({s.id for s in seen}) == len(seen)


def test_a_model_has_no_digest_while_one_file_has_none():
    event = push_event(files=[{"path": "a", "digests": {"sha256": A}}, {"path": "b"}])
    model = next(
        s for s in check_pushed(event, knowing()).sightings if s.component.startswith("model:")
    )
    assert model.digest is None


def test_sightings_beyond_the_limit_are_reported():
    files = [{"path": f"f{i}", "digests": {"sha256": f"{i:064x}"}} for i in range(100)]
    event = push_event(files=files, systems=[f"s{i}" for i in range(100)])
    outcome = check_pushed(event, knowing())
    assert len(outcome.sightings) == 2000
    assert statuses(outcome)["observations"] is Status.INCOMPLETE


def test_components_of_an_internal_registry_are_the_tenants_own():
    event = push_event(
        registry="models.acme.example", repository="fraud/net", publisher={"name": "ci"}
    )
    policy = knowing({"internal": {"registries": ["models.acme.example"]}}).policy("tenant-a")
    assert push_component(event, policy) == "model:@tenant-a/models.acme.example/fraud/net"
    keys = {
        s.component
        for s in check_pushed(
            event, knowing({"internal": {"registries": ["models.acme.example"]}})
        ).sightings
    }
    assert "publisher:@tenant-a/models.acme.example/ci" in keys


def test_intelligence_fails_the_assessment_and_makes_no_finding():
    for key in ("model:huggingface/acme-labs/m", "publisher:huggingface/evil", f"sha256:{A}"):
        fact = IntelFact(key=key, kind=IntelKind.MALICIOUS)
        event = push_event(
            files=[{"path": "a.safetensors", "digests": {"sha256": A}}], publisher={"name": "evil"}
        )
        outcome = check_pushed(event, knowing(None, fact))
        assert statuses(outcome)["known_bad"] is Status.FAIL, key
        assert rules(outcome) <= {"TW-PROV-UNSIGNED"}


def test_a_fact_about_one_revision_leaves_another_alone():
    fact = IntelFact(
        key="model:huggingface/acme-labs/m", kind=IntelKind.COMPROMISED, versions=("bad",)
    )
    assert (
        statuses(check_pushed(push_event(revision="good"), knowing(None, fact)))["known_bad"]
        is Status.PASS
    )
    assert (
        statuses(check_pushed(push_event(revision="bad"), knowing(None, fact)))["known_bad"]
        is Status.FAIL
    )


def test_path_with_two_digests_never_passes():
    event = push_event(
        files=[
            {"path": "m.safetensors", "digests": {"sha256": A}},
            {"path": "./m.safetensors", "digests": {"sha256": B}},
        ],
        expected={"hashes": {"m.safetensors": A}},
    )
    assert statuses(check_pushed(event, knowing()))["hash_m.safetensors"] is Status.FAIL


def test_hash_mismatch_finding_is_rooted_at_the_received_digest():
    event = push_event(
        files=[{"path": "m.safetensors", "digests": {"sha256": B}}],
        expected={"hashes": {"m.safetensors": A}},
    )
    detection = next(
        d for d in check_pushed(event, knowing()).detections if d.rule_id == "TW-PROV-HASH-MISMATCH"
    )
    finding = to_finding(detection, event, component="model:huggingface/acme-labs/m")
    assert finding.indicator.key == f"sha256:{B}"
    assert finding.severity is Severity.CRITICAL
    assert finding.ioc_type == "hash_mismatch"


@each(
    "registry",
    [
        "https://ci:secret@models.acme.example/",
        "ci@models.acme.example",
        "models.acme.example.",
        "Models.ACME.example:443",
        "https://ci:secret@models.acme.example.:443",
    ],
)
def test_own_registry_is_private_however_its_address_is_written(registry):
    knowledge = knowing({"internal": {"registries": ["models.acme.example"]}})
    event = push_event(registry=registry, repository="fraud/net", publisher={"name": "ci"})
    outcome = check_pushed(event, knowledge)
    assert {sighting.component for sighting in outcome.sightings} == {
        "model:@tenant-a/models.acme.example/fraud/net",
        "publisher:@tenant-a/models.acme.example/ci",
    }
    assert "secret" not in str(outcome.sightings)


def test_registry_that_begins_like_a_private_name_is_its_tenants_own():
    event = push_event(registry="@globex", repository="secret")
    assert push_component(event, default_policy("tenant-a")) == "model:@tenant-a/secret"


@each(
    ("expected", "status"),
    [
        ("huggingface/acme-labs/m", Status.PASS),
        ("hf://acme-labs/m", Status.PASS),
        ("HuggingFace/ACME-labs/m", Status.PASS),
        ("huggingface/acme-labs/m@r1", Status.PASS),
        ("huggingface/acme-labs/m@main", Status.PASS),
        ("huggingface/acme-labs/m@r2", Status.FAIL),
        ("huggingface/acme-labs/m2", Status.FAIL),
        ("huggingface/x/../acme-labs/m", Status.FAIL),
        ("huggingface/acme%2Dlabs/m", Status.FAIL),
        ("other/acme-labs/m", Status.FAIL),
        ("huggingface/acmе-labs/m", Status.FAIL),  # noqa: RUF001 -- a Cyrillic letter
        ("acme-labs/m", Status.FAIL),
    ],
)
def test_source_is_compared_strictly(expected, status):
    event = push_event(expected={"source": expected}, revision="r1", tag="main")
    assert statuses(check_pushed(event, knowing()))["source"] is status


def test_source_that_is_not_known_is_incomplete():
    event = push_event(registry=None, expected={"source": "huggingface/acme-labs/m"})
    assert statuses(check_pushed(event, knowing()))["source"] is Status.INCOMPLETE


@given(st.text(max_size=80))
def test_reading_an_origin_never_fails_and_is_stable(text):
    origin = parse_origin(text)
    if origin is not None:
        assert parse_origin(origin.text()) == origin


@pytest.mark.parametrize("action", ["delete", "move", "tag", "pull"])
def test_actions_that_bring_no_files_are_not_incomplete_for_it(action):
    event = push_event(action=action, moved_from="acme-labs/old")
    assert "scan" not in statuses(check_pushed(event, knowing()))
    assert plan_scan(event, default_policy("tenant-a")) is None


def test_a_renamed_repository_is_made_from_its_former_name():
    seen = check_pushed(push_event(action="move", moved_from="acme-labs/old"), knowing()).sightings
    assert seen[0].made_from == ("model:huggingface/acme-labs/old",)
    assert seen[0].kind == "moved"


def test_a_policys_suppression_silences_the_finding_and_not_the_check():
    event = push_event(files=[{"path": "m.safetensors"}])
    entry = {"reason": "signed at admission", "rule_id": "TW-PROV-UNSIGNED"}
    current = knowing({"suppressions": [{**entry, "expires": "2026-11-20"}]})
    assert rules(check_pushed(event, current)) == set()
    assert statuses(check_pushed(event, current))["signature"] is Status.WARN
    ended = knowing({"suppressions": [{**entry, "expires": "2026-11-19"}]})
    assert rules(check_pushed(event, ended)) == {"TW-PROV-UNSIGNED"}


@pytest.mark.parametrize("action", ["pull", "tag", "push", "promote"])
def test_a_file_that_differs_from_the_expected_one_is_found_however_it_came(action):
    event = push_event(
        action=action,
        files=[{"path": "m.safetensors", "digests": {"sha256": B}}],
        expected={"hashes": {"./m.safetensors": A}},
    )
    found = check_pushed(event, knowing()).detections
    assert "TW-PROV-HASH-MISMATCH" in {entry.rule_id for entry in found}


def test_partial_pull_reports_no_missing_or_unexpected_files():
    event = push_event(
        action="pull",
        files=[{"path": "m.safetensors", "digests": {"sha256": A}}, {"path": "config.json"}],
        expected={"hashes": {"m.safetensors": A, "other.safetensors": B, "config.json": B}},
    )
    outcome = check_pushed(event, knowing())
    hashes = {
        check.name: check.status for check in outcome.checks if check.name.startswith("hash_")
    }
    assert hashes == {"hash_m.safetensors": Status.PASS}
    assert not outcome.detections


@pytest.mark.parametrize(
    ("changes", "roots", "listing"),
    [
        ({}, ("mlflow://m.example/",), "mlflow://m.example:5000/team%20a/churn@3"),
        ({"revision": "v3"}, ("mlflow://m.example/",), None),
        ({"registry": "mlflow"}, ("mlflow://m.example/",), None),
        ({}, ("hf://acme",), None),
    ],
)
def test_an_mlflow_version_is_listed_only_below_the_roots_of_the_policy(changes, roots, listing):
    pushed = {
        "registry": "m.example:5000",
        "repository": "team a/churn",
        "revision": "3",
        "files": [],
        **changes,
    }
    event = msgspec.structs.replace(push_event(**pushed), source="//mlflow/m.example:5000")
    request = plan_scan(event, knowing({"roots": list(roots)}).policy("tenant-a"))
    assert (request.listing if request else None) == listing
    # the same from anybody else is a tag
    other = msgspec.structs.replace(event, source="//ci")
    assert plan_scan(other, knowing({"roots": list(roots)}).policy("tenant-a")) is None
