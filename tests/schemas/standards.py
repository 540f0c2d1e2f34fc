"""Check documents against the published OCSF schema and the list of ECS fields."""

from __future__ import annotations

import json
import tomllib
from datetime import datetime
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

_OCSF_SCHEMA = "v1_7_0.json"
_NUMBERS = {"integer_t", "long_t", "timestamp_t", "port_t"}
_PROFILES = {
    "incident": (
        "assignee",
        "assignee_group",
        "impact",
        "impact_id",
        "impact_score",
        "is_suspected_breach",
        "priority",
        "priority_id",
        "src_url",
        "ticket",
        "tickets",
        "verdict",
        "verdict_id",
    ),
    "security_control": (
        "action",
        "action_id",
        "attacks",
        "authorizations",
        "confidence",
        "confidence_id",
        "confidence_score",
        "disposition",
        "disposition_id",
        "firewall_rule",
        "is_alert",
        "malware",
        "malware_scan_info",
        "policy",
        "risk_details",
        "risk_level",
        "risk_level_id",
        "risk_score",
    ),
}
"""Attributes that profiles add: the package ships the schema without its profiles.

Source: OCSF 1.7.0, profiles/incident.json and profiles/security_control.json.
"""

_PROFILE_VALUES = {"action_id": {"enum": {"3": {}, "4": {}}}}
"""Values that the profile security_control adds: Observed, Modified. Source: the same."""


@cache
def _ocsf() -> dict[str, Any]:
    """Return the uncompiled schema that the package pydantic-ocsf ships."""
    path = resources.files("ocsf") / "schemas" / _OCSF_SCHEMA
    return json.loads(path.read_bytes())


@cache
def _compiled(kind: str, name: str) -> dict[str, Any]:
    """Return a class or an object with what it inherits and what the dictionary says."""
    own = _ocsf()[kind][name]
    base = own.get("extends")
    parent = _compiled(kind, base) if base else {"attributes": {}, "category": None}
    attributes = dict(parent["attributes"])
    for key, attribute in own["attributes"].items():
        if key != "$include":
            attributes[key] = _merged(attributes.get(key) or _defined(key), attribute)
    if name == "observable":
        attributes["type_id"] = _merged(attributes["type_id"], {"enum": _observables()})
    return {
        "attributes": attributes,
        "category": own.get("category") or parent["category"],
        "constraints": own.get("constraints", parent.get("constraints")),
        "uid": own.get("uid"),
    }


def _observables() -> dict[str, Any]:
    """Return the numbers of observables, which types, attributes and objects declare."""
    schema = _ocsf()
    declaring = (
        *schema["dictionary"]["types"]["attributes"].values(),
        *schema["dictionary"]["attributes"].values(),
        *schema["objects"].values(),
    )
    return {str(entry["observable"]): {} for entry in declaring if "observable" in entry}


def _defined(name: str) -> dict[str, Any]:
    return _ocsf()["dictionary"]["attributes"][name]


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    enum = {**below.get("enum", {}), **above.get("enum", {})}
    merged = {**below, **{key: value for key, value in above.items() if value is not None}}
    return {**merged, "enum": enum} if enum else merged


@cache
def _class(name: str, profiles: frozenset[str]) -> dict[str, Any]:
    """Return an event class with the attributes of its profiles and its own numbers."""
    schema = _compiled("events", name)
    attributes = dict(schema["attributes"])
    for profile in profiles:
        for key in _PROFILES[profile]:
            attributes.setdefault(key, _merged(_defined(key), _PROFILE_VALUES.get(key, {})))
    category = _ocsf()["categories_meta"]["attributes"][schema["category"]]["uid"]
    class_uid = category * 1000 + schema["uid"]
    types = {str(class_uid * 100 + int(number)): {} for number in attributes["activity_id"]["enum"]}
    for key, numbers in (
        ("category_uid", {str(category): {}}),
        ("class_uid", {str(class_uid): {}}),
        ("type_uid", types),
    ):
        attributes[key] = {**attributes[key], "enum": numbers}
    return {**schema, "attributes": attributes}


def ocsf_errors(document: dict[str, Any], class_name: str) -> list[str]:
    """Return how a document departs from the OCSF schema: attributes, types, enumerations."""
    profiles = frozenset(document["metadata"].get("profiles", ()))
    return _object(document, _class(class_name, profiles), class_name)


def _object(value: Any, schema: dict[str, Any], path: str) -> list[str]:
    attributes = schema["attributes"]
    errors = [f"{path}.{name}: unknown attribute" for name in value if name not in attributes]
    for name, attribute in attributes.items():
        if name not in value:
            if attribute.get("requirement") == "required":
                errors.append(f"{path}.{name}: required")
            continue
        errors.extend(_value(value[name], attribute, f"{path}.{name}"))
    one_of = (schema.get("constraints") or {}).get("at_least_one")
    if one_of and not set(one_of) & set(value):
        errors.append(f"{path}: at least one of {one_of}")
    return errors


def _value(value: Any, attribute: dict[str, Any], path: str) -> list[str]:
    if attribute.get("is_array"):
        if not isinstance(value, list):
            return [f"{path}: must be an array"]
        return [
            error
            for index, item in enumerate(value)
            for error in _single(item, attribute, f"{path}[{index}]")
        ]
    return _single(value, attribute, path)


def _single(value: Any, attribute: dict[str, Any], path: str) -> list[str]:
    kind = attribute["type"]
    if not kind.endswith("_t"):
        if kind == "object":
            return []
        if not isinstance(value, dict):
            return [f"{path}: must be an object"]
        if not value:
            return [f"{path}: empty object"]
        return _object(value, _compiled("objects", kind), path)
    if kind in _NUMBERS and (isinstance(value, bool) or not isinstance(value, int)):
        return [f"{path}: must be an integer, is {value!r}"]
    if kind == "boolean_t" and not isinstance(value, bool):
        return [f"{path}: must be a boolean"]
    if kind not in {*_NUMBERS, "boolean_t", "json_t", "float_t"} and not isinstance(value, str):
        return [f"{path}: must be a string, is {value!r}"]
    if (enum := attribute.get("enum")) and str(value) not in enum:
        return [f"{path}: {value!r} is not in the enumeration"]
    return []


@cache
def _ecs() -> dict[str, dict[str, Any]]:
    """Return the ECS fields: those that the documents use, and those near them."""
    path = Path(__file__).parent / "ecs_fields.toml"
    fields: dict[str, dict[str, Any]] = {}
    for kind, named in tomllib.loads(path.read_text())["fields"].items():
        for entry in named:
            name, array = entry.removesuffix("[]"), entry.endswith("[]")
            fields[name] = {"type": kind, "array": array}
    for name, values in tomllib.loads(path.read_text())["values"].items():
        fields[name]["values"] = values
    return fields


def ecs_errors(document: dict[str, Any]) -> list[str]:
    """Return how a document departs from the ECS fields: names, types, lists, values."""
    return [error for name, value in _flat(document) for error in _ecs_value(name, value)]


def _ecs_value(name: str, value: Any) -> list[str]:
    fields = _ecs()
    if name not in fields:
        objects = [fields[prefix] for prefix in _prefixes(name) if prefix in fields]
        if not any(field["type"] in {"object", "flattened"} for field in objects):
            return [f"{name}: not an ECS field"]
        return [] if isinstance(value, str) else [f"{name}: must be a keyword"]
    field = fields[name]
    if isinstance(value, list) is not field["array"]:
        return [f"{name}: must {'' if field['array'] else 'not '}be a list"]
    return [
        error
        for item in (value if isinstance(value, list) else [value])
        for error in _ecs_single(name, item, field)
    ]


def _ecs_single(name: str, value: Any, field: dict[str, Any]) -> list[str]:
    kind = field["type"]
    if kind in {"long", "float"}:
        wanted = int if kind == "long" else (int, float)
        if isinstance(value, bool) or not isinstance(value, wanted):
            return [f"{name}: must be a {kind}, is {value!r}"]
        return []
    if not isinstance(value, str):
        return [f"{name}: must be a {kind}, is {value!r}"]
    if kind == "date":
        try:
            datetime.fromisoformat(value)
        except ValueError:
            return [f"{name}: no date: {value!r}"]
    if (values := field.get("values")) and value not in values:
        return [f"{name}: {value!r} is not an expected value"]
    return []


def _prefixes(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]


def _flat(document: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    entries: list[tuple[str, Any]] = []
    for key, value in document.items():
        if isinstance(value, dict):
            entries.extend(_flat(value, f"{prefix}{key}."))
        else:
            entries.append((f"{prefix}{key}", value))
    return entries
