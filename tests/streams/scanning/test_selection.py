"""What a user names is scanned whole, or the scan says that it was not."""

from __future__ import annotations

import io
import json
import os
import pickle
import sys

import msgspec
import pytest

from schemas.channels import Channel
from schemas.policy import Policy
from streams.cli import main
from streams.held import held_values, hold_values, update_held


@pytest.fixture(autouse=True)
def state(tmp_path_factory, monkeypatch):
    place = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("TIDEWATCH_STATE_DIR", str(place))
    return place


def scanned(capsys, *words):
    code = main(["scan", *map(str, words), "--format", "json"])
    captured = capsys.readouterr()
    return code, json.loads(captured.out), captured.err


@pytest.mark.parametrize("words", [[""], ["  "], ["", "ok.pkl"]])
def test_an_empty_argument_is_an_error(words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ok.pkl").write_bytes(pickle.dumps([1]))
    code, report, _ = scanned(capsys, *words)
    assert code == 2
    assert report["files"][0]["verdict"] == "incomplete"
    assert "variable" in report["files"][0]["reasons"][0]


def test_no_argument_is_an_error(capsys):
    assert main(["scan"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_folder_without_files_is_an_error(tmp_path, capsys):
    (tmp_path / "empty" / "within").mkdir(parents=True)
    code, report, _ = scanned(capsys, tmp_path / "empty")
    assert code == 2
    assert "no file" in report["files"][0]["reasons"][0]


def test_what_is_excluded_is_not_scanned_and_all_of_it_is_an_error(tmp_path, capsys):
    (tmp_path / "package.json").write_text("{}")
    (tmp_path / "requirements.txt").write_text("numpy==2.0.0\n")
    assert scanned(capsys, tmp_path)[0] == 2
    code, report, _ = scanned(capsys, tmp_path, "--exclude", "*/package.json")
    assert (code, len(report["files"])) == (0, 1)
    code, report, _ = scanned(capsys, tmp_path, "--exclude", "*")
    assert code == 2
    assert "excluded" in report["files"][0]["reasons"][0]


def stdin(monkeypatch, raw):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw)))


@pytest.mark.parametrize(
    ("raw", "words", "format_"),
    [
        (b"numpy==2.0.0\npandsa==1.0\n", [], "requirements"),
        (b"pandsa\n", ["--as", "requirements"], "requirements"),
        (b'[{"name": "pandsa", "version": "1"}]', [], "pip-list"),
        (b'{"bomFormat": "CycloneDX", "components": [{"name": "x", "purl": "pkg:pypi/pandsa@1"}]}',
         [], "cyclonedx"),
        (pickle.dumps(os.system), [], "pickle"),
    ],
)  # fmt: skip
def test_standard_input(raw, words, format_, capsys, monkeypatch):
    stdin(monkeypatch, raw)
    code, report, _ = scanned(capsys, "-", *words)
    assert code == 1
    assert [(file["path"], file["format"]) for file in report["files"]] == [("-", format_)]


def test_an_unknown_kind_is_refused_with_those_there_are(capsys):
    assert main(["scan", "-", "--as", "nonsense"]) == 2
    assert "requirements" in capsys.readouterr().err


def test_names_that_are_no_text_do_not_end_the_scan(tmp_path, capsys):
    folder = os.fsencode(tmp_path)
    for name, content in (
        (b"re\xffquirements.txt", b"pandsa==1.0\n"),
        (b"m\xff.pkl", b"\x80\x04N."),
    ):
        with open(os.path.join(folder, name), "wb") as file:  # noqa: PTH118, PTH123 -- bytes
            file.write(content)
    code, report, _ = scanned(capsys, tmp_path)
    assert code == 1
    assert len(report["files"]) == 2
    assert all("\\xff" in file["path"] for file in report["files"])
    for form in ("table", "sarif", "cyclonedx"):
        assert main(["scan", str(tmp_path), "--format", form]) == 1
    assert main(["scan", os.fsdecode(folder + b"/m\xff.pkl"), os.fsdecode(b"absent\xff")]) == 2


def test_an_unexpected_error_is_reported_without_a_traceback(tmp_path, capsys, monkeypatch):
    def broken(*_args, **_options):
        raise ZeroDivisionError("what nobody thought of")

    monkeypatch.setattr("streams.cli.scan_run.render", broken)
    (tmp_path / "x.txt").write_text("x")
    assert main(["scan", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "ZeroDivisionError" in said
    assert "Traceback" not in said


def test_a_reader_that_fails_leaves_the_other_files(tmp_path, capsys, monkeypatch):
    def broken(*_args):
        raise ZeroDivisionError

    monkeypatch.setattr("streams.adapters.manifests.uv_lock.read", broken)
    (tmp_path / "uv.lock").write_text("version = 1\n")
    (tmp_path / "requirements.txt").write_text("pandsa==1.0\n")
    code, report, _ = scanned(capsys, tmp_path)
    assert code == 1
    assert {file["verdict"] for file in report["files"]} == {"incomplete", "suspicious"}


def test_without_intelligence_it_is_said_once(tmp_path, capsys):
    for name in ("a", "b"):
        (tmp_path / f"requirements-{name}.txt").write_text("numpy==2.0.0\n")
    code, report, err = scanned(capsys, tmp_path)
    assert code == 0
    assert err.count("no intelligence") == 1
    assert len(report["summary"]["notices"]) == 1
    assert main(["scan", str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert (said.out + said.err).count("no intelligence") == 1


def test_a_scan_of_models_alone_asks_for_no_intelligence(tmp_path, capsys):
    (tmp_path / "m.pkl").write_bytes(pickle.dumps([1]))
    assert "intelligence" not in scanned(capsys, tmp_path)[2]


def test_a_named_feed_and_policy_hold(tmp_path, capsys):
    feed = tmp_path / "feed.json"
    feed.write_text(json.dumps({
        "id": "MAL-1", "modified": "2026-11-20T08:00:00Z", "summary": "steals credentials",
        "affected": [{"package": {"ecosystem": "PyPI", "name": "litellm"}, "versions": ["1.82.7"]}],
    }))  # fmt: skip
    blocked = tmp_path / "blocked.txt"
    blocked.write_text("pypi:innocent\n")
    policy = tmp_path / "policy.toml"
    policy.write_text('tenant = "t"\n[trusted]\nindexes = ["https://index.example/simple"]\n')
    file = tmp_path / "requirements.txt"
    file.write_text("--index-url https://else.example/simple\nlitellm==1.82.7\ninnocent==1.0\n")
    code, report, err = scanned(
        capsys, file, "--intel", feed, "--intel", blocked, "--policy", policy
    )
    assert code == 1
    found = report["files"][0]["findings"]
    assert "TW-PKG-INDEX-POLICY" in {path["rule_id"] for path in found}
    assert "intelligence" not in err
    known = [path["evidence"] for path in found if path["rule_id"].startswith("TW-INTEL")]
    assert {path["package"]: path["line"] for path in known} == {"litellm": 2, "innocent": 3}


def test_a_feed_that_can_not_be_read_is_an_error(tmp_path, capsys):
    file = tmp_path / "requirements.txt"
    file.write_text("numpy==2.0.0\n")
    assert main(["scan", str(file), "--intel", str(tmp_path / "absent")]) == 2
    assert "absent" in capsys.readouterr().err


def test_policies_of_several_tenants_are_not_guessed_at(state, tmp_path, capsys):
    policies = {
        name: msgspec.json.encode(msgspec.convert({"tenant": name}, Policy)) for name in ("a", "b")
    }
    hold_values(state, Channel.POLICY, policies)
    file = tmp_path / "requirements.txt"
    file.write_text("numpy==2.0.0\n")
    assert any("a, b" in notice for notice in scanned(capsys, file)[1]["summary"]["notices"])


def test_intelligence_is_imported_for_this_machine_alone(tmp_path, capsys):
    feed = tmp_path / "list.txt"
    feed.write_text("pypi:innocent\n")
    words = ["--kind", "blocklist", "--allow-unsigned", "--local"]
    assert main(["intel", "import", str(feed), *words]) == 0
    capsys.readouterr()
    file = tmp_path / "requirements.txt"
    file.write_text("innocent==1.0\n")
    code, report, _ = scanned(capsys, file)
    assert code == 1
    assert any(
        finding["rule_id"].startswith("TW-INTEL") for finding in report["files"][0]["findings"]
    )


def test_what_is_held_changes_with_what_is_published(state):
    hold_values(state, Channel.INTEL, {"a": b"1", "b": b"2", "bad": b"{"})
    update_held(state, Channel.INTEL, {"a": None, "c": b"3"})
    assert held_values(state, Channel.INTEL) == {"b": b"2", "c": b"3"}
    update_held(state, Channel.ALERTS, {"a": b"1"})
    assert held_values(state, Channel.ALERTS) == {}


def test_a_manifest_that_is_an_artifact_too_is_judged_as_both(tmp_path, capsys):
    place = tmp_path / "conf"
    place.mkdir()
    (place / "config.yaml").write_text("defaults:\n  - _self_\nx:\n  _target_: os.system\n"
                                       "trust_remote_code: true\n")  # fmt: skip
    code, report, _ = scanned(capsys, tmp_path)
    (entry,) = report["files"]
    rules = {found["rule_id"] for found in entry["findings"]}
    assert (code, entry["verdict"]) == (1, "malicious")
    assert "TW-PIPE-REMOTE-CODE" in rules
    assert any(rule.startswith("TW-MODEL") for rule in rules)


def test_a_link_does_not_lead_out_of_the_scanned_folder(tmp_path, capsys):
    folder = tmp_path / "checkout"
    folder.mkdir()
    (tmp_path / "secret.txt").write_text("pandsa==1.0\n")
    (folder / "base.in").symlink_to(tmp_path / "secret.txt")
    (folder / "requirements.txt").write_text("-r base.in\nnumpy==2.0.0\n")
    _, report, _ = scanned(capsys, folder, "--exclude", "*/base.in")
    (entry,) = report["files"]
    assert entry["verdict"] == "incomplete"
    assert "TW-PKG-TYPOSQUAT" not in {found["rule_id"] for found in entry["findings"]}


def test_a_manifests_digest_is_reported_on_request(tmp_path, capsys):
    (tmp_path / "requirements.txt").write_text("numpy==2.0.0\n")
    assert len(scanned(capsys, tmp_path, "--digest")[1]["files"][0]["sha256"]) == 64
