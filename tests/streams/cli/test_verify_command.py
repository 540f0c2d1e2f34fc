"""`tidewatch verify`: checks, exit codes, and mistakes of the user."""

from __future__ import annotations

import hashlib
import json

import pytest

from streams.cli import main
from tests.agents.checks.provenance.signing import make_model, new_key, public_pem, sign_with_key


@pytest.fixture
def model(tmp_path):
    return make_model(tmp_path / "model")


def run(capsys, *arguments):
    code = main(["verify", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_checks_are_printed_and_the_worst_decides(model, capsys, tmp_path):
    sums = tmp_path / "SHA256SUMS"
    digest = hashlib.sha256((model / "model.safetensors").read_bytes()).hexdigest()
    sums.write_text(f"{digest}  model.safetensors\n")
    code, out, _ = run(capsys, model, "--expected-hashes", sums, "--format", "json")
    found = json.loads(out)
    assert code == 0
    assert found["overall_status"] == "WARN"
    assert {check["name"] for check in found["checks"]} == {
        "format_safety", "hash_model.safetensors", "unexpected_files", "signature",
    }  # fmt: skip
    (model / "model.safetensors").write_bytes(b"other")
    code, out, _ = run(capsys, model, "--expected-hashes", sums)
    assert code == 1
    assert "FAIL" in out


def test_warning_fails_when_strict(model, capsys):
    assert run(capsys, model)[0] == 0
    assert run(capsys, model, "--strict")[0] == 1


def test_unknown_origin_is_incomplete(model, capsys):
    assert run(capsys, model, "--source", "huggingface/acme/m")[0] == 2
    same = ("--source", "huggingface/acme/m", "--actual-source", "hf://acme/m@main")
    assert run(capsys, model, *same)[0] == 0
    other = ("--source", "huggingface/acme/m", "--actual-source", "hf://evil/m")
    assert run(capsys, model, *other)[0] == 1


def test_signature_is_verified_with_the_key_given(model, capsys, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    key = new_key()
    sign_with_key(model, key, scratch)
    pem = tmp_path / "pub.pem"
    pem.write_text(public_pem(key))
    code, out, _ = run(capsys, model, "--key", pem, "--format", "json")
    assert code == 0
    assert {
        "name": "signature",
        "status": "PASS",
        "detail": "signed by the trusted key",
    } in json.loads(out)["checks"]
    (model / "extra.pkl").write_bytes(b"\x80\x04N.")
    assert run(capsys, model, "--key", pem)[0] == 1


def test_unsigned_distribution_fails(tmp_path, capsys):
    wheel = tmp_path / "acme-1.0-py3-none-any.whl"
    wheel.write_bytes(b"PK")
    code, out, _ = run(
        capsys, "--identity", "a@b.example", "--issuer", "https://idp.example", wheel
    )
    assert code == 1
    assert "signature" in out


@pytest.mark.parametrize(
    "arguments",
    [["absent"], [".", "--identity", "a@b.example"], [".", "--expected-hashes", "absent"]],
)
def test_mistakes_are_reported_in_one_line(capsys, arguments):
    code, _, err = run(capsys, *arguments)
    assert code == 2
    assert err.count("\n") == 1
    assert "Traceback" not in err
