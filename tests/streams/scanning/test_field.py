"""Inputs of public bug reports, kept beside the repository, are judged as their labels say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from schemas.errors import TidewatchError
from schemas.events import PackageInstall
from schemas.severity import Severity
from streams.cli import main
from streams.cli.send import read_records

FIELD = Path(__file__).parents[4] / "shared" / "field"
ORDER = ("clean", "unsupported", "suspicious", "corrupt", "incomplete", "malicious")
NEEDS_INTELLIGENCE = "a15-known-compromised"
"""Found by a feed of intelligence: `test_same_as_sent.py` has one, this scan has none."""
READ_SINCE = {("d09-cdx-xml", "send:cyclonedx")}
"""The label wants a refusal, of a time before XML was read."""

pytestmark = pytest.mark.skipif(not FIELD.is_dir(), reason="no ../shared/field beside the clone")


def scanned(folder, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("TIDEWATCH_STATE_DIR", str(tmp_path))
    main(["scan", str(folder), "--format", "json"])
    return json.loads(capsys.readouterr().out)["files"]


def labels(name):
    return json.loads((FIELD / name / "labels.json").read_text("utf-8"))


def test_each_model_has_a_verdict_of_its_label(capsys, tmp_path, monkeypatch):
    files = scanned(FIELD / "models", capsys, tmp_path, monkeypatch)
    wrong = {}
    for path, label in labels("models").items():
        place = str(FIELD / "models" / path)
        verdicts = [
            file["verdict"]
            for file in files
            if file["path"] == place or file["path"].startswith((f"{place}/", f"{place}!"))
        ]
        worst = max(verdicts, key=ORDER.index, default="not scanned")
        if worst not in label["label"].split("|"):
            wrong[path] = (worst, label["label"])
    assert wrong == {}


def test_each_package_and_pipeline_has_the_findings_of_its_label(capsys, tmp_path, monkeypatch):
    files = scanned(FIELD / "packages", capsys, tmp_path, monkeypatch)
    wrong = {}
    for case in labels("packages"):
        if not case["how"].startswith("scan") or case["id"] == NEEDS_INTELLIGENCE:
            continue
        place = FIELD / "packages" / case["path"]
        within = [
            file
            for file in files
            if file["path"] == str(place)
            or (case["how"] == "scan-dir" and file["path"].startswith(f"{place.parent}/"))
        ]
        if faults := list(faults_of(case["expect"], within)):
            wrong[case["id"]] = faults
    assert wrong == {}


def faults_of(expected, files):
    findings = [finding for file in files for finding in file["findings"]]
    rules = {finding["rule_id"] for finding in findings}
    said = json.dumps(files)
    instead = "or_says" in expected and re.search(expected["or_says"], said)
    if not files:
        yield "not scanned"
    if not set(expected.get("rules", ())) <= rules and not instead:
        yield f"missing {set(expected['rules']) - rules}"
    if "rules_any" in expected and not rules & set(expected["rules_any"]) and not instead:
        yield f"none of {expected['rules_any']}"
    if rules & set(expected.get("absent", ())):
        yield f"found {rules & set(expected['absent'])}"
    if most := expected.get("max"):
        above = [found for found in findings if rank(found["severity"]) > rank(most)]
        yield from (found["rule_id"] for found in above)
    wanted = expected.get("finding_on")
    if wanted and not re.search(wanted, json.dumps(findings), re.IGNORECASE):
        yield f"no finding on {wanted}"
    if "says" in expected and not re.search(expected["says"], said, re.IGNORECASE):
        yield f"does not say {expected['says']}"
    if "not_says" in expected and re.search(expected["not_says"], said):
        yield f"says {expected['not_says']}"


def rank(severity):
    return Severity(severity).rank


SENT = [
    case
    for case in (labels("packages") if FIELD.is_dir() else ())
    if case["how"].startswith("send:") and (case["id"], case["how"]) not in READ_SINCE
]


def test_each_delivery_is_taken_or_refused_as_its_label_says():
    wrong = {}
    for case in SENT:
        kind, expected = case["how"].removeprefix("send:"), case["expect"]
        file = FIELD / "packages" / case["path"]
        options = {"system": "s"}
        try:
            events = read_records(file, kind=kind, tenant="t", max_bytes=1 << 20, options=options)
        except TidewatchError as error:
            refused = expected.get("refuse") or expected.get("refuse_ok")
            says = re.search(expected.get("says", ""), error.explain(), re.IGNORECASE)
            if not (refused and says):
                wrong[case["id"]] = error.explain()
            continue
        count = expected.get("events")
        if expected.get("refuse") or (count is not None and len(events) != count):
            wrong[case["id"]] = f"{len(events)} events"
        text = json.dumps([record.value.decode() for record in events])
        if "not_says" in expected and re.search(expected["not_says"], text):
            wrong[case["id"]] = f"says {expected['not_says']}"
        named = {
            (package.name, package.version)
            for record in events
            if isinstance(record.event.data, PackageInstall)
            for package in record.event.data.packages
        }
        if len(named) < expected.get("packages", 0):
            wrong[case["id"]] = f"packages {sorted(named)}"
    assert wrong == {}
