"""OCSF documents are valid to the schema and to a library."""

from __future__ import annotations

import copy

import msgspec

from schemas.documents import ecs, ocsf, openc2
from schemas.incidents.commands import CommandView
from tests.each import each
from tests.schemas import examples
from tests.schemas.examples import ALL_TYPES, plain
from tests.schemas.standards import ecs_errors, ocsf_errors


@each("ioc_type", ALL_TYPES)
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


@each(
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


@each("activity", ["create", "update", "close"])
@each("status", ["new", "contained", "suppressed", "false-positive", "closed"])
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
                values = [entry for value in values for entry in value]
        assert observable["value"] in values


@each("action", sorted(openc2.ACTIONS))
@each("status", [200, 500])
def test_a_result_is_a_valid_remediation_activity(action, status):
    view = CommandView(
        spec=examples.command(action=action), state="done", status=status, status_text="so"
    )
    document = plain(ocsf.remediation_activity(view, examples.TIME))
    assert ocsf_errors(document, "remediation_activity") == []
