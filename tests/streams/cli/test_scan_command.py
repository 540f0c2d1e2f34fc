"""`tidewatch scan`: formats, exit codes, suppressions, cache, locations."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import orjson
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from jsonschema import Draft7Validator
from rfc3986_validator import validate_rfc3986

from agents.checks.packages.check import check_packages
from agents.domain.knowledge import MemoryKnowledge
from schemas.severity import Severity, Verdict
from streams.adapters import adapt
from streams.cli import main
from streams.reports.cyclonedx import cyclonedx
from streams.reports.entries import FileEntry, FindingEntry, document, summarise
from streams.reports.sarif import sarif
from streams.reports.table import table
from streams.scanning.suppressions import SuppressionError, read_suppressions
from tests.agents.fetching.servers import running
from tests.samples import sample_path


class Payload:
    def __reduce__(self):
        return os.system, ("true",)


@pytest.fixture(autouse=True)
def nothing_held(tmp_path, monkeypatch):
    monkeypatch.setenv("TIDEWATCH_STATE_DIR", str(tmp_path / "state"))


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "models"
    (place / "sub").mkdir(parents=True)
    (place / "sub" / "evil.pkl").write_bytes(pickle.dumps(Payload()))
    (place / "ok.pkl").write_bytes(pickle.dumps({"a": [1, 2]}))
    (place / "README.md").write_text("# A model\n")
    return place


@Draft7Validator.FORMAT_CHECKER.checks("iri-reference")
def is_uri_reference(value):
    return not isinstance(value, str) or validate_rfc3986(value, rule="URI_reference") is not None


def run(capsys, *arguments):
    code = main(["scan", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def scanned(capsys, *arguments):
    code, out, _ = run(capsys, *arguments, "--format", "json")
    return code, json.loads(out)


def test_json_has_the_shape_that_is_promised(folder, capsys):
    code, found = scanned(capsys, folder)
    assert code == 1
    assert set(found) == {"files", "summary"}
    files = {Path(file["path"]).name: file for file in found["files"]}
    assert files["ok.pkl"]["verdict"] == "clean"
    assert files["README.md"]["sha256"] is None
    evil = files["evil.pkl"]
    assert set(evil) >= {"path", "format", "size", "sha256", "verdict", "findings"}
    assert evil["verdict"] == "malicious"
    assert set(evil["findings"][0]) == {
        "rule_id", "ioc_type", "severity", "confidence", "description", "evidence",
        "mitre_atlas_id", "techniques", "remediation",
    }  # fmt: skip
    assert found["summary"]["verdicts"]["malicious"] == 1


def test_scan_of_local_files_imports_nothing_of_brokers_and_remote_stores(folder):
    """What it does not need would take longer to import than the files take to scan."""
    program = (
        "import sys; from streams.cli import main; "
        f"main(['scan', {str(folder)!r}, '--format', 'json', '--output', '/dev/null']); "
        "print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    needless = {"faust", "aiokafka", "rocksdict", "streams.settings", "structlog", "rich",
                "fsspec", "urllib3", "yaml", "jinja2", "packaging", "rapidfuzz", "numpy",
                "agents.checks.artifacts.dispatch"}  # fmt: skip
    assert not needless & set(done.stdout.split())


def test_harmless_pickle_is_clean_and_exits_with_0(folder, capsys):
    code, found = scanned(capsys, folder / "ok.pkl")
    assert code == 0
    assert {finding["severity"] for finding in found["files"][0]["findings"]} <= {"low"}


def test_digest_is_computed_when_asked_for(folder, capsys):
    _, found = scanned(capsys, folder / "ok.pkl", "--digest")
    assert len(found["files"][0]["sha256"]) == 64


def test_fail_on_decides_the_exit_code(folder, capsys):
    assert run(capsys, folder / "ok.pkl", "--fail-on", "low")[0] == 1
    assert run(capsys, folder / "sub", "--fail-on", "critical")[0] == 1


def test_one_bad_argument_or_file_never_stops_the_others(folder, capsys):
    os.mkfifo(folder / "pipe")
    (folder / "dangling").symlink_to(folder / "nothing")
    code, found = scanned(capsys, folder, folder / "absent", folder / "ok.pkl")
    verdicts = {Path(file["path"]).name: file["verdict"] for file in found["files"]}
    assert verdicts["absent"] == verdicts["pipe"] == verdicts["dangling"] == "incomplete"
    assert verdicts["evil.pkl"] == "malicious"
    assert code == 1
    assert run(capsys, folder / "absent", folder / "ok.pkl")[0] == 2


def test_sarif_names_rules_places_and_what_was_not_finished(folder, capsys):
    (folder / "dangling").symlink_to(folder / "nothing")
    _, out, _ = run(capsys, folder, "--format", "sarif")
    log = json.loads(out)
    assert log["version"] == "2.1.0"
    (one,) = log["runs"]
    rules = one["tool"]["driver"]["rules"]
    assert len({rule["id"] for rule in rules}) == len(rules)
    for result in one["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in {"none", "note", "warning", "error"}
        assert result["message"]["text"]
        place = result["locations"][0]["physicalLocation"]["artifactLocation"]
        assert one["artifacts"][place["index"]]["location"]["uri"] == place["uri"]
    assert one["invocations"][0]["executionSuccessful"] is False
    assert one["invocations"][0]["toolExecutionNotifications"]
    prints = [result["partialFingerprints"]["tidewatch/v1"] for result in one["results"]]
    assert len(set(prints)) == len(prints)


def test_ml_bom_is_valid_and_the_same_each_time(folder, capsys):
    _, first, _ = run(capsys, folder, "--format", "cyclonedx", "--digest")
    _, second, _ = run(capsys, folder, "--format", "cyclonedx", "--digest")
    assert first == second
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(first) is None
    assert "machine-learning-model" in {part["type"] for part in json.loads(first)["components"]}


def test_hostile_names_reach_no_format_unescaped():
    name = "a b\x1b[31m\n\u202e%;é.pkl"
    finding = FindingEntry(
        rule_id="TW-PROV-UNSIGNED", ioc_type="unsigned_artifact", severity=Severity.LOW,
        confidence=0.5, description=f"bad {name}", evidence={"offset": 3, "member": name},
        mitre_atlas_id="AML.T0010", techniques=(), remediation="none",
    )  # fmt: skip
    files = (FileEntry(path=name, format="pickle", verdict=Verdict.CLEAN, findings=(finding,)),)
    log = sarif(files, "1")
    uri = log["runs"][0]["artifacts"][0]["location"]["uri"]
    assert uri.isascii()
    assert uri.isprintable()
    assert " " not in uri
    bom = orjson.dumps(cyclonedx(files, "1")).decode()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bom) is None
    lines = "\n".join(table(files, summarise(files)))
    assert "\x1b" not in lines
    assert document(files, summarise(files))["files"][0]["path"] == name


def write_suppressions(file, /, **fields):
    fields = {"reason": "known", "expires": "2999-01-01", **fields}
    lines = [
        f"{key} = {value if key == 'expires' else json.dumps(value)}"
        for key, value in fields.items()
    ]
    file.write_text("[[suppression]]\n" + "\n".join(lines) + "\n")
    return file


@pytest.mark.parametrize("by", ["path", "digest"])
def test_suppressed_findings_do_not_count_and_are_reported(folder, capsys, tmp_path, by):
    _, found = scanned(capsys, folder / "sub", "--digest")
    fields = {"path": "*/evil.pkl"} if by == "path" else {"digest": found["files"][0]["sha256"]}
    file = write_suppressions(tmp_path / "s.toml", **fields)
    code, found = scanned(capsys, folder / "sub", "--suppressions", file)
    assert code == 0
    assert found["files"][0]["findings"] == []
    assert found["files"][0]["verdict"] == "malicious"
    assert found["summary"]["suppressed"] > 0
    _, out, _ = run(capsys, folder / "sub", "--suppressions", file, "--format", "sarif")
    assert json.loads(out)["runs"][0]["results"][0]["suppressions"][0]["justification"] == "known"


def test_a_feed_that_cannot_be_read_is_an_error_whatever_is_scanned(folder, capsys):
    code, _, err = run(capsys, folder / "ok.pkl", "--intel", folder / "none.json")
    assert code == 2
    assert "none.json" in err


def test_a_link_to_itself_cannot_be_opened(capsys, tmp_path):
    link = tmp_path / "loop.pkl"
    link.symlink_to(link)
    code, found = scanned(capsys, link)
    assert (code, found["files"][0]["verdict"]) == (2, "incomplete")


def test_a_class_that_nobody_read_is_unfinished_until_it_is_accepted(capsys, tmp_path):
    path = tmp_path / "net.pkl"
    path.write_bytes(b"\x80\x04cacme.models\nNet\n)\x81.")
    code, found = scanned(capsys, path)
    assert (code, found["files"][0]["verdict"]) == (2, "unsupported")
    (reason,) = found["files"][0]["reasons"]
    assert reason.startswith("net.pkl: the pickle calls acme.models.Net")
    for rule, expected in (("TW-PICKLE-UNKNOWN-IMPORT", 2), ("TW-PICKLE-UNLISTED-CLASS", 0)):
        file = write_suppressions(tmp_path / "s.toml", rule=rule)
        assert scanned(capsys, path, "--suppressions", file)[0] == expected
    _, out, _ = run(capsys, path, "--suppressions", file, "--format", "sarif")
    assert json.loads(out)["runs"][0]["invocations"][0]["executionSuccessful"]


def test_a_rule_is_suppressed_for_its_own_findings_only(folder, capsys, tmp_path):
    _, found = scanned(capsys, folder / "sub")
    rule = found["files"][0]["findings"][0]["rule_id"]
    file = write_suppressions(tmp_path / "s.toml", rule=rule)
    _, found = scanned(capsys, folder / "sub", "--suppressions", file)
    left = {finding["rule_id"] for finding in found["files"][0]["findings"]}
    assert left
    assert rule not in left


def test_expired_suppression_does_not_apply_and_is_reported(folder, capsys, tmp_path):
    file = write_suppressions(tmp_path / "s.toml", path="*", expires="2020-01-01")
    code, out, err = run(capsys, folder / "sub", "--suppressions", file, "--format", "json")
    assert code == 1
    assert "expired" in err
    assert json.loads(out)["summary"]["expired_suppressions"]


def test_suppression_ends_after_the_day_it_names(tmp_path):
    file = write_suppressions(tmp_path / "s.toml", path="*", expires="2026-05-05")
    assert read_suppressions(file, date(2026, 5, 5)).active
    assert read_suppressions(file, date(2026, 5, 6)).expired


@pytest.mark.parametrize(
    "fields", [{}, {"path": "*", "reason": " "}, {"digest": "abc"}, {"path": "*", "unknown": "x"}]
)
def test_suppression_that_says_too_little_is_refused(tmp_path, fields):
    with pytest.raises(SuppressionError):
        read_suppressions(write_suppressions(tmp_path / "s.toml", **fields))


def test_cached_result_is_the_same_and_another_file_is_not_taken_for_it(folder, capsys, tmp_path):
    cache = tmp_path / "cache"
    first = scanned(capsys, folder, "--cache", cache)
    assert list(cache.rglob("*.json"))
    assert scanned(capsys, folder, "--cache", cache) == first
    (folder / "ok.pkl").write_bytes((folder / "sub" / "evil.pkl").read_bytes())
    _, found = scanned(capsys, folder, "--cache", cache)
    assert {Path(f["path"]).name: f["verdict"] for f in found["files"]}["ok.pkl"] == "malicious"
    for entry in cache.rglob("*.json"):
        entry.write_bytes(b"broken")
    _, found = scanned(capsys, folder, "--cache", cache)
    assert found["summary"]["verdicts"]["malicious"] == 2


def test_remote_file_is_scanned_by_its_location(folder, capsys):
    with running() as server:
        server.serve("/models/evil.pkl", (folder / "sub" / "evil.pkl").read_bytes())
        code, found = scanned(
            capsys, f"http://{server.host}/models/evil.pkl", f"http://{server.host}/models/absent"
        )
    assert code == 1
    assert [file["verdict"] for file in found["files"]] == ["malicious", "incomplete"]


def test_pipeline_definition_gives_the_findings_of_its_event(tmp_path, capsys):
    config = tmp_path / "pipeline.json"
    config.write_text(
        json.dumps({"data_sources": [{"url": "http://data.example/x", "verified": False}]})
    )
    code, found = scanned(capsys, config)
    kinds = {finding["ioc_type"] for finding in found["files"][0]["findings"]}
    assert found["files"][0]["format"] == "pipeline-config"
    assert "insecure_data_source" in kinds
    assert code == 1


def test_report_goes_into_a_file_when_asked(folder, capsys, tmp_path):
    target = tmp_path / "report.json"
    code, out, _ = run(capsys, folder, "--format", "json", "-o", target)
    assert code == 1
    assert out == ""
    assert json.loads(target.read_text())["summary"]["files"] == 3
    assert run(capsys, folder, "-o", tmp_path / "no" / "where")[0] == 2


def test_requirement_file_gives_the_findings_of_its_event(tmp_path, capsys):
    place = tmp_path / "requirements.txt"
    place.write_text("torch\nnumpy==2.0.0\n")
    _, found = scanned(capsys, place)
    (entry,) = found["files"]
    (event,) = adapt("requirements", place.read_bytes(), tenant="t", time=datetime.now(UTC))
    expected = {
        detection.rule_id for detection in check_packages(event, MemoryKnowledge()).detections
    }
    assert expected
    assert {finding["rule_id"] for finding in entry["findings"]} == expected
    assert entry["format"] == "requirements"


@pytest.mark.parametrize(
    ("name", "kind"),
    [("pylock.training.toml", "pylock"), ("uv.lock", "uv-lock"),
     ("cyclonedx.uv.json", "cyclonedx"), ("pip-report.training.json", "pip-report")],
)  # fmt: skip
def test_locks_and_reports_of_installers_are_recognised_and_checked(name, kind, capsys):
    code, found = scanned(capsys, sample_path("packages", name))
    assert found["files"][0]["format"] == kind
    assert code in {0, 1}


@pytest.mark.parametrize("named", ["9d1c3f0be0c1c2b0a9f1f8f9b0a7d6c5e4f3a2b1", "main"])
def test_repository_of_the_hub_is_listed_and_scanned_with_the_users_token(
    named, folder, capsys, tmp_path, monkeypatch
):
    revision = "9d1c3f0be0c1c2b0a9f1f8f9b0a7d6c5e4f3a2b1"
    with running() as server:
        names = [{"rfilename": "evil.pkl"}, {"rfilename": "README.md"}]
        info = json.dumps({"sha": revision, "siblings": names}).encode()
        server.answer(f"/api/models/org/m/revision/{named}", 200, {}, info)
        base = f"/org/m/resolve/{revision}"
        server.serve(f"{base}/evil.pkl", (folder / "sub" / "evil.pkl").read_bytes())
        server.serve(f"{base}/README.md", b"# hi")
        secrets = tmp_path / "secrets.toml"
        secrets.write_text(
            f'[secrets.mine]\ntenants = ["local"]\nhosts = ["{server.host}"]\ntoken = "t0k"\n'
        )
        monkeypatch.setenv("TIDEWATCH_FETCH_HUB", f"http://{server.host}")
        monkeypatch.setenv("TIDEWATCH_FETCH_CREDENTIALS", str(secrets))
        monkeypatch.setenv("TIDEWATCH_FETCH_PRIVATE_HOSTS", f'["{server.host}"]')
        code, found = scanned(capsys, f"hf://org/m@{named}")
    assert code == 1
    assert [file["verdict"] for file in found["files"]] == ["malicious", "clean"]
    assert {headers.get("authorization") for _, headers in server.asked} == {"Bearer t0k"}


@pytest.mark.parametrize("location", ["https://[bad/x", "oci://[::1", "hf://", "s3://x y/%%%"])
def test_a_location_that_can_not_be_read_is_one_entry_and_the_others_go_on(
    location, folder, capsys
):
    code, out, err = run(capsys, location, str(folder))
    assert "unexpectedly" not in err
    assert code != 0
    assert f"INCOMPLETE  {location}" in out
    assert len(out.splitlines()) > 3
