"""Version 1 of every topic: golden records stay readable, schemas only grow where that is safe."""

from __future__ import annotations

import json
from functools import cache

import jsonschema
import orjson

from schemas.channels import Channel
from schemas.cloudevents import read_event
from schemas.decisions import Decision
from schemas.documents.openc2 import read_command, read_response
from schemas.export import topic_schema
from schemas.incidents.updates import IncidentMessage
from schemas.intel import IntelFact
from schemas.ledger import LedgerMessage
from schemas.policy import Policy
from schemas.reading import record_reader
from schemas.scans import ScanRequest
from tests.each import each
from tests.schemas.golden import GOLDEN, SCHEMAS, samples

CHANNELS = list(Channel)
made_today = cache(samples)
READERS = {
    Channel.INTEL: record_reader(IntelFact),
    Channel.POLICY: record_reader(Policy),
    Channel.DECISIONS: record_reader(Decision),
    Channel.SCAN_REQUESTS: record_reader(ScanRequest),
    Channel.OBSERVATIONS: record_reader(LedgerMessage),
    Channel.INCIDENT_UPDATES: record_reader(IncidentMessage),
    Channel.CONTAINMENT_COMMANDS: read_command,
    Channel.CONTAINMENT_PROPOSALS: read_command,
    Channel.CONTAINMENT_RESULTS: read_response,
}
EVENTS = (Channel.REGISTRY_PUSH, Channel.PACKAGE_INSTALL, Channel.PIPELINE_RUN)


def golden(channel):
    return json.loads((GOLDEN / f"{channel}.json").read_bytes())


def published(channel):
    return json.loads((SCHEMAS / f"{channel}.json").read_bytes())


@each("channel", CHANNELS)
def test_every_topic_has_a_schema_that_its_golden_record_and_todays_records_meet(channel):
    schema = topic_schema(channel)
    jsonschema.Draft202012Validator.check_schema(schema)
    for document in (golden(channel), made_today()[channel]):
        jsonschema.Draft202012Validator(schema).validate(document)
        jsonschema.Draft202012Validator(published(channel)).validate(document)


@each("channel", sorted(READERS))
def test_golden_records_are_still_read(channel):
    assert READERS[channel]((GOLDEN / f"{channel}.json").read_bytes()) is not None


@each("channel", EVENTS)
def test_golden_events_are_still_read(channel):
    raw = (GOLDEN / f"{channel}.json").read_bytes()
    assert read_event(raw, (), timestamp_ms=2_000_000_000_000, max_bytes=1 << 20).id


def kind_of(schema, document):
    """Return the type of a property; a named enumeration of strings is a string."""
    if "$ref" in schema:
        schema = document["$defs"][schema["$ref"].rsplit("/", 1)[-1]]
        return "string" if all(isinstance(value, str) for value in schema.get("enum", [0])) else ""
    return schema.get("type", schema.get("enum", ""))


def fields(schema, document, path=""):
    """Yield every property of a schema: its path, its types, and whether it is required.

    The types of one that is only named as required are None: any.
    """
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        if f"<{name}>" in path:
            return
        schema, path = document["$defs"][name], f"{path}<{name}>"
    for branch in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from fields(branch, document, path)
    for name, inner in schema.get("properties", {}).items():
        place = f"{path}.{name}"
        yield (
            place,
            orjson.dumps(kind_of(inner, document)),
            name in schema.get("required", ()),
        )
        yield from fields(inner, document, place)
    for name in set(schema.get("required", ())) - set(schema.get("properties", ())):
        yield f"{path}.{name}", None, True
    if isinstance(schema.get("items"), dict):
        yield from fields(schema["items"], document, f"{path}[]")


@each("channel", CHANNELS)
def test_the_published_schema_only_grows(channel):
    """No field goes, changes its type, or becomes required: what is on the broker stays valid."""
    old_schema, new_schema = published(channel), topic_schema(channel)
    new = {field: (kind, needed) for field, kind, needed in fields(new_schema, new_schema)}
    for field, kind, needed in fields(old_schema, old_schema):
        assert field in new, f"{field} is gone"
        assert kind is None or new[field][0] == kind, f"{field} changed its type"
        assert needed or not new[field][1], f"{field} became required"
    old_fields = {field for field, _, _ in fields(old_schema, old_schema)}
    if channel in (*EVENTS, *READERS):
        # What is on the broker has no record of a type that is new.
        types = {old.partition(">")[0] for old in old_fields if old.startswith("<")}
        added = [
            name
            for name, (_, needed) in new.items()
            if needed
            and name not in old_fields
            and (not name.startswith("<") or name.partition(">")[0] in types)
        ]
        assert not added, f"new required fields {added}"
