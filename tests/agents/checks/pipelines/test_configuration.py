"""Configurations are read within bounds, compared with secrets masked, and scanned from files."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.checks.pipelines import check_pipeline, config_diff, pipeline_event_from_config
from agents.checks.pipelines.configuration import UnreadableConfigError
from agents.checks.pipelines.secrets import find_secret, masked
from agents.domain.knowledge import MemoryKnowledge
from schemas.errors import TidewatchError
from tests.each import each

NOW = datetime(2026, 11, 20, tzinfo=UTC)


def scan(text, **kwargs):
    raw = text.encode() if isinstance(text, str) else text
    event = pipeline_event_from_config(raw, name="train.yaml", time=NOW, **kwargs)
    return {d.rule_id for d in check_pipeline(event, MemoryKnowledge()).detections}


def test_a_difference_says_what_changed_and_masks_secrets():
    old = {"lr": 1, "seed": 1, "db_password": "tR7kLq9vX2mZp4Wd", "a": [1, 2], "gone": None}
    new = {"lr": 1.0, "seed": True, "db_password": "other-secret-8271", "a": [1, 3, {}]}
    entries = {entry["path"]: entry for entry in config_diff(old, new)}
    assert entries["lr"]["change"] == "changed"
    assert entries["seed"] == {"path": "seed", "change": "changed", "old": 1, "new": True}
    assert entries["gone"]["change"] == "removed"
    assert entries["a[1]"]["new"] == 3
    assert entries["a[2]"] == {"path": "a[2]", "change": "added", "new": {}}
    text = json.dumps(list(entries.values()))
    assert "tR7k" not in text
    assert "other" not in text


def test_a_long_difference_says_how_much_it_leaves_out():
    result = config_diff({}, {f"k{i}": i for i in range(250)})
    assert len(result) == 101
    assert result[-1] == {"change": "truncated", "left_out": 150}


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=6), st.floats() | st.text(max_size=9) | st.none()))
def test_a_configuration_does_not_differ_from_itself(config):
    assert config_diff(config, json.loads(json.dumps(config))) == []


AWS = "AKIA" + "Z7QK4XW2M9RT6BVN"


@each(
    ("name", "value", "found"),
    [
        ("x", AWS, True),
        ("x", "AKIA" + "IOSFODNN7EXAMPLE", False),
        ("x", "AKIA" + "A" * 16, False),
        ("x", "hf_" + "qWeRtYuIoPaSdFgHjKlZxCvBnMqWeRtYuI", True),
        ("x", "hf_" + "x" * 34, False),
        ("x", "-----BEGIN RSA PRIVATE KEY-----\nMIIE", True),
        ("x", "-----BEGIN PUBLIC KEY-----\nMIIE", False),
        ("store", "postgresql://u:${PW}@db.example/x", False),
        ("store", "postgresql://u:kX8vQ2mN@db.example/x", True),
        ("api_key", "sk-...", False),
        ("api_key", "${API_KEY}", False),
        ("api_key", "your-api-key-1234", False),
        ("api_key", "secret-ref:train-key-1", False),
        ("apiKey", "f3A9c1D8e7B2", True),
        ("api_key_file", "f3A9c1D8e7B2", False),
        ("max_tokens", "f3A9c1D8e7B2", False),
        ("password", "hunter2", False),
        ("commit", "9d1c3f0be0c1c2b0a9f1f8f9b0a7d6c5e4f3a2b1", False),
        ("sha256", hashlib.sha256(b"").hexdigest(), False),
        ("image", "registry.example/train@sha256:" + "ab12" * 16, False),
    ],
)
def test_a_secret_is_distinguished_from_references_placeholders_and_digests(name, value, found):
    secret = find_secret(name, value)
    assert (secret is not None) is found
    if secret is not None:
        assert value not in secret.shown
        assert value not in str(masked(name, value))


HOSTILE_YAML = """
anchors:
  a: &a [x, x, x, x, x, x, x, x, x, x]
  b: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]
  c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]
  d: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]
  e: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d, *d]
"""


@each(
    "raw",
    [
        HOSTILE_YAML.encode(),
        b"a: &a [*a]",
        b"[" * 3_000,
        b"a: [\n",
        b"\xff\xfe\x00",
        b"!!python/object/apply:os.system ['true']\n",
        b"x: " + b"y" * (1 << 20),
        b"? {a: 1}\n: 2\n",
        b"<<: 7\n",
    ],
)
def test_a_hostile_file_is_refused_with_a_clear_error(raw):
    with pytest.raises(TidewatchError) as caught:
        scan(raw)
    assert isinstance(caught.value, UnreadableConfigError)


def test_a_file_gives_the_findings_of_the_event():
    text = """
base_model: acme-labs/encoder
trust_remote_code: true
data_sources:
  - url: http://data.acme.example/x.csv
    verified: true
when: 2026-01-01
1: one
"""
    expected = {"TW-PIPE-INSECURE-SOURCE", "TW-PIPE-REMOTE-CODE", "TW-PIPE-UNPINNED-CODE"}
    assert expected <= scan(text)
    assert expected <= scan('{"base_model": "a-b/c", "trust_remote_code": true, "data_sources":'
                            ' ["http://data.acme.example/x.csv"]}')  # fmt: skip


def test_a_json_file_keeps_the_hash_its_writer_gets():
    config = {"lr": 2e-05, "n": 10**30}
    text = json.dumps(config, indent=2)
    good = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
    assert scan(text, expected_config_hash=good) == set()
    assert scan(text, expected_config_hash="0" * 64) == {"TW-PIPE-CONFIG-TAMPERED"}


def test_kubernetes_manifests_are_read_document_by_document():
    text = """
kind: Pod
spec:
  containers:
    - args: ["vllm", "serve", "acme/m", "--trust-remote-code"]
      env:
        - {name: DB_PASSWORD, value: tR7kLq9vX2mZp4Wd}
---
kind: Service
secret: !Ref Something
"""
    assert {"TW-PIPE-REMOTE-CODE", "TW-PIPE-SECRET"} <= scan(text)
