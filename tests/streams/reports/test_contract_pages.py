"""The contract is current and true: samples, schemas, headers, and signatures by other programs."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import orjson
import pytest
from stix2validator import ValidationOptions, validate_instance

from schemas.channels import Channel
from schemas.cloudevents import first_headers, read_event
from schemas.dead_letters import REASONS
from schemas.documents.openc2 import missing_headers, read_command, read_response
from schemas.export import HEADERS, record_type, topic_schema
from schemas.signing import SIGNATURE_HEADER, InvalidSignatureError, verify_signature
from streams.apps.topology import EVENT_CHANNELS
from streams.reports.contract_pages import contract_pages, contracts
from streams.reports.contract_samples import samples
from streams.reports.field_docs import struct_fields
from streams.reports.reference_pages import example_of
from streams.reports.signature_vectors import (
    REFUSED,
    known_key,
    trusted_keys,
    vectors,
)
from tests.each import each
from tests.schemas.standards import ecs_errors, ocsf_errors

DOCS = Path(__file__).resolve().parents[3] / "docs"
CONTRACT = DOCS / "contract"
SIGNATURES = CONTRACT / "signatures"
SAMPLES = samples()
OF_PACKAGES = (Channel.REGISTRY_PUSH, "ecosystem")
"""Of a push: the sample is a model."""
NO_JSON = {Channel.DEAD_LETTER}
SIGNED = {
    Channel.CONTAINMENT_COMMANDS: known_key(1, "commands"),
    Channel.CONTAINMENT_PROPOSALS: known_key(1, "commands"),
    Channel.DECISIONS: known_key(3, "operator"),
    Channel.CONTAINMENT_RESULTS: known_key(4, "responder"),
}


def value(channel):
    return orjson.loads(SAMPLES[channel].value)


def test_the_pages_are_current() -> None:
    pages = contract_pages()
    there = {path.name for path in CONTRACT.glob("*.md")}
    assert there == {name for name in pages if name.endswith(".md")}
    for name, text in pages.items():
        assert (CONTRACT / name).read_text(encoding="utf-8") == text, f"{name}: run make docs"


def test_every_topic_has_a_contract_and_a_sample() -> None:
    assert set(contracts()) == set(SAMPLES) == set(Channel)
    assert samples() == SAMPLES


@each("channel", [channel for channel in Channel if channel not in NO_JSON])
def test_each_sample_meets_its_schema_and_so_do_its_headers(channel) -> None:
    schema = topic_schema(channel)
    jsonschema.Draft202012Validator(schema).validate(value(channel))
    headers = {name: raw.decode() for name, raw in SAMPLES[channel].headers}
    jsonschema.Draft202012Validator(schema.get(HEADERS, {})).validate(headers)


@each("channel", EVENT_CHANNELS)
def test_an_event_is_read_and_names_every_field_it_may_have(channel) -> None:
    sample = SAMPLES[channel]
    event = read_event(
        sample.value, sample.headers, timestamp_ms=2_000_000_000_000, max_bytes=1 << 20
    )
    assert sample.key == f"{event.tenantid}|{event.subject}"
    for field in struct_fields(record_type(channel)):
        assert field.meaning, field.path
        if not field.path.startswith("config.") and (channel, field.path) != OF_PACKAGES:
            assert example_of(value(channel)["data"], field.path) is not None, field.path


@each(
    "channel",
    [
        Channel.IOCS,
        Channel.HYGIENE,
        Channel.ASSESSMENTS,
        Channel.DECISIONS,
        Channel.INTEL,
        Channel.POLICY,
        Channel.OPERATOR_ALERTS,
    ],
)
def test_each_field_that_others_read_or_write_has_a_meaning(channel) -> None:
    without = [
        struct_field.path
        for struct_field in struct_fields(record_type(channel))
        if not struct_field.meaning
    ]
    assert [path for path in without if not path.startswith("basis.")] == []


def test_samples_of_standards_are_valid_to_others() -> None:
    assert ocsf_errors(value(Channel.ALERTS), "detection_finding") == []
    assert ocsf_errors(value(Channel.CONTAINMENT_AUDIT), "remediation_activity") == []
    assert ecs_errors(value(Channel.ALERTS_ECS)) == []
    assert ecs_errors(value(Channel.IOCS_ECS)) == []
    options = ValidationOptions(version="2.1", strict=True, disabled="103,302", enforce_refs=True)
    assert validate_instance(value(Channel.INTEL_SHARE), options).is_valid
    assert read_command(SAMPLES[Channel.CONTAINMENT_COMMANDS].value).mode == "automatic"
    assert read_response(SAMPLES[Channel.CONTAINMENT_RESULTS].value).status == 200
    assert missing_headers(first_headers(SAMPLES[Channel.CONTAINMENT_RESULTS].headers)) == ""


@each("channel", list(Channel))
def test_what_is_signed_is_signed_by_the_key_it_names(channel) -> None:
    sample = SAMPLES[channel]
    signed = SIGNATURE_HEADER in dict(sample.headers)
    assert signed == (channel in SIGNED)
    if signed:
        key = SIGNED[channel]
        ring = {key.kid: key.public_pem()}
        at = 1_795_162_530_120
        assert verify_signature(sample.headers, sample.value, ring, timestamp_ms=at) == key.kid


def test_the_page_explains_each_reason_of_a_dead_letter() -> None:
    page = (DOCS / "contract.md").read_text()
    explained = re.findall(r"^\| `([a-z0-9-]+)` \|", page, re.MULTILINE)
    assert set(explained) >= REASONS
    assert len(explained) == len(set(explained))


# -- signatures -----------------------------------------------------------------------------------


@each("vector", vectors())
def test_our_own_code_agrees_with_the_vectors(vector) -> None:
    given = (tuple(vector.headers.items()), vector.value, trusted_keys())
    if vector.expected != REFUSED:
        found = verify_signature(*given, timestamp_ms=vector.timestamp_ms)
        assert found == vector.expected
        return
    with pytest.raises(InvalidSignatureError):
        verify_signature(*given, timestamp_ms=vector.timestamp_ms)


def test_each_cause_of_refusal_has_a_vector() -> None:
    names = {vector.name for vector in vectors()}
    assert len(names) == len(vectors())
    assert sum(vector.expected != REFUSED for vector in vectors()) >= 5


def _expected() -> list[str]:
    return [f"{vector.name}\t{vector.expected}" for vector in vectors()]


def _printed(*command: str) -> list[str]:
    done = subprocess.run(
        [*command, "vectors.tsv", "keys"],
        cwd=SIGNATURES,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_program_in_python_agrees_with_the_vectors() -> None:
    assert _printed(sys.executable, "verify.py") == _expected()


@pytest.mark.slow
def test_the_program_in_java_agrees_with_the_vectors() -> None:
    java = shutil.which("java")
    if java is None or shutil.which("javac") is None:
        pytest.skip("no JDK on this machine; single-file programs need one of at least 17")
    # the source's own encoding, whatever the machine's
    printed = _printed(java, "-Dfile.encoding=UTF-8", "-Xshare:auto", "Verify.java")
    assert printed == _expected()


def test_each_program_verifies_in_about_twenty_lines() -> None:
    for name, start, end in (
        ("verify.py", "def verify(", "def main("),
        ("Verify.java", "static String verify(", "public static void main("),
    ):
        text = (SIGNATURES / name).read_text(encoding="utf-8")
        body = text[text.index(start) : text.index(end)]
        lines = [line for line in body.splitlines() if line.strip()]
        assert len(lines) <= 32, f"{name}: {len(lines)}"
