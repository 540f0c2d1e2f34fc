"""`tidewatch policy check` refuses ignored settings; `show` prints what `set` takes."""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from agents.domain.rules import all_rules
from schemas.policy import Policy, default_policy
from streams.cli import main
from streams.cli.policy import read_policy
from streams.cli.policy_problems import (
    COMMANDED,
    is_known_check,
    is_known_registry,
    policy_problems,
)
from streams.reports.toml_text import to_toml
from tests.each import each
from tests.streams.adapters.payloads import SAMPLES, events_of

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = ROOT / "deploy" / "policy.example.toml"


def problems(**fields):
    return policy_problems(msgspec.convert({"tenant": "acme", **fields}, Policy))


def test_the_example_is_in_order_and_shows_every_field():
    policy = read_policy(EXAMPLE)
    assert policy_problems(policy) == []
    document = tomllib.loads(EXAMPLE.read_text())
    assert set(document) == set(Policy.__struct_fields__)
    for name in ("trusted", "internal"):
        assert set(document[name]) == set(getattr(policy, name).__struct_fields__)
    shown = {field for suppression in document["suppressions"] for field in suppression}
    assert shown == set(policy.suppressions[0].__struct_fields__)


@each(
    ("fields", "said"),
    [
        ({"automatic": ["quarantin"], "dry_run": False}, "did you mean quarantine?"),
        ({"advised": ["format-disk"]}, "'format-disk' is not an action"),
        ({"automatic": ["restore"], "dry_run": False}, "follows quarantine automatically"),
        ({"required_checks": ["signatur"]}, "did you mean signature?"),
        ({"required_checks": ["no-such-check"]}, "'no-such-check' is not a check"),
        ({"roots": ["models/acme"]}, "roots: 'models/acme'"),
        ({"roots": ["/srv/models"]}, "roots: '/srv/models'"),
        ({"roots": ["file:///srv/../etc"]}, "the path contains .."),
        ({"roots": ["https:///models"]}, "names no host"),
        ({"roots": ["https://user@host/models"]}, "contains a user"),
        ({"trusted": {"registries": ["hugginface"]}}, "did you mean huggingface?"),
        ({"internal": {"registries": ["our registry"]}}, "no adapter names a registry"),
        ({"trusted": {"publishers": ["acme-labs"]}}, "not a publisher key"),
        ({"tenant": ""}, "tenant:"),
        ({"tenant": " acme"}, "white space"),
        ({"tenant": "a|b"}, "between parts of keys"),
        ({"tenant": "a\nb"}, "control character"),
        ({"tenant": "operator"}, "operator's own records"),
        ({"tenant": "x" * 1025}, "longer than"),
        (
            {"suppressions": [{"reason": "x", "expires": "soon", "rule_id": "TW-PKG-UNPINNED"}]},
            "day",
        ),
        ({"suppressions": [{"reason": "x", "expires": "2027-01-01"}]}, "names no rule"),
        (
            {
                "suppressions": [
                    {"reason": "x", "expires": "2027-01-01", "rule_id": "TW-PKG-UNPINED"}
                ]
            },
            "did you mean TW-PKG-UNPINNED?",
        ),
    ],
)
def test_ignored_setting_is_a_problem(fields, said):
    (problem,) = problems(**fields)
    assert said in problem


def test_effective_setting_is_no_problem():
    assert problems(automatic=sorted(COMMANDED), dry_run=False) == []
    names = ["hash", "hash_model.bin", "signature", "entry_point", "evaluation:red team"]
    assert problems(required_checks=names) == []
    assert problems(roots=["hf://acme-labs", "s3://bucket", "oci://registry.example/x"]) == []
    assert policy_problems(default_policy("tenant-a")) == []


def test_a_trust_root_that_establishes_nothing_is_a_problem():
    sigstore = "sigstore:releases@acme.example https://accounts.acme.example"
    pem = "-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----\n"
    for signer in (sigstore, pem):
        root = {"signer": signer, "namespaces": ["model:hub/acme/*", "publisher:hub/acme"]}
        assert problems(trust_roots=[root]) == []
    found = problems(
        trust_roots=[
            {"signer": "releases@acme.example", "namespaces": ["acme/*"]},
            {"signer": sigstore, "namespaces": []},
            {"signer": sigstore, "namespaces": ["*"]},
        ]
    )
    assert [entry.partition(":")[0] for entry in found] == ["trust_roots"] * 4
    assert "is not a PEM public key" in found[0]
    assert "'acme/*' is not a component key" in found[1]
    assert "is authorised for nothing" in found[2]


@each("rule_id", sorted(all_rules()))
def test_each_check_that_a_rule_feeds_may_be_required(rule_id):
    check = all_rules()[rule_id].check
    assert check == "ledger" or is_known_check(check.replace("<", "").replace(">", ""))


@each("name", sorted(SAMPLES))
def test_registries_of_adapters_are_known(name):
    for event in events_of(name):
        registry = getattr(event.data, "registry", None)
        assert registry is None or is_known_registry(registry)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
policies = st.builds(
    Policy,
    tenant=texts,
    version=st.integers(-(2**53), 2**53),
    roots=st.lists(texts, max_size=3).map(tuple),
    credentials=st.none() | texts,
    dry_run=st.booleans(),
    criticality=st.dictionaries(texts, st.floats(0, 1), max_size=3),
    evidence=st.dictionaries(texts, st.lists(texts, max_size=2).map(tuple), max_size=3),
)


@given(policies)
def test_a_policy_shown_reads_back_as_it_was(policy):
    text = to_toml(msgspec.to_builtins(policy))
    assert msgspec.convert(tomllib.loads(text), Policy) == policy
    policy_problems(policy)


def test_the_example_shown_reads_back_as_it_was():
    policy = read_policy(EXAMPLE)
    assert msgspec.convert(tomllib.loads(to_toml(msgspec.to_builtins(policy))), Policy) == policy


def test_credentials_of_no_table_are_a_problem_where_the_tables_are_known(
    tmp_path, monkeypatch, capsys
):
    secrets = tmp_path / "secrets.toml"
    secrets.write_text('[secrets."hub"]\ntenants = ["acme"]\ntoken = "env:NOT_SET_HERE"\n')
    policy = tmp_path / "acme.toml"
    for name, code in (("hub", 0), ("hubb", 1)):
        policy.write_text(f'tenant = "acme"\ncredentials = "{name}"\n')
        assert main(["policy", "check", str(policy)]) == 0
        monkeypatch.setenv("TIDEWATCH_FETCH_CREDENTIALS", str(secrets))
        assert main(["policy", "check", str(policy)]) == code
        monkeypatch.delenv("TIDEWATCH_FETCH_CREDENTIALS")
    assert "those for acme are: hub" in capsys.readouterr().out
