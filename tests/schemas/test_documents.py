"""Documents that others read are valid to third-party code, and avoid each standard's traps."""

from __future__ import annotations

import copy
import json
import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
import stix2
from stix2validator import ValidationOptions, validate_instance

from schemas.components import component_key
from schemas.documents import ecs, misp, ocsf, openc2
from schemas.documents.stix import indicator_bundle, pattern
from schemas.findings import Indicator
from schemas.incidents.commands import CommandView
from schemas.severity import Category, Disposition, Severity, Tlp
from schemas.taxonomy import taxonomy
from tests.schemas import examples
from tests.schemas.standards import ecs_errors, ocsf_errors

ALL_TYPES = sorted(taxonomy().ioc_types)


def plain(document):
    return json.loads(msgspec.json.encode(document))


@pytest.mark.parametrize("ioc_type", ALL_TYPES)
def test_an_alert_is_a_valid_detection_finding(ioc_type):
    from ocsf.v1_7_0.events import DetectionFinding  # noqa: PLC0415 -- it makes all its models

    document = plain(ocsf.detection_finding(examples.alert(ioc_type=ioc_type)))
    assert ocsf_errors(document, "detection_finding") == []
    DetectionFinding.model_validate(copy.deepcopy(document))


def test_a_document_declares_the_profiles_of_what_it_uses():
    document = plain(ocsf.detection_finding(examples.alert()))
    assert document["metadata"]["profiles"] == ["incident", "security_control"]
    document["metadata"]["profiles"] = []
    unknown = {error.split(":")[0] for error in ocsf_errors(document, "detection_finding")}
    assert {"detection_finding.assignee", "detection_finding.action_id"} <= unknown
    alone = msgspec.structs.replace(examples.alert(), assignee=None)
    assert plain(ocsf.detection_finding(alone))["metadata"]["profiles"] == ["security_control"]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"time": "now"}, "time: must be an integer"),
        ({"severity_id": 7}, "severity_id: 7 is not in the enumeration"),
        ({"type_uid": 200300}, "type_uid: 200300 is not in the enumeration"),
        ({"colour": "red"}, "colour: unknown attribute"),
        ({"observables": {}}, "observables: must be an array"),
        ({"evidences": [{}]}, "evidences[0]: empty object"),
    ],
)
def test_a_departure_from_the_ocsf_schema_is_found(change, error):
    document = plain(ocsf.detection_finding(examples.alert())) | change
    assert any(error in found for found in ocsf_errors(document, "detection_finding"))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"alert": {"id": "x"}}, "alert.id: not an ECS field"),
        ({"event": {"severity": "high"}}, "event.severity: must be a long"),
        ({"event": {"category": "malware"}}, "event.category: must be a list"),
        ({"event": {"kind": "finding"}}, "event.kind: 'finding' is not an expected value"),
        ({"file": {"hash": {"sha256": ["a"]}}}, "file.hash.sha256: must not be a list"),
        ({"labels": {"attempts": 3}}, "labels.attempts: must be a keyword"),
        ({"@timestamp": "yesterday"}, "@timestamp: no date"),
    ],
)
def test_a_departure_from_the_ecs_fields_is_found(change, error):
    document = plain(ecs.alert_document(examples.alert())) | change
    assert any(error in found for found in ecs_errors(document))


@pytest.mark.parametrize("activity", ["create", "update", "close"])
@pytest.mark.parametrize("status", ["new", "contained", "suppressed", "false-positive", "closed"])
def test_every_activity_and_status_is_valid_and_times_are_integer_milliseconds(activity, status):
    document = plain(ocsf.detection_finding(examples.alert(activity, status)))
    assert ocsf_errors(document, "detection_finding") == []
    assert isinstance(document["time"], int)
    assert document["time"] == 1_795_162_530_120
    assert document["type_uid"] == 200400 + document["activity_id"]


def test_a_tenant_that_is_only_exposed_gets_valid_documents():
    alert = msgspec.structs.replace(examples.alert(), findings=(), techniques=())
    assert ocsf_errors(plain(ocsf.detection_finding(alert)), "detection_finding") == []
    assert ecs_errors(plain(ecs.alert_document(alert))) == []


def test_the_names_of_observables_are_paths_that_exist():
    document = plain(ocsf.detection_finding(examples.alert()))
    assert document["observables"]
    for observable in document["observables"]:
        values = [document]
        for part in observable["name"].split("."):
            name = part.removesuffix("[]")
            values = [value[name] for value in values if name in value]
            if part.endswith("[]"):
                values = [item for value in values for item in value]
        assert observable["value"] in values


@pytest.mark.parametrize("action", sorted(openc2.ACTIONS))
@pytest.mark.parametrize("status", [200, 500])
def test_a_result_is_a_valid_remediation_activity(action, status):
    view = CommandView(
        spec=examples.command(action=action), state="done", status=status, status_text="so"
    )
    document = plain(ocsf.remediation_activity(view, examples.TIME))
    assert ocsf_errors(document, "remediation_activity") == []


@pytest.mark.parametrize("ioc_type", ALL_TYPES)
def test_ecs_documents_use_only_ecs_fields(ioc_type):
    assert ecs_errors(plain(ecs.alert_document(examples.alert(ioc_type=ioc_type)))) == []
    assert ecs_errors(plain(ecs.indicator_document(examples.ioc(ioc_type)))) == []


def indicator(key, *, kind="x", ioc_type="malicious_payload", **changes):
    disposition = changes.pop("disposition", Disposition.BLOCK)
    value = key.partition(":")[2]
    one = Indicator(key=key, type=kind, value=value, disposition=disposition)
    return examples.ioc(ioc_type, indicator=one, **changes)


def test_an_ecs_indicator_has_what_a_rule_matches_and_a_store_orders_by():
    modified = datetime(2026, 11, 21, tzinfo=UTC)
    ioc = indicator("pypi:litellm@1.82.7", revision=4, modified=modified, component="pypi:litellm")
    document = plain(ecs.indicator_document(ioc))
    assert document["@timestamp"] == "2026-11-21T00:00:00.000Z"
    assert (document["event"]["id"], document["event"]["sequence"]) == (ioc.id, 4)
    assert document["event"]["severity"] == 90
    assert document["package"] == {"name": "litellm", "type": "pypi", "version": "1.82.7"}
    assert document["tidewatch"]["purl"] == "pkg:pypi/litellm@1.82.7"
    assert document["tidewatch"]["valid_until"] == "2027-11-20T00:00:00.000Z"
    assert document["tidewatch"]["disposition"] == "block"
    assert document["threat"]["indicator"]["modified_at"] == "2026-11-21T00:00:00.000Z"
    assert ecs_errors(document) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"disposition": Disposition.CONTEXT},
        {"status": "withdrawn"},
        {"category": Category.HYGIENE, "ioc_type": "unpinned_dependency"},
    ],
)
def test_what_is_not_to_be_matched_has_no_ecs_indicator(changes):
    """A tenant's own data host must not become a domain that a match rule fires on."""
    ioc = indicator("domain:data.acme.example", **changes)
    document = plain(ecs.indicator_document(ioc))
    assert "indicator" not in document["threat"]
    assert "related" not in document
    assert document["event"]["type"] == ["info"]
    assert ecs_errors(document) == []
    again = plain(ecs.indicator_document(indicator("domain:data.evil.example")))
    assert again["threat"]["indicator"]["url"] == {"domain": "data.evil.example"}


@pytest.mark.parametrize(
    ("kind", "key", "field"),
    [
        ("url", "url:https://evil.example/x", {"url": {"original": "https://evil.example/x"}}),
        ("domain", "domain:evil.example", {"url": {"domain": "evil.example"}}),
        ("ipv4-addr", "ipv4:203.0.113.9", {"ip": "203.0.113.9"}),
        ("ipv6-addr", "ipv6:2001:db8::9", {"ip": "2001:db8::9"}),
        ("wallet", "wallet:0x" + "a" * 40, {}),
    ],
)
def test_network_indicators_have_their_ecs_fields(kind, key, field):
    document = plain(ecs.indicator_document(indicator(key, kind=kind)))
    assert ecs_errors(document) == []
    found = document["threat"]["indicator"]
    assert {name: found[name] for name in field} == field


def test_a_name_that_begins_with_an_at_sign_is_no_version():
    document = plain(ecs.indicator_document(indicator("model:@acme/internal/m@r1")))
    assert document["package"] == {"name": "@acme/internal/m", "type": "model", "version": "r1"}
    assert "purl" not in document["tidewatch"]


@pytest.mark.parametrize(
    ("key", "value", "version"),
    [
        (f"sha256:{examples.DIGEST}", examples.DIGEST, None),
        ("domain:data.evil.example", "data.evil.example", None),
        ("pypi:torchtriton@3.0.0", "torchtriton@3.0.0", "3.0.0"),
        ("model:huggingface/o'neil/x\\y", "model:huggingface/o'neil/x\\y", None),
    ],
)
@pytest.mark.parametrize("revoked", [False, True])
def test_a_shared_bundle_is_strictly_valid_stix(key, value, version, revoked):
    shared = examples.shared(key, value, version=version, revoked=revoked, sightings=3)
    raw = indicator_bundle([shared], tlp=Tlp.AMBER)
    document = json.loads(raw)
    options = ValidationOptions(version="2.1", strict=True, disabled="103,302", enforce_refs=True)
    result = validate_instance(document, options)
    assert result.is_valid, [str(error) for error in result.errors]
    assert stix2.parse(document, allow_custom=False)
    indicators = [item for item in document["objects"] if item["type"] == "indicator"]
    assert [item.get("revoked", False) for item in indicators] == [revoked]
    assert raw == indicator_bundle([shared], tlp=Tlp.AMBER)


@pytest.mark.parametrize("ioc_type", ALL_TYPES)
def test_every_kind_of_indicator_makes_valid_stix(ioc_type):
    assert indicator_bundle([examples.shared(ioc_type=ioc_type)], tlp=Tlp.GREEN)


def test_hash_keys_of_patterns_are_quoted():
    assert pattern(examples.shared()) == f"[file:hashes.'SHA-256' = '{examples.DIGEST}']"


def test_a_misp_event_names_the_galaxy_and_marks_only_values_for_detection():
    event = misp.misp_event(
        "inc-1",
        "title",
        examples.TIME,
        Severity.CRITICAL,
        [examples.shared(), examples.shared("pypi:x@1", "x@1")],
        tlp=Tlp.AMBER,
        status="contained",
    )["Event"]
    assert [a["to_ids"] for a in event["Attribute"]] == [True, False]
    assert {"name": "tlp:amber"} in event["Tag"]


@pytest.mark.parametrize(
    ("status", "analysis"),
    [
        ("new", "0"),
        ("acknowledged", "1"),
        ("contained", "1"),
        ("recovering", "1"),
        ("closed", "2"),
        ("false-positive", "2"),
        ("withdrawn", "2"),
    ],
)
def test_the_state_of_a_misp_analysis_follows_the_incident(status, analysis):
    event = misp.misp_event(
        "inc-1", "title", examples.TIME, Severity.HIGH, [], tlp=Tlp.GREEN, status=status
    )["Event"]
    assert event["analysis"] == analysis


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"digest": None},
        {"action": "block", "target": "domain:evil.example", "target_type": "source"},
        {"action": "revoke", "target": "secret-ref:token", "target_type": "identity"},
        {"action": "hold-pipeline", "target": "pipeline:train", "target_type": "pipeline"},
        {"action": "capture-evidence", "target": "host-1", "target_type": "system"},
        {"target": component_key("sha256", examples.DIGEST), "digest": None},
    ],
)
def test_a_command_reads_back_as_it_was_and_has_one_target(changes):
    spec = examples.command(**changes)
    document = openc2.command_document(spec)
    assert len(document["target"]) == 1
    assert len(document["command_id"]) <= 36
    assert openc2.read_command(msgspec.json.encode(document)) == spec


def test_a_command_whose_target_was_changed_is_refused():
    document = openc2.command_document(examples.command())
    document["target"]["file"]["name"] = "other"
    with pytest.raises(openc2.InvalidCommandError):
        openc2.read_command(msgspec.json.encode(document))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"{}",
        b'{"args":{}}',
        b'{"command_id":1,"args":[]}',
        b'{"status":"\xff","results":{"x":"\x89"}}',
        b'{"status":1,"results":' + b"[" * 100_000,
    ],
)
def test_what_is_no_command_is_refused(raw):
    with pytest.raises(openc2.InvalidCommandError):
        openc2.read_command(raw)
    with pytest.raises(openc2.InvalidCommandError):
        openc2.read_response(raw)


ROUND_TRIP = """
import json, sys, openc2
from stix2 import properties
for line in sys.stdin:
    document = json.loads(line)
    document["args"].pop("x-tidewatch")
    command = openc2.v10.Command(allow_custom=True, **{**document})
    assert json.loads(command.serialize()) == document, line
print("ok")
"""


def test_the_openc2_library_reads_our_commands_and_writes_them_the_same():
    """The library needs an older stix2, so it lives in a locked environment of its own."""
    python = Path(os.environ.get("OPENC2_PYTHON", "missing"))
    if not python.exists():
        pytest.skip("no environment with openc2 1.0.5 (make test provides it)")
    documents = [
        openc2.command_document(examples.command()),
        openc2.command_document(
            examples.command(action="block", target="domain:e.example", digest=None)
        ),
        openc2.command_document(
            examples.command(action="capture-evidence", target="h", target_type="system")
        ),
    ]
    lines = "\n".join(json.dumps(plain(document)) for document in documents)
    done = subprocess.run(
        [python, "-W", "ignore", "-c", ROUND_TRIP],
        input=lines,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == "ok", done.stderr[-2000:]
