"""Provenance verified from bytes: digests, signatures, sources, claims."""

from __future__ import annotations

import hashlib
import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.checks.provenance.artifact_facts import FactCounter
from agents.checks.provenance.card_reading import read_card
from agents.checks.provenance.signatures import Trust, policy_trust
from agents.checks.provenance.trust_root import pinned_trusted_root
from agents.checks.provenance.verify import local_files, verify_model
from schemas.events import Card
from schemas.policy import Policy
from schemas.severity import Status
from tests.agents.checks.provenance.scanning import MemorySource
from tests.agents.checks.provenance.signing import (
    make_model,
    new_key,
    public_pem,
    sign_with_certificate,
    sign_with_key,
)


@pytest.fixture
def model(tmp_path):
    return make_model(tmp_path / "model")


@pytest.fixture
def scratch(tmp_path):
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def check(model, **options):
    outcome = verify_model(local_files(model), **options)
    return {found.name: found.status for found in outcome.checks}, outcome


def sha(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_expected_files_in_folders_are_compared_and_missing_ones_fail(model):
    found, _ = check(
        model,
        expected_hashes={
            "model.safetensors": sha(model / "model.safetensors"),
            "sub/vocab.txt": "0" * 64,
            "gone.bin": "1" * 64,
        },
    )
    assert found["hash_model.safetensors"] is Status.PASS
    assert found["hash_sub/vocab.txt"] is Status.FAIL
    assert found["hash_gone.bin"] is Status.FAIL
    assert found["unexpected_files"] is Status.PASS


def test_added_executable_file_warns(model):
    (model / "extra.pkl").write_bytes(b"\x80\x04.")
    found, outcome = check(
        model, expected_hashes={"model.safetensors": sha(model / "model.safetensors")}
    )
    assert found["unexpected_files"] is Status.WARN
    assert found["format_safety"] is Status.WARN
    assert {d.rule_id for d in outcome.detections} == {"TW-PROV-FILE-UNEXPECTED"}


def test_link_to_a_file_outside_is_not_the_expected_file(model, tmp_path):
    (tmp_path / "outside").write_bytes(b"x")
    (model / "weights.bin").symlink_to(tmp_path / "outside")
    found, _ = check(model, expected_hashes={"weights.bin": sha(tmp_path / "outside")})
    assert found["hash_weights.bin"] is Status.FAIL


def test_source_is_compared_with_where_it_came_from(model):
    expected = "huggingface/acme/m"
    assert (
        check(model, expected_source=expected, actual_source="hf://acme/m")[0]["source"]
        is Status.PASS
    )
    assert (
        check(model, expected_source=expected, actual_source="huggingface/evil/m")[0]["source"]
        is Status.FAIL
    )
    assert check(model, expected_source=expected)[0]["source"] is Status.INCOMPLETE


def test_unsigned_and_invalid_signatures_differ(model):
    found, outcome = check(model)
    assert found["signature"] is Status.WARN
    assert outcome.detections == ()
    (model / "model.sig").write_text("{}")
    found, outcome = check(model)
    assert found["signature"] is Status.FAIL
    assert {d.rule_id for d in outcome.detections} == {"TW-PROV-SIGNATURE-INVALID"}


def test_signature_of_a_key_holds_until_anything_changes(model, scratch, capsys):
    key = new_key()
    sign_with_key(model, key, scratch)
    trust = Trust(keys=(public_pem(key),))
    assert check(model, trust=trust)[0]["signature"] is Status.PASS
    assert capsys.readouterr().out == ""
    assert check(model)[0]["signature"] is Status.WARN, "signed, but no signer is trusted"
    assert check(model, trust=Trust(keys=(public_pem(new_key()),)))[0]["signature"] is Status.FAIL
    both = Trust(keys=(public_pem(new_key()), public_pem(key)))
    assert check(model, trust=both)[0]["signature"] is Status.PASS

    (model / "evil.pkl").write_bytes(b"\x80\x04.")
    _, outcome = check(model, trust=trust)
    assert "added: evil.pkl" in outcome.detections[0].description
    (model / "evil.pkl").unlink()

    vocab = model / "sub" / "vocab.txt"
    vocab.write_text("a\nc\n")
    assert check(model, trust=trust)[0]["signature"] is Status.FAIL
    vocab.unlink()
    assert check(model, trust=trust)[0]["signature"] is Status.FAIL


def test_sharded_manifest_is_compared_shard_by_shard_and_appended_bytes_are_seen(model, scratch):
    (model / "big.bin").write_bytes(bytes(range(256)) * 40)
    key = new_key()
    sign_with_key(model, key, scratch, shard_size=4096, chunk_size=1024)
    trust = Trust(keys=(public_pem(key),))
    assert check(model, trust=trust)[0]["signature"] is Status.PASS
    with (model / "big.bin").open("ab") as file:
        file.write(b"more")
    assert check(model, trust=trust)[0]["signature"] is Status.FAIL


def test_signature_of_a_certificate_needs_its_authority(model, scratch, tmp_path):
    authority = sign_with_certificate(model, scratch)
    assert check(model, trust=Trust(certificates=(authority,)))[0]["signature"] is Status.PASS
    other = make_model(tmp_path / "other")
    (tmp_path / "scratch2").mkdir()
    stranger = sign_with_certificate(other, tmp_path / "scratch2")
    assert check(model, trust=Trust(certificates=(stranger,)))[0]["signature"] is Status.FAIL
    keys_only = Trust(keys=(public_pem(new_key()),))
    assert check(model, trust=keys_only)[0]["signature"] is Status.WARN


def test_policy_selects_trusted_signers():
    policy = Policy(
        tenant="t",
        signing_keys=(
            "-----BEGIN PUBLIC KEY-----\n",
            "ref:ca",
            "sigstore:ci@acme.example https://idp.example",
        ),
    )
    trust = policy_trust(policy, {"ref:ca": "-----BEGIN CERTIFICATE-----\n"})
    assert len(trust.keys) == len(trust.certificates) == 1
    assert trust.identities == (("ci@acme.example", "https://idp.example"),)


def test_pinned_trust_root_is_read_without_a_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    pinned_trusted_root.cache_clear()
    assert pinned_trusted_root().get_fulcio_certs()
    assert list(tmp_path.iterdir()) == []


def test_truncated_sigstore_bundle_is_invalid_not_an_error(model):
    (model / "model.sig").write_text(
        json.dumps(
            {"verificationMaterial": {"certificate": {}, "tlogEntries": []}, "dsseEnvelope": {}}
        )
    )
    found, _ = check(model, trust=Trust(identities=(("a@b.example", "https://idp.example"),)))
    assert found["signature"] is Status.FAIL


def safetensors(path, shape, dtype="F32"):
    size = {"F32": 4, "F16": 2}[dtype]
    for extent in shape:
        size *= extent
    header = json.dumps({"w": {"dtype": dtype, "shape": shape, "data_offsets": [0, size]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(size))


def gguf(path, architecture, file_type, dims):
    def string(text):
        return struct.pack("<Q", len(text)) + text.encode()

    path.write_bytes(
        b"GGUF" + struct.pack("<IQQ", 3, 1, 3)
        + string("general.architecture") + struct.pack("<I", 8) + string(architecture)
        + string("tokens") + struct.pack("<IIQ", 9, 8, 2) + string("a") + string("b")
        + string("general.file_type") + struct.pack("<II", 4, file_type)
        + string("w") + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, 0, 0)
    )  # fmt: skip


@pytest.mark.parametrize(
    ("claimed", "status"), [(1000, Status.PASS), (1100, Status.PASS), (7000, Status.WARN)]
)
def test_claimed_parameters_are_compared_with_the_header(model, claimed, status):
    safetensors(model / "model.safetensors", [10, 100])
    assert check(model, card=Card(parameters=claimed))[0]["card_parameters"] is status


def test_claimed_architecture_and_quantisation_are_compared(tmp_path):
    folder = tmp_path / "g"
    folder.mkdir()
    gguf(folder / "m.gguf", "llama", 15, [10, 20])
    right = Card(parameters=200, architectures=("llama",), quantization="Q4_K_M")
    wrong = Card(parameters=90, architectures=("BertModel",), quantization="Q8_0")
    found, _ = check(folder, card=right)
    assert {found[f"card_{n}"] for n in ("parameters", "architecture", "quantization")} == {
        Status.PASS
    }
    found, outcome = check(folder, card=wrong)
    assert {found[f"card_{n}"] for n in ("architecture", "quantization")} == {Status.WARN}
    assert {d.rule_id for d in outcome.detections} == {"TW-PROV-CARD-CONTRADICTION"}


def test_damaged_header_contradicts_nothing(model):
    (model / "model.safetensors").write_bytes(b"\xff" * 20)
    found, outcome = check(model, card=Card(parameters=10))
    assert "card_parameters" not in found
    assert outcome.detections == ()
    assert found["format_safety"] is Status.FAIL


def test_pickle_under_a_safe_name_is_no_safe_format(model):
    assert check(model)[0]["format_safety"] is Status.PASS
    for name in ("model.safetensors", "m.gguf", "m.onnx"):
        (model / name).write_bytes(b"\x80\x04N." + b"." * 20)
        found, outcome = check(model)
        assert found["format_safety"] is Status.FAIL
        assert name in outcome.checks[0].detail
        (model / name).unlink()


CARD = """---
license: apache-2.0
base_model:
- acme/base
datasets: acme/reviews
model-index:
- name: m
  results:
  - dataset: {name: GLUE}
    metrics: [{type: accuracy, value: 0.93}]
    source: {url: https://acme.example/report}
  - metrics: [{type: f1, value: 1}]
---
# Text
"""


def test_card_of_a_readme_is_read():
    card = read_card(CARD.encode())
    assert (card.license, card.base_model, card.datasets) == (
        "apache-2.0",
        ("acme/base",),
        ("acme/reviews",),
    )
    assert [(claim.result, claim.evidence) for claim in card.claims] == [
        ("0.93", "https://acme.example/report"),
        ("1", None),
    ]


@pytest.mark.parametrize(
    "text",
    ["", "# no head", "---\n[\n---\n", "---\n- a\n---\n", "---\na: &a [1]\nb: *a\n---\n",
     "---\n" + "[" * 5000 + "\n---\n", "---\na: !!python/object:os.system x\n---\n"],
)  # fmt: skip
def test_card_that_can_not_be_read_claims_nothing(text):
    assert read_card(text.encode()) is None


@given(st.binary(max_size=300))
def test_any_bytes_after_a_card_head_are_read_without_error(raw):
    read_card(b"---\n" + raw + b"\n---\n")


@given(st.binary(max_size=400), st.sampled_from(["a.gguf", "a.safetensors", "config.json"]))
def test_any_bytes_are_counted_without_error(raw, name):
    magic = {"a.gguf": b"GGUF\x03\0\0\0", "a.safetensors": b"", "config.json": b"{"}[name]
    counter = FactCounter()
    counter.add(name, MemorySource(magic + raw))
    counter.facts()


def test_readme_of_a_model_is_compared_with_it(model):
    (model / "README.md").write_text("---\nlicense: mit\nbase_model: meta-llama/Llama-2-7b\n---\n")
    assert "card_parameters" not in check(model)[0]
