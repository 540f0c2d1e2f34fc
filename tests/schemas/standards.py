"""Checks documents against the compiled OCSF schema and the ECS field list, both third-party."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from tests.shared_data import shared_path

_NUMBERS = {"integer_t", "long_t", "timestamp_t", "port_t"}


@cache
def _ocsf() -> dict[str, Any]:
    return json.loads(shared_path("standards", "ocsf-1.7.0.compiled.json").read_bytes())


def ocsf_errors(document: dict[str, Any], class_name: str) -> list[str]:
    """Return what the compiled OCSF schema has against a document."""
    profiles = set(document["metadata"].get("profiles", ()))
    return _object(document, _ocsf()["classes"][class_name], class_name, profiles)


def _object(value: Any, schema: dict[str, Any], path: str, profiles: set[str]) -> list[str]:
    attributes = schema["attributes"]
    errors = [f"{path}.{name}: unknown attribute" for name in value if name not in attributes]
    for name, attribute in attributes.items():
        profile = attribute.get("profile")
        if profile and profile not in profiles:
            if name in value and name in {"action_id", "disposition_id"}:
                errors.append(f"{path}.{name}: needs profile {profile}")
            continue
        if name not in value:
            if attribute.get("requirement") == "required" and name not in {"osint", "cloud"}:
                errors.append(f"{path}.{name}: required")
            continue
        errors.extend(_value(value[name], attribute, f"{path}.{name}", profiles))
    one_of = (schema.get("constraints") or {}).get("at_least_one")
    if one_of and not set(one_of) & set(value):
        errors.append(f"{path}: at least one of {one_of}")
    return errors


def _value(value: Any, attribute: dict[str, Any], path: str, profiles: set[str]) -> list[str]:
    if attribute.get("is_array"):
        if not isinstance(value, list):
            return [f"{path}: must be an array"]
        return [
            error
            for index, item in enumerate(value)
            for error in _single(item, attribute, f"{path}[{index}]", profiles)
        ]
    return _single(value, attribute, path, profiles)


def _single(value: Any, attribute: dict[str, Any], path: str, profiles: set[str]) -> list[str]:
    kind = attribute["type"]
    if kind == "object_t":
        name = attribute["object_type"]
        if name == "object":
            return []
        if not isinstance(value, dict):
            return [f"{path}: must be an object"]
        if not value:
            return [f"{path}: empty object"]
        return _object(value, _ocsf()["objects"][name], path, profiles)
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
def _ecs() -> dict[str, Any]:
    return json.loads(shared_path("standards", "ecs-9.4.0.flat.json").read_bytes())


def ecs_errors(document: dict[str, Any]) -> list[str]:
    """Return what the ECS field list has against a document."""
    fields = _ecs()
    fields = fields.get("fields", fields)
    return [
        f"{name}: not an ECS field"
        for name in _flat(document)
        if name not in fields
        and not any(
            fields.get(prefix, {}).get("type") in {"object", "flattened"}
            for prefix in _prefixes(name)
        )
    ]


def _prefixes(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]


def _flat(document: dict[str, Any], prefix: str = "") -> list[str]:
    names: list[str] = []
    for key, value in document.items():
        if isinstance(value, dict):
            names.extend(_flat(value, f"{prefix}{key}."))
        else:
            names.append(f"{prefix}{key}")
    return names
