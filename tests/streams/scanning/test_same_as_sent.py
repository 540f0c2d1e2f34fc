"""A scan of a file finds what its event would: by the checks, and by the ledger's intelligence."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import msgspec
import pytest

from agents.checking import SightingDeduplicator, outcome_messages
from agents.checks.packages.check import check_packages
from agents.checks.pipelines.check import check_run
from agents.checks.pipelines.subject import run_subject
from agents.package_install import install_context
from agents.pipeline_run import run_context
from schemas.channels import Channel
from schemas.events import TYPE_PACKAGE_INSTALL, TYPE_PIPELINE_RUN
from schemas.intel import IntelFact, IntelKind
from schemas.policy import Policy
from streams.adapters import MANIFESTS
from streams.adapters.manifests.kinds import Family, ManifestContent, kinds_of
from streams.cli import main
from streams.cli.send import read_records
from streams.held import hold_values
from tests.agents.triage.flow import Flow

TENANT = "acme"
FACTS = (
    IntelFact(
        key="pypi:litellm",
        kind=IntelKind.COMPROMISED,
        versions=("1.82.7", "1.82.8"),
        sources=("OSV:x",),
        summary="credentials are stolen at the first import",
    ),
    IntelFact(key=f"sha256:{'c' * 64}", kind=IntelKind.MALICIOUS, sources=("OSV:y",)),
    IntelFact(key="pypi:numpy", kind=IntelKind.WARNINGLIST, sources=("list",)),
)
POLICY = {
    "tenant": TENANT,
    "internal": {"prefixes": ["acme-"], "indexes": ["https://packages.acme.example/simple"]},
    "trusted": {"indexes": ["https://index.example/simple"]},
}
BAD = f"""litellm==1.82.7
litellm==1.82.9 ; python_version < "3"
innocent==1.0 --hash=sha256:{"c" * 64}
acme-features==1.0
--extra-index-url https://elsewhere.example/simple
"""
CASES = [
    case
    for case in tomllib.loads(
        (Path(__file__).parents[2] / "data" / "manifests.toml").read_text("utf-8")
    )["case"]
    if case.get("verdict") not in {"incomplete", "unsupported"}
]


def packages_kind(path, text):
    found = [
        kind
        for kind in kinds_of(path, ManifestContent(text.encode()))
        if kind.family is Family.PACKAGES
    ]
    return found[0].name if found and found[0].name not in {"dockerfile", "shell-script"} else None


SENT = [
    (
        case["name"],
        case["files"],
        case.get("as") or packages_kind(*next(iter(case["files"].items()))),
    )
    for case in CASES
]


@pytest.fixture
def held(tmp_path, monkeypatch):
    monkeypatch.setenv("TIDEWATCH_STATE_DIR", str(tmp_path / "state"))
    facts = {fact.key: msgspec.json.encode(fact) for fact in FACTS}
    hold_values(tmp_path / "state", Channel.INTEL, facts)
    policy = msgspec.json.encode(msgspec.convert(POLICY, Policy))
    hold_values(tmp_path / "state", Channel.POLICY, {TENANT: policy})


def sent(file, kind):
    """Return the rules of what is published of a manifest that is sent."""
    flow = Flow()
    flow.knowledge.set_policy(TENANT, msgspec.convert(POLICY, Policy))
    for fact in FACTS:
        flow.knowledge.set_fact(fact.key, fact)
        flow.put(fact)
    flow.run()
    found: set[str] = set()
    for record in read_records(
        file, kind=kind, tenant=TENANT, max_bytes=1 << 20, options={"system": "local"}
    ):
        event = record.event
        if event.type == TYPE_PACKAGE_INSTALL:
            outcome, context = check_packages(event, flow.knowledge), install_context(event)
        else:
            run = run_subject(event, flow.knowledge.policy(event.tenantid))
            outcome, context = check_run(run, flow.knowledge), run_context(run)
        flow.send(outcome_messages(event, outcome, context, SightingDeduplicator()))
        found |= {detection.rule_id for detection in outcome.detections}
    # Indicators of one component are one, so that a rule may be reported under another's name.
    return found | {
        indicator.rule_id
        for indicator in flow.iocs.values()
        if indicator.rule_id.startswith("TW-INTEL")
    }


def scanned(file, kind, capsys):
    words = ["--as", kind] if kind else []
    main(["scan", str(file), *words, "--format", "json"])
    report = json.loads(capsys.readouterr().out)
    assert not any("no intelligence" in notice for notice in report["summary"]["notices"])
    rules = {finding["rule_id"] for file in report["files"] for finding in file["findings"]}
    # Some files are scanned as artifacts as well.
    return {rule for rule in rules if rule.startswith(("TW-PKG", "TW-PIPE", "TW-INTEL"))}


@pytest.mark.usefixtures("held")
def test_known_releases_and_digests_are_found_as_the_ledger_finds_them(tmp_path, capsys):
    file = tmp_path / "requirements.txt"
    file.write_text(BAD)
    rules = scanned(file, None, capsys)
    assert rules == sent(file, "requirements")
    assert {"TW-INTEL-PACKAGE", "TW-PKG-INDEX-POLICY"} <= rules


@pytest.mark.usefixtures("held")
@pytest.mark.parametrize(
    ("files", "kind"),
    [(files, kind) for _, files, kind in SENT if kind],
    ids=[name for name, _, kind in SENT if kind],
)
def test_manifest_gives_the_findings_of_its_event(files, kind, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path, text in files.items():
        place = tmp_path / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    file = tmp_path / next(iter(files))
    # What only a comment says is not sent.
    only_scanned = {"TW-PKG-CREDENTIAL"} if file.read_text().startswith("#") else set()
    found = scanned(file, kind, capsys)
    if MANIFESTS[kind].runs:  # what its commands run is no installation
        only_scanned |= {rule for rule in found if rule.startswith("TW-PIPE")}
    assert found - only_scanned == sent(file, kind) - only_scanned


@pytest.mark.usefixtures("held")
def test_pipeline_definition_gives_the_findings_of_its_event(tmp_path, capsys):
    config = {
        "model_name_or_path": "acme/bert",
        "trust_remote_code": True,
        "data_sources": [{"url": "http://data.acme.example/x", "verified": False}],
    }
    definition = tmp_path / "train.json"
    definition.write_text(json.dumps({"pipeline": "train", "config": config, "stages": []}))
    event = {
        "specversion": "1.0", "id": "1", "source": "//ci", "type": TYPE_PIPELINE_RUN,
        "time": "2026-11-20T08:00:00Z", "tenantid": TENANT, "subject": "pipeline:train",
        "data": {"pipeline": "train", "config": config},
    }  # fmt: skip
    file = tmp_path / "event.json"
    file.write_text(json.dumps(event))
    assert scanned(definition, None, capsys) == sent(file, None)


INSPECTED = {
    "version": "1",
    "pip_version": "26.3",
    "installed": [
        {
            "metadata": {"metadata_version": "2.4", "name": name, "version": version},
            "metadata_location": f"/env/{name}-{version}.dist-info",
            "installer": "pip",
            "requested": True,
        }
        for name, version in (("litellm", "1.82.7"), ("reqeusts", "2.32.0"), ("numpy", "2.4.6"))
    ],
    "environment": {"python_version": "3.12"},
}
INSTALLS = "pip install litellm==1.82.7 reqeusts --extra-index-url https://elsewhere.example/simple"
COMMANDS = [
    ("pip-inspect", "inspect.json", json.dumps(INSPECTED)),
    ("dockerfile", "Dockerfile", f"FROM python:3.12\nRUN {INSTALLS}\n"),
    ("shell-script", "setup.sh", f"#!/bin/sh\nset -e\n{INSTALLS}\n"),
    ("task-file", "poe_tasks.toml", f'[tasks]\nsetup = "{INSTALLS}"\n'),
]


@pytest.mark.usefixtures("held")
@pytest.mark.parametrize(("kind", "name", "text"), COMMANDS, ids=[kind for kind, _, _ in COMMANDS])
def test_what_installs_packages_gives_the_findings_of_its_event(
    kind, name, text, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / name
    file.write_text(text)
    # What else such a file runs is checked as a program, not as an installation.
    packages = {rule for rule in scanned(file, None, capsys) if not rule.startswith("TW-PIPE")}
    assert packages == sent(file, kind)
    assert {"TW-INTEL-PACKAGE", "TW-PKG-TYPOSQUAT"} <= packages


def test_every_kind_of_manifest_is_sent_and_scanned_here():
    kinds = {kind for _, _, kind in SENT if kind} | {kind for kind, _, _ in COMMANDS}
    assert kinds == set(MANIFESTS)
