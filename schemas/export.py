"""The JSON Schema (2020-12) of the values on each topic."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from schemas.assessments import Assessment
from schemas.channels import Channel
from schemas.decisions import Decision
from schemas.documents.ocsf import (
    CLASS_DETECTION_FINDING,
    CLASS_REMEDIATION_ACTIVITY,
    SCHEMA_VERSION,
)
from schemas.documents.openc2 import (
    ACTIONS,
    ANSWER_HEADERS,
    EXTENSION,
    OPENC2_FIRST,
    OPENC2_LAST,
    Answer,
)
from schemas.events import (
    TYPE_PACKAGE_INSTALL,
    TYPE_PIPELINE_RUN,
    TYPE_REGISTRY_PUSH,
    PackageInstall,
    PipelineRun,
    RegistryPush,
)
from schemas.findings import SupplyChainIoC
from schemas.incidents.commands import CommandSpec
from schemas.incidents.holds import HoldView
from schemas.incidents.updates import IncidentMessage
from schemas.incidents.views import IncidentDocument
from schemas.intel import IntelFact
from schemas.ledger import LedgerMessage, OperatorAlert
from schemas.notifications import NotificationThread
from schemas.policy import Policy
from schemas.scans import ScanRequest

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_EVENTS: Final = {
    Channel.REGISTRY_PUSH: (TYPE_REGISTRY_PUSH, RegistryPush),
    Channel.PACKAGE_INSTALL: (TYPE_PACKAGE_INSTALL, PackageInstall),
    Channel.PIPELINE_RUN: (TYPE_PIPELINE_RUN, PipelineRun),
}
_RECORDS: Final[dict[Channel, Any]] = {
    Channel.INTEL: IntelFact,
    Channel.POLICY: Policy,
    Channel.DECISIONS: Decision,
    Channel.SCAN_REQUESTS: ScanRequest,
    Channel.OBSERVATIONS: LedgerMessage,
    Channel.INCIDENT_UPDATES: IncidentMessage,
    Channel.IOCS: SupplyChainIoC,
    Channel.HYGIENE: SupplyChainIoC,
    Channel.ASSESSMENTS: Assessment,
    Channel.INCIDENTS: IncidentDocument,
    Channel.HOLDS: HoldView,
    Channel.OPERATOR_ALERTS: OperatorAlert,
    Channel.NOTIFICATIONS: NotificationThread,
}
HEADERS: Final = "x-headers"
"""The keyword that holds the schema of a record's headers, as text; others ignore it."""
_TEXT: Final = {"type": "string"}
_MILLISECONDS: Final = {"type": "integer"}


def topic_schema(channel: Channel) -> dict[str, Any]:
    """Return the JSON Schema of the values on a channel's topic.

    Native events are described in structured mode; in binary mode the value is their `data`.
    """
    if channel in _EVENTS:
        body = _event(*_EVENTS[channel])
    elif channel in _RECORDS:
        body = msgspec.json.schema(_RECORDS[channel])
    else:
        body = _STANDARD[channel]
    return {"$schema": DIALECT, "title": f"supplychain.{channel}, version 1", **body}


def record_type(channel: Channel) -> Any:  # noqa: ANN401 -- a record's type, or a union of them
    """Return the type of a channel's values, or of an event's data; None for standard documents."""
    if channel in _EVENTS:
        return _EVENTS[channel][1]
    return _RECORDS.get(channel)


def all_schemas() -> dict[Channel, dict[str, Any]]:
    """Return the schema of every channel."""
    return {channel: topic_schema(channel) for channel in Channel}


def _event(event_type: str, data: type) -> dict[str, Any]:
    (reference,), definitions = msgspec.json.schema_components([data])
    return {
        "type": "object",
        "required": ["specversion", "id", "source", "type", "time", "tenantid", "data"],
        "properties": {
            "specversion": {"const": "1.0"},
            "id": {"type": "string", "minLength": 1, "maxLength": 1024},
            "source": {"type": "string", "minLength": 1, "maxLength": 1024},
            "type": {"const": event_type},
            "subject": {"type": "string", "maxLength": 1024},
            "time": {"type": "string", "format": "date-time"},
            "tenantid": {"type": "string", "minLength": 1, "maxLength": 1024},
            "data": reference,
        },
        "$defs": definitions,
    }


def _ocsf(class_uid: int, *required: str) -> dict[str, Any]:
    names = ("activity_id", "category_uid", "class_uid", "metadata", "severity_id", "time")
    return {
        "description": f"OCSF {SCHEMA_VERSION}, class {class_uid}",
        "type": "object",
        "required": sorted({*names, "type_uid", *required}),
        "properties": {
            "class_uid": {"const": class_uid},
            "activity_id": {"type": "integer"},
            "category_uid": {"type": "integer"},
            "type_uid": {"type": "integer"},
            "severity_id": {"enum": [1, 2, 3, 4, 5]},
            "time": _MILLISECONDS,
            "metadata": {
                "type": "object",
                "required": ["version", "uid", "tenant_uid", "correlation_uid", "product"],
                "properties": {
                    "version": {"const": SCHEMA_VERSION},
                    "uid": _TEXT,
                    "tenant_uid": _TEXT,
                    "correlation_uid": _TEXT,
                    "product": {"type": "object", "required": ["name"]},
                },
            },
            "finding_info": {
                "type": "object",
                "required": ["uid", "title", "attacks", "types"],
            },
            "command_uid": {"type": "string", "maxLength": 36},
            "unmapped": {"type": "object"},
        },
    }


def _command() -> dict[str, Any]:
    (reference,), definitions = msgspec.json.schema_components([CommandSpec])
    body = definitions[CommandSpec.__name__]
    body["required"] = [name for name in body["required"] if name != "command_id"]
    del body["properties"]["command_id"]
    return {
        "description": "OpenC2 1.0 command",
        "type": "object",
        "required": ["action", "target", "args", "command_id"],
        "properties": {
            "action": {"enum": sorted(set(ACTIONS.values()))},
            "target": {"type": "object", "minProperties": 1, "maxProperties": 1},
            "args": {
                "type": "object",
                "required": ["response_requested", EXTENSION],
                "properties": {"response_requested": _TEXT, EXTENSION: reference},
            },
            "command_id": {"type": "string", "maxLength": 36, "pattern": r"^\S+$"},
        },
        "$defs": definitions,
    }


def _answer() -> dict[str, Any]:
    (_,), definitions = msgspec.json.schema_components([Answer])
    extension = definitions[Answer.__name__]
    return {
        "description": "OpenC2 1.0 response",
        "type": "object",
        "required": ["status", "results"],
        "properties": {
            "status": {"type": "integer", "minimum": OPENC2_FIRST, "maximum": OPENC2_LAST},
            "status_text": _TEXT,
            "results": {
                "type": "object",
                "required": [EXTENSION],
                "properties": {EXTENSION: extension},
            },
        },
        HEADERS: {
            "type": "object",
            "required": list(ANSWER_HEADERS),
            "properties": {
                name: {"type": "string", "minLength": 1, "description": meaning}
                for name, meaning in ANSWER_HEADERS.items()
            },
        },
    }


def _ecs(kind: str, *required: str) -> dict[str, Any]:
    return {
        "description": "Elastic Common Schema 9.4 document",
        "type": "object",
        "required": ["@timestamp", "ecs", "event", "organization", "threat", *required],
        "properties": {
            "@timestamp": {"type": "string", "format": "date-time"},
            "event": {
                "type": "object",
                "required": ["kind", "category", "type", "id"],
                "properties": {"kind": {"const": kind}},
            },
            "organization": {"type": "object", "required": ["id"]},
            "threat": {"type": "object"},
        },
    }


_STANDARD: Final[dict[Channel, dict[str, Any]]] = {
    Channel.ALERTS: _ocsf(
        CLASS_DETECTION_FINDING,
        "finding_info",
        "evidences",
        "resources",
        "observables",
        "remediation",
        "unmapped",
    ),
    Channel.CONTAINMENT_AUDIT: _ocsf(CLASS_REMEDIATION_ACTIVITY, "command_uid"),
    Channel.CONTAINMENT_COMMANDS: _command(),
    Channel.CONTAINMENT_PROPOSALS: _command(),
    Channel.CONTAINMENT_RESULTS: _answer(),
    Channel.INTEL_SHARE: {
        "description": "STIX 2.1 bundle",
        "type": "object",
        "required": ["type", "id", "objects"],
        "properties": {
            "type": {"const": "bundle"},
            "id": {"type": "string", "pattern": "^bundle--"},
            "objects": {"type": "array", "items": {"type": "object", "required": ["type", "id"]}},
        },
    },
    Channel.ALERTS_ECS: _ecs("alert", "rule", "message"),
    Channel.IOCS_ECS: _ecs("enrichment"),
    Channel.DEAD_LETTER: {
        "description": "The refused record's own bytes: anything. The reason and origin are in the "
        "headers source_topic, source_partition, source_offset, reason, error, app, "
        "original_headers. One that represents a range of offsets has the headers "
        "source_last_offset, records (how many; 0: not known) and reasons (JSON: how many for "
        "which reason code) as well; its value is a sample, the first record's beginning.",
    },
}
