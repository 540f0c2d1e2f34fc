"""Data sources of a run: the tenant's own hosts, and intelligence about others."""

from __future__ import annotations

from schemas.severity import Severity, Status
from tests.agents.checks.pipelines.runs import COMMIT, ids, run, status
from tests.agents.examples import TENANT
from tests.each import each


def test_sources_of_config_and_event_are_one_per_url_and_a_denial_wins():
    url = "https://data.acme.example/x.csv"
    outcome = run(
        {
            "config": {"data_sources": [{"url": url, "verified": False}]},
            "data_sources": [{"url": url, "verified": True}],
        }
    )
    assert [d.rule_id for d in outcome.detections] == ["TW-PIPE-UNVERIFIED-SOURCE"]
    outcome = run(
        {
            "config": {"data_sources": [{"url": url}]},
            "data_sources": [{"url": url, "verified": True}],
        }
    )
    assert not outcome.detections


def test_only_the_literal_true_verifies():
    for value in ("true", 1, [True], None):
        config = {"data_sources": [{"url": "https://data.acme.example/x", "verified": value}]}
        assert "TW-PIPE-UNVERIFIED-SOURCE" in ids(run({"config": config}))


def test_a_source_the_policy_trusts_but_nobody_verified_is_low():
    outcome = run(
        {"data_sources": [{"url": "s3://acme-data/x.parquet"}]},
        policy={"trusted": {"data_hosts": ["acme-data"]}},
    )
    assert [d.severity for d in outcome.detections] == [Severity.LOW]


@each(
    ("host", "url", "inside"),
    [
        ("data.acme.example", "https://data.acme.example/x", True),
        ("data.acme.example", "https://DATA.acme.example:443/x", True),
        ("data.acme.example", "https://a.data.acme.example/x", False),
        ("*.acme.example", "https://a.data.acme.example/x", True),
        ("*.acme.example", "https://evilacme.example/x", False),
        ("s3://acme-data/train", "s3://acme-data/train/v7", True),
        ("s3://acme-data/train", "s3://acme-data/training/v7", False),
        ("s3://acme-data/train", "s3://acme-data/train/../secret", False),
        ("data.acme.example", "https://data.acme.example@evil.example/x", False),
        ("data.acme.example", "https://evil.example/data.acme.example", False),
        ("data.acme.example", "https://evil.example\\@data.acme.example/", False),
    ],
)
def test_policy_hosts_are_matched_strictly(host, url, inside):
    outcome = run(
        {"data_sources": [{"url": url, "verified": True}]},
        policy={"trusted": {"data_hosts": [host]}},
    )
    assert ("TW-PIPE-OUTSIDE-POLICY" in ids(outcome)) is not inside


@each(
    ("fact", "data"),
    [
        ({"key": "domain:evil.example"}, {"data_sources": [{"url": "https://cdn.evil.example/x"}]}),
        ({"key": "dataset:acme/reviews"}, {"inputs": [{"component": "dataset:acme/reviews"}]}),
        (
            {"key": "sha256:" + "a" * 64},
            {"inputs": [{"component": "dataset:x/y", "digests": {"sha256": "A" * 64}}]},
        ),
        (
            {"key": "publisher:vendor/acme annotations"},
            {"data_sources": [{"url": "s3://b/x", "provider": "Acme  Annotations"}]},
        ),
        (
            {"key": "model:huggingface/bad/model", "versions": ["41"]},
            {"inputs": [{"component": "model:hf.co/bad/model", "revision": "41"}]},
        ),
    ],
)
def test_source_in_intelligence_fails_the_check_and_yields_no_detection(fact, data):
    outcome = run(data, intel=[{"kind": "malicious", **fact}])
    assert status(outcome, "intel") is Status.FAIL
    assert "TW-PIPE-BLOCKED-SOURCE" not in ids(outcome)
    keys = {sighting.component for sighting in outcome.sightings}
    assert fact["key"] in keys or fact["key"].startswith("domain:")


def test_a_fact_of_another_revision_or_a_withdrawn_one_condemns_nothing():
    data = {"inputs": [{"component": "model:huggingface/bad/model", "revision": COMMIT}]}
    key = "model:huggingface/bad/model"
    for fact in (
        {"key": key, "kind": "compromised", "versions": ["other"]},
        {"key": key, "kind": "withdrawn"},
        {"key": key, "kind": "known-good"},
    ):
        assert status(run(data, intel=[fact]), "intel") is Status.PASS


@each(
    ("entry", "hit"),
    [
        ("bad-org/model", True),
        ("huggingface/bad-org/model", True),
        ("model:huggingface/bad-org/model", True),
        ("sha256:" + "b" * 64, True),
        ("bad-org/mode", False),
        ("org/model", False),
        ("", False),
        ("model", False),
    ],
)
def test_a_line_of_a_blocklist_names_a_model_in_each_of_its_forms(entry, hit):
    ref = {
        "component": "model:huggingface/bad-org/model",
        "revision": COMMIT,
        "digests": {"sha256": "b" * 64},
    }
    outcome = run({"inputs": [ref]}, policy={"blocked_sources": [entry]})
    assert ("TW-PIPE-BLOCKED-SOURCE" in ids(outcome)) is hit
    assert (status(outcome, "blocked_sources") is Status.FAIL) is hit


@each(
    ("url", "stage", "version"),
    [
        ("https://d.example/reviews/v7.parquet", None, "v7"),
        ("s3://acme/dumps/2026-11-01/all.jsonl", None, "2026-11-01"),
        ("https://d.example/reviews-1.2.csv", None, "1.2"),
        ("https://d.example/latest.csv", None, None),
        ("https://d.example/reviews2.csv", None, None),
        ("https://d.example/page", "crawl", "crawl"),
    ],
)
def test_a_source_whose_address_names_a_version_may_not_change_under_it(url, stage, version):
    source = {"url": url, "verified": True, "digests": {"sha256": "1" * 64}}
    outcome = run({"stage": stage, "data_sources": [source]})
    assert {s.version for s in outcome.sightings if s.component.startswith("dataset:")} == {version}


def test_a_domain_is_noted_with_the_pipeline_and_the_models_that_reached_it():
    outcome = run(
        {
            "inputs": [{"component": "model:r/a", "revision": COMMIT}],
            "data_sources": [{"url": "https://d.example/x", "verified": True}],
        }
    )
    reached = {s.name for s in outcome.sightings if s.component == "domain:d.example"}
    assert reached == {f"pipeline:@{TENANT}/train", "model:r/a"}
