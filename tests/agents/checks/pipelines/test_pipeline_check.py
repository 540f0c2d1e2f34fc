"""What the check of a pipeline run says, beyond the examples of its rules."""

from __future__ import annotations

import hashlib
import json

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.checks.pipelines import check_pipeline
from agents.domain.detection import rule_of, to_finding
from agents.domain.knowledge import MemoryKnowledge
from schemas.events import ComponentRef, DataSource, PipelineRun
from schemas.intel import IntelFact, IntelKind
from schemas.severity import Severity, Status, worst
from tests.agents.examples import TENANT, event_of, knowledge_of
from tests.samples import sample

COMMIT = "9d1c3f0be0c1c2b0a9f1f8f9b0a7d6c5e4f3a2b1"


def run(data, **known):
    return check_pipeline(event_of("pipelines", data), knowledge_of(known))


def raw_config(config: bytes, **data):
    event = event_of("pipelines", data)
    changed = msgspec.structs.replace(event.data, config=msgspec.Raw(config))
    return msgspec.structs.replace(event, data=changed)


def status(outcome, name):
    return next(check.status for check in outcome.checks if check.name == name)


def ids(outcome):
    return {detection.rule_id for detection in outcome.detections}


def test_the_native_sample_is_harmless_when_its_policy_is_known():
    document = orjson.loads(sample("events", "pipeline-run.json"))
    policy = orjson.loads(sample("events", "policy.json"))
    outcome = run(document["data"], policy=policy)
    assert not outcome.detections
    assert worst(check.status for check in outcome.checks) is Status.PASS


@pytest.mark.parametrize(
    "config",
    [
        b'{"lr": 2e-05, "n": 123456789012345678901234567890, "x": 1E400, "nan": NaN}',
        b'{"b": 1, "a": {"z": "\\u00e9", "y": "\xc3\xa9"}, "b": 2.0}',
        b' { "s" : "\\ud800", "t":true , "u" : [1.0, -0.0, 1e16, 1e-7] } ',
        b"[]",
        b'"text"',
    ],
)
def test_the_hash_is_pythons_own_bit_for_bit(config):
    expected = hashlib.sha256(json.dumps(json.loads(config), sort_keys=True).encode()).hexdigest()
    good = raw_config(config, expected_config_hash=expected.upper())
    assert "TW-PIPE-CONFIG-TAMPERED" not in ids(check_pipeline(good, MemoryKnowledge()))
    bad = raw_config(config, expected_config_hash=expected[:-1] + "x")
    outcome = check_pipeline(bad, MemoryKnowledge())
    assert "TW-PIPE-CONFIG-TAMPERED" in ids(outcome)
    assert status(outcome, "config_integrity") is Status.FAIL


@pytest.mark.parametrize(
    "config",
    [
        b"[" * 5_000 + b"]" * 5_000,
        b'{"a": ' + b"9" * 5_000 + b"}",
        b'{"a": "' + b"x" * (1 << 20) + b'"}',
        b'{"a": \xff}',
        b"{",
        b"[" + b"1," * 150_000 + b"1]",
    ],
    ids=["deep", "huge integer", "large", "not UTF-8", "cut off", "many values"],
)
def test_a_config_out_of_bounds_is_incomplete_and_never_clean(config):
    outcome = check_pipeline(raw_config(config, expected_config_hash="0" * 64), MemoryKnowledge())
    worst_of = worst(check.status for check in outcome.checks)
    assert worst_of.rank >= Status.INCOMPLETE.rank
    assert status(outcome, "secrets") is Status.INCOMPLETE


def test_an_error_in_the_config_erases_no_finding_of_the_event():
    event = raw_config(b"{", data_sources=[{"url": "http://data.example/x"}])
    outcome = check_pipeline(event, MemoryKnowledge())
    assert {"TW-PIPE-INSECURE-SOURCE", "TW-PIPE-UNVERIFIED-SOURCE"} <= ids(outcome)


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


@pytest.mark.parametrize(
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


@pytest.mark.parametrize(
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
def test_what_intel_condemns_fails_the_check_and_is_left_to_the_ledger(fact, data):
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


@pytest.mark.parametrize(
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


def test_without_an_expected_hash_the_config_becomes_a_baseline_of_the_tenants_own_pipeline():
    outcome = run({"config": {"a": 1}})
    baseline = [s for s in outcome.sightings if s.kind == "config"]
    expected = hashlib.sha256(b'{"a": 1}').hexdigest()
    assert [(s.component, s.digest) for s in baseline] == [(f"pipeline:@{TENANT}/train", expected)]
    outcome = run({"config": {"a": 1}, "expected_config_hash": expected})
    assert not [s for s in outcome.sightings if s.kind == "config"]


@pytest.mark.parametrize("name", ["gitCommit", "sha1"])
def test_an_input_from_git_is_seen_as_its_tag_and_as_the_commit_it_stood_for(name):
    step, commit = "service:git.example/acme/step", "0E58" * 10
    outcome = run(
        {
            "inputs": [{"component": step, "revision": "v45", "digests": {name: commit}}],
            "outputs": [{"component": "model:reg.acme/out"}],
        }
    )
    seen = {(s.version, s.tag) for s in outcome.sightings if s.component == step}
    assert seen == {("v45", None), (commit.lower(), "v45")}
    (made,) = (s for s in outcome.sightings if s.kind == "made")
    assert {f"{step}@v45", f"{step}@{commit.lower()}"} <= set(made.made_from)


def test_what_is_no_commit_is_not_taken_for_one():
    step = "service:git.example/acme/step"
    for digests in ({"gitCommit": "v45"}, {"sha512": "a" * 40}, {}):
        outcome = run({"inputs": [{"component": step, "revision": "v45", "digests": digests}]})
        assert [s.version for s in outcome.sightings if s.component == step] == ["v45"]


def test_outputs_are_made_from_the_inputs_their_digests_and_the_sources():
    outcome = run(
        {
            "stage": "fine-tuning",
            "inputs": [
                {
                    "component": "model:huggingface/acme/base",
                    "revision": COMMIT,
                    "digests": {"sha256": "3" * 64},
                }
            ],
            "data_sources": [
                {"url": "https://d.example/x", "verified": True, "digests": {"sha256": "2" * 64}}
            ],
            "outputs": [
                {
                    "component": "model:reg.acme/out",
                    "revision": "1",
                    "digests": {"sha256": "4" * 64},
                }
            ],
        }
    )
    made = {s.component: s for s in outcome.sightings if s.kind == "made"}
    assert set(made) == {"model:reg.acme/out", "sha256:" + "4" * 64}
    assert {
        f"model:huggingface/acme/base@{COMMIT}",
        "sha256:" + "3" * 64,
        "sha256:" + "2" * 64,
        "dataset:d.example/x",
        "domain:d.example",
    } <= set(made["model:reg.acme/out"].made_from)
    assert made["sha256:" + "4" * 64].name == "model:reg.acme/out"
    used = {s.component: s.exposure for s in outcome.sightings if s.kind == "used"}
    assert used["model:huggingface/acme/base"] == "executed"


def test_a_large_run_stands_between_its_inputs_and_outputs():
    inputs = [{"component": f"model:r/in{n}", "revision": COMMIT} for n in range(300)]
    outputs = [{"component": f"model:r/out{n}", "revision": "1"} for n in range(400)]
    outcome = run({"pipeline": "mill", "inputs": inputs, "outputs": outputs})
    built = [sighting for sighting in outcome.sightings if sighting.made_from]
    assert max(len(detection.made_from) for detection in built) <= 128
    assert sum(len(detection.made_from) for detection in built) < 3_000
    through = {
        f"{detection.component}@{detection.version}": detection.made_from for detection in built
    }
    made = [detection for detection in built if detection.kind == "made"]
    assert len(made) == 400
    for output in made:
        reached = {key for step in output.made_from for key in through.get(step, ())}
        assert {f"model:r/in{n}@{COMMIT}" for n in range(300)} <= reached


@pytest.mark.parametrize(
    ("stage", "state", "exposure"),
    [
        ("deployment", "succeeded", "serving"),
        ("serving", "running", "serving"),
        ("serving", "failed", "executed"),
        ("fine-tuning", "succeeded", "executed"),
        ("crawl", "succeeded", "delivered"),
        ("fine-tuning", "aborted", "delivered"),
    ],
)
def test_exposure_follows_stage_and_state(stage, state, exposure):
    data = {"stage": stage, "state": state}
    outcome = run({**data, "inputs": [{"component": "model:r/a", "revision": COMMIT}]})
    assert {s.exposure for s in outcome.sightings if s.kind == "used"} == {exposure}


def test_what_is_deployed_is_served_under_the_tenants_own_name():
    outcome = run(
        {
            "stage": "deployment",
            "inputs": [{"component": "model:reg.acme/out", "revision": "1"}],
            "outputs": [{"component": "deployment:fraud-api"}],
        },
        policy={"criticality": {"deployment:fraud-api": 1.0}},
    )
    served = [s for s in outcome.sightings if s.kind == "served"]
    assert [(s.component, s.exposure) for s in served] == [
        (f"deployment:@{TENANT}/fraud-api", "serving")
    ]
    assert "model:reg.acme/out@1" in served[0].made_from
    assert served[0].criticality == 1.0


@pytest.mark.parametrize(
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


def test_no_event_can_speak_of_another_tenants_names():
    outcome = run({"inputs": [{"component": "pipeline:@tenant-b/train"}]})
    assert not [s for s in outcome.sightings if "tenant-b" in s.component]


@pytest.mark.parametrize(
    ("named", "key"),
    [
        ("service:ranker", f"service:@{TENANT}/ranker"),
        ("service:rank.svc.cluster.local/v1", f"service:@{TENANT}/rank.svc.cluster.local/v1"),
        ("service:github.com/owner/action", "service:github.com/owner/action"),
        ("deployment:api.acme.example", f"deployment:@{TENANT}/api.acme.example"),
    ],
)  # fmt: skip
def test_a_service_under_a_public_host_is_the_worlds_and_others_are_the_tenants_own(named, key):
    seen = run({"inputs": [{"component": named, "revision": "v1"}]}).sightings
    assert [
        sighting.component
        for sighting in seen
        if sighting.component.startswith(named.split(":")[0])
    ] == [key]


def test_an_input_that_names_no_component_makes_the_lineage_incomplete():
    outcome = run({"inputs": [{"component": "weird"}, {"component": "model:r/a"}]})
    assert status(outcome, "lineage") is Status.INCOMPLETE
    assert "model:r/a" in {s.component for s in outcome.sightings}


def test_a_regression_after_an_input_changed_is_held_with_more_confidence():
    url = "https://d.example/x"
    config = {"data_sources": [{"url": url, "verified": True, "sha256": "1" * 64}]}
    source = {"url": url, "verified": True, "digests": {"sha256": "2" * 64}}
    bad = {"evaluation": {"suite": "s", "score": 0.5, "baseline": 0.9}}
    plain = next(d for d in run(bad).detections if d.rule_id == "TW-PIPE-REGRESSION")
    changed = next(
        d
        for d in run({**bad, "config": config, "data_sources": [source]}).detections
        if d.rule_id == "TW-PIPE-REGRESSION"
    )
    assert plain.confidence is None
    assert changed.confidence == 0.9


def test_a_secret_appears_nowhere_in_what_goes_out():
    secret = "tR7kLq9vX2mZp4Wd"
    event = event_of(
        "pipelines",
        {
            "config": {
                "db_password": secret,
                "env": [{"name": "API_TOKEN", "value": secret}],
                "args": [f"--auth-token={secret}9"],
                "store": f"postgresql://u:{secret}@db.example/x",
            },
            "data_sources": [{"url": f"https://u:{secret}@d.example/x?sig={secret}"}],
        },
    )
    outcome = check_pipeline(event, MemoryKnowledge())
    places = {d.evidence.get("path") for d in outcome.detections if d.rule_id == "TW-PIPE-SECRET"}
    assert {"db_password", "env[0].value", "args[0]", "store", None} <= places
    findings = [to_finding(d, event, component=event.subject) for d in outcome.detections]
    text = orjson.dumps([findings, outcome.checks, outcome.sightings], default=msgspec.to_builtins)
    assert secret.encode() not in text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["data_sources", "url", "model", "revision", "args", "token", "name"])
            | st.text(max_size=8),
            inner,
            max_size=4,
        )
    ),
    max_leaves=15,
)


@settings(max_examples=150, deadline=None)
@given(config=JSON, url=st.text(max_size=60), component=st.text(max_size=40), digest=st.text())
def test_no_run_crashes_the_check_and_the_same_run_says_the_same(config, url, component, digest):
    text = json.dumps(config).encode("utf-8", "surrogatepass")
    run_data = PipelineRun(
        pipeline="p",
        config=msgspec.Raw(text),
        expected_config_hash=digest,
        data_sources=(
            DataSource(url=url, digests={"sha256": digest}),
            DataSource(url="https://" + url),
        ),
        inputs=(ComponentRef(component=component), ComponentRef(component=f"model:{component}")),
    )
    event = msgspec.structs.replace(event_of("pipelines", {}), data=run_data)
    knowledge = MemoryKnowledge()
    knowledge.set_fact("domain:x", IntelFact(key="domain:x", kind=IntelKind.BLOCKED))
    first, second = check_pipeline(event, knowledge), check_pipeline(event, knowledge)
    assert first == second
    assert len({s.id for s in first.sightings}) == len(first.sightings)


def severity_of(found):
    return found.severity or rule_of(found).severity


def loud(outcome):
    """Return the rules that found something above low."""
    return {
        found.rule_id for found in outcome.detections if severity_of(found).rank > Severity.LOW.rank
    }


KNOWN_HASH = hashlib.sha256(json.dumps({"a": 1}, sort_keys=True).encode()).hexdigest()
HERE = "https://data.acme.example/x"
EVIL = "http://localhost.evil.example/x"
HUGGING = "hf_" + "aBcDeFgHiJkLmNoPqRsTuVwXyZ01234567"


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        ({"data_sources": [{"url": "http://localhost:9000/x"}]}, None),
        ({"data_sources": [{"url": "http://minio.ml.svc.cluster.local:9000/b"}]}, None),
        ({"data_sources": [{"url": "http://10.1.2.3:9000/b"}]}, None),
        ({"data_sources": [{"url": EVIL, "verified": True}]}, "INSECURE-SOURCE"),
        ({"data_sources": [{"url": "https://169.254.169.254/", "verified": True}]}, "ODD-HOST"),
        ({"data_sources": [{"url": "http://localhost/x", "verified": False}]}, "UNVERIFIED-SOURCE"),
        ({"config": {"a": 1.0}, "expected_config_hash": KNOWN_HASH}, "CONFIG-TAMPERED"),
        ({"config": {"a": 1}, "expected_config_hash": KNOWN_HASH.upper()}, None),
        ({"evaluation": {"suite": "toxicity", "score": 0.1, "baseline": 0.2}}, None),
        ({"evaluation": {"suite": "jailbreak", "score": 0.4, "baseline": 0.1}}, "REGRESSION"),
        ({"evaluation": {"suite": "q", "score": 0.892, "baseline": 0.9, "passed": True}}, None),
        ({"config": {"command": "curl -k https://data.acme.example/x"}}, "TLS-OFF"),
        ({"config": {"faiss": {"allow_dangerous_deserialization": True}}}, "UNSAFE-LOADER"),
        ({"config": {"env": [{"name": "TRUST_REMOTE_CODE", "value": "1"}]}}, "REMOTE-CODE"),
        ({"config": {"trust_remote_code": False, "args": ["--no-trust-remote-code"]}}, None),
        ({"config": {"args": [f"--hf-token={HUGGING}"]}}, "SECRET"),
        ({"config": {"commit": COMMIT, "dataset_sha256": KNOWN_HASH, "max_tokens": 9}}, None),
        ({"config": {"run_id": "3f5e1c0a-9a51-4f6e-8f0e-2f2a7c1d9b10"}}, None),
    ],
)  # fmt: skip
def test_what_is_ordinary_is_told_from_what_resembles_it(data, rule):
    found = loud(run(data))
    assert found == (set() if rule is None else {f"TW-PIPE-{rule}"})


@pytest.mark.parametrize(
    ("config", "inputs", "severity"),
    [
        ({"trust_remote_code": True}, [], Severity.HIGH),
        ({"trust_remote_code": True, "model": "a/b", "revision": "main"}, [], Severity.HIGH),
        ({"trust_remote_code": True, "model": "a/b", "revision": COMMIT}, [], Severity.MEDIUM),
        (
            {"trust_remote_code": True, "model": "a/b"},
            [{"component": "model:huggingface/a/b", "revision": COMMIT}],
            Severity.MEDIUM,
        ),
    ],
)
def test_remote_code_of_a_commit_can_be_reviewed(config, inputs, severity):
    outcome = run({"config": config, "inputs": inputs})
    (found,) = [
        detection for detection in outcome.detections if detection.rule_id == "TW-PIPE-REMOTE-CODE"
    ]
    assert severity_of(found) is severity


def test_a_regression_names_the_data_that_may_have_caused_it():
    outcome = run(
        {
            "data_sources": [{"url": HERE, "verified": True}],
            "inputs": [{"component": "dataset:acme/reviews", "revision": "v7"}],
            "outputs": [{"component": "model:registry.acme/m", "revision": "1"}],
            "evaluation": {"suite": "b", "score": 0.5, "baseline": 0.9},
        }
    )
    (found,) = [
        detection for detection in outcome.detections if detection.rule_id == "TW-PIPE-REGRESSION"
    ]
    assert set(found.related_keys) == {
        "dataset:data.acme.example/x",
        "dataset:acme/reviews",
        "model:registry.acme/m",
    }


@pytest.mark.parametrize(
    ("config", "datasets"),
    [
        ({"dataset_name": "acme/prefs"}, ["huggingface/acme/prefs"]),
        ({"train_dataset": "acme/a", "eval_dataset": "acme/b"},
         ["huggingface/acme/a", "huggingface/acme/b"]),
        ({"datasets": [{"path": "acme/a", "type": "alpaca"}, {"path": "data/b.jsonl"}]},
         ["huggingface/acme/a"]),
        ({"datasets": [{"path": "acme/a", "name": "en/fr", "revision": "9d1c"}]},
         ["huggingface/acme/a"]),
        ({"datasets": ["acme/a", "./b"]}, ["huggingface/acme/a"]),
        ({"dataset": {"name": "acme/a"}}, ["huggingface/acme/a"]),
        ({"dataset_mixer": {"acme/a": 0.5, "acme/b": 0.5}},
         ["huggingface/acme/a", "huggingface/acme/b"]),
        ({"datasets": [{"path": f"{HERE}.jsonl"}]}, ["data.acme.example/x.jsonl"]),
        ({"dataset": "alpaca_en_demo", "dataset_path": "datasets/a", "data": "acme/a"}, []),
        ({"metadata_dataset_name": "acme/a", "dataset_text_field": "a/b"}, []),
    ],
)  # fmt: skip
def test_datasets_that_a_configuration_names_are_inputs(config, datasets):
    outcome = run({"config": config, "outputs": [{"component": "model:r.acme/m", "revision": "1"}]})
    used = {
        sighting.component
        for sighting in outcome.sightings
        if sighting.component.startswith("dataset:")
    }
    assert used == {f"dataset:{name}" for name in datasets}
    made = next(
        sighting for sighting in outcome.sightings if sighting.component == "model:r.acme/m"
    )
    assert used <= set(made.made_from)
    assert not loud(outcome)


def test_a_dataset_of_the_hub_is_judged_by_the_hubs_host_or_registry():
    data = {"config": {"dataset_name": "acme/prefs"}}
    outside = run(data, policy={"tenant": TENANT, "trusted": {"data_hosts": ["data.acme.example"]}})
    assert loud(outside) == {"TW-PIPE-OUTSIDE-POLICY"}
    for trusted in (
        {"data_hosts": ["data.acme.example", "huggingface.co"]},
        {"data_hosts": ["data.acme.example"], "registries": ["hf"]},
    ):
        assert not ids(run(data, policy={"tenant": TENANT, "trusted": trusted}))


@pytest.mark.parametrize("name", ["revision_of_model", "revision", "model_revision"])
def test_a_models_revision_is_named_in_each_trainers_way(name):
    base = {"base_model": "acme/falcon", "trust_remote_code": True}
    assert "TW-PIPE-UNPINNED-MODEL" in ids(run({"config": base}))
    pinned = run({"config": {**base, name: COMMIT}})
    assert ids(pinned) == {"TW-PIPE-REMOTE-CODE"}
    assert [severity_of(found) for found in pinned.detections] == [Severity.MEDIUM]


def test_the_repository_that_a_trainer_pushes_to_is_no_model_it_loads():
    assert not ids(run({"config": {"hub_model_id": "acme/mine"}}))
