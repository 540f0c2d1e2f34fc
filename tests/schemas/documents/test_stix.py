"""STIX bundles are strictly valid."""

from __future__ import annotations

import json

import stix2
from stix2validator import ValidationOptions, validate_instance

from schemas.documents.stix import indicator_bundle, pattern
from schemas.severity import Tlp
from tests.each import each
from tests.schemas import examples
from tests.schemas.examples import ALL_TYPES


@each(
    ("key", "value", "version"),
    [
        (f"sha256:{examples.DIGEST}", examples.DIGEST, None),
        ("domain:data.evil.example", "data.evil.example", None),
        ("pypi:torchtriton@3.0.0", "torchtriton@3.0.0", "3.0.0"),
        ("model:huggingface/o'neil/x\\y", "model:huggingface/o'neil/x\\y", None),
    ],
)
@each("revoked", [False, True])
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


@each("ioc_type", ALL_TYPES)
def test_every_kind_of_indicator_makes_valid_stix(ioc_type):
    assert indicator_bundle([examples.shared(ioc_type=ioc_type)], tlp=Tlp.GREEN)


def test_hash_keys_of_patterns_are_quoted():
    assert pattern(examples.shared()) == f"[file:hashes.'SHA-256' = '{examples.DIGEST}']"
