"""STIX 2.1 bundles of indicators: TLP 2.0 marked, deterministic, naming no tenant."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from schemas.atlas import Attack, attacks
from schemas.canonical import stable_hash
from schemas.cloudevents import format_time
from schemas.components import ComponentKind, is_sha256, split_key, split_version
from schemas.errors import TidewatchError
from schemas.findings import IndicatorType, SupplyChainIoC
from schemas.severity import Category, Disposition, IndicatorStatus, Severity, Tlp
from schemas.taxonomy import taxonomy
from schemas.version import PRODUCT

CONTENT_TYPE: Final = "application/stix+json;version=2.1"
SHARE_TYPE: Final = "tidewatch.intel.share.v1"
_NAMESPACE: Final = uuid.UUID("6ad95d44-23c7-5ad3-8ddd-53d68ca2c6a5")
_TLP_EXTENSION: Final = "extension-definition--60a3c5c5-0d10-413e-aab3-9e08dde9e88d"
_TLP_CREATED: Final = "2022-10-01T00:00:00.000Z"
TLP_MARKINGS: Final = {
    Tlp.CLEAR: "marking-definition--94868c89-83c2-464b-929b-a1a8aa3c8487",
    Tlp.GREEN: "marking-definition--bab4a63c-aed9-4cf5-a766-dfca5abac2bb",
    Tlp.AMBER: "marking-definition--55d920b0-5e8b-4f79-9ee9-91f868d9b421",
    Tlp.AMBER_STRICT: "marking-definition--939a9414-2ddd-4d32-a0cd-375ea402b003",
    Tlp.RED: "marking-definition--e828b379-4e03-4974-9ac4-e53a884c97c1",
}
_IDENTITY_CREATED: Final = "2026-01-01T00:00:00.000Z"
_REVOKED_LATER: Final = timedelta(milliseconds=1)
_REVISED_LATER: Final = timedelta(milliseconds=1)
_OBSERVABLES: Final[dict[str, str]] = {
    IndicatorType.FILE_DIGEST: "file:hashes.'SHA-256'",
    IndicatorType.DOMAIN: "domain-name:value",
    IndicatorType.URL: "url:value",
    IndicatorType.IPV4: "ipv4-addr:value",
    IndicatorType.IPV6: "ipv6-addr:value",
}
_SOFTWARE: Final = frozenset(
    {IndicatorType.PACKAGE_VERSION, IndicatorType.MODEL_REVISION, IndicatorType.DATASET}
)
"""Types of indicator whose value is a name, with its version or without."""
_CHAIN: Final = "mitre-atlas"


class InvalidBundleError(TidewatchError):
    """The shared indicators do not make valid STIX."""


class SharedIndicator(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An indicator as shared with partners: without tenants, systems or paths."""

    key: str
    """The indicator's key."""
    value: str
    ioc_type: str
    severity: Severity
    confidence: float
    description: str
    techniques: tuple[str, ...]
    first_seen: datetime
    last_seen: datetime
    valid_until: datetime | None = None
    version: str | None = None
    """Of a package or model."""
    publisher: str | None = None
    sightings: int | None = None
    """The number of tenants that saw it, if at least k."""
    revoked: bool = False
    generation: int = 0
    """How often it was restored after a revocation: each time it is a new object, since a revoked
    one stays revoked."""


def _id(kind: str, *parts: str) -> str:
    return f"{kind}--{uuid.uuid5(_NAMESPACE, stable_hash(kind, *parts))}"


def quote(value: str) -> str:
    """Return a string literal of the STIX pattern language."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def pattern(shared: SharedIndicator) -> str:
    """Return the STIX pattern that matches an indicator's value."""
    if is_sha256(shared.value):
        return f"[file:hashes.'SHA-256' = {quote(shared.value)}]"
    kind, name = split_key(shared.key.partition("@")[0] or shared.key)
    if kind == ComponentKind.DOMAIN:
        return f"[domain-name:value = {quote(name)}]"
    if shared.value.startswith(("http://", "https://")):
        return f"[url:value = {quote(shared.value)}]"
    if shared.version:
        return f"[software:name = {quote(name)} AND software:version = {quote(shared.version)}]"
    return f"[software:name = {quote(name)}]"


def tenant_pattern(ioc: SupplyChainIoC) -> str | None:
    """Return the STIX pattern of a tenant's indicator, None where STIX has no object for it."""
    indicator = ioc.indicator
    if is_sha256(indicator.value):
        return f"[file:hashes.'SHA-256' = {quote(indicator.value)}]"
    if indicator.type in _OBSERVABLES:
        return f"[{_OBSERVABLES[indicator.type]} = {quote(indicator.value)}]"
    if indicator.type not in _SOFTWARE:
        return None
    bare, version = split_version(indicator.key)
    name = f"software:name = {quote(split_key(bare)[1])}"
    return f"[{name} AND software:version = {quote(version)}]" if version else f"[{name}]"


def _marking(tlp: Tlp) -> dict[str, Any]:
    return {
        "type": "marking-definition",
        "spec_version": "2.1",
        "id": TLP_MARKINGS[tlp],
        "created": _TLP_CREATED,
        "name": f"TLP:{tlp.upper()}",
        "extensions": {
            _TLP_EXTENSION: {"extension_type": "property-extension", "tlp_2_0": str(tlp)}
        },
    }


def _phases(techniques: Iterable[str]) -> list[dict[str, str]]:
    names = dict.fromkeys(name for attack in attacks(techniques) for _, name in attack.tactics)
    return [
        {"kill_chain_name": _CHAIN, "phase_name": name.lower().replace(" ", "-")} for name in names
    ]


def indicator_bundle(indicators: Iterable[SharedIndicator], *, tlp: Tlp) -> bytes:
    """Return the STIX 2.1 bundle of some indicators, as JSON.

    Equal input gives equal bytes. A withdrawn indicator is `revoked`.

    Args:
        indicators: The shared indicators.
        tlp: The marking of the bundle.

    Raises:
        InvalidBundleError: the result is not valid STIX.
    """
    marks, maker = _marked(tlp)
    objects: dict[str, dict[str, Any]] = {}
    for shared in indicators:
        for item in _objects(shared, maker["id"], marks):
            objects.setdefault(item["id"], item)
    body = [_marking(tlp), maker, *objects.values()]
    document = {
        "type": "bundle",
        "id": _id("bundle", *sorted(objects), *(str(item.get("modified")) for item in body)),
        "objects": body,
    }
    import stix2  # noqa: PLC0415 -- brings 400 modules, and what is shared is rare
    from stix2.exceptions import STIXError  # noqa: PLC0415 -- the same

    try:
        stix2.parse(document, allow_custom=False)
    except (STIXError, ValueError) as error:
        raise InvalidBundleError(f"the bundle is not valid STIX: {error}") from error
    return msgspec.json.encode(document)


def tenant_objects(ioc: SupplyChainIoC) -> list[dict[str, Any]]:
    """Return the STIX objects of a tenant's indicator, for that tenant alone.

    A withdrawn indicator has a `valid_until` in the past. It is not revoked, since a later revision
    may restore it, which STIX does not allow after a revocation.

    Args:
        ioc: The record of the topic `iocs`.

    Returns: Its marking, its creator, the indicator, and its techniques; nothing for hygiene, for
    context, and for indicators without a STIX object.
    """
    matched = tenant_pattern(ioc)
    explains = ioc.indicator.disposition is Disposition.CONTEXT
    if matched is None or explains or ioc.category is not Category.COMPROMISE:
        return []
    marks, maker = _marked(ioc.tlp)
    # a consumer that has the indicator accepts only a later version of it
    revised = max(ioc.modified or ioc.last_seen, ioc.first_seen) + _REVISED_LATER * ioc.revision
    until = (
        ioc.valid_until if ioc.status is IndicatorStatus.ACTIVE else min(ioc.valid_until, revised)
    )
    shared = SharedIndicator(
        key=ioc.indicator.key,
        value=ioc.indicator.value,
        ioc_type=ioc.ioc_type,
        severity=ioc.severity,
        confidence=ioc.confidence,
        description=f"{ioc.description} ({ioc.rule_id})",
        techniques=ioc.techniques,
        first_seen=ioc.first_seen,
        last_seen=revised,
        valid_until=until,
    )
    uid = _id("indicator", "tenant", ioc.id)
    return [_marking(ioc.tlp), maker, *_objects(shared, maker["id"], marks, (uid, matched))]


def _marked(tlp: Tlp) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the reference of objects to a marking, and their creator with that marking."""
    marks = {"object_marking_refs": [TLP_MARKINGS[tlp]]}
    maker: dict[str, Any] = {
        "type": "identity",
        "spec_version": "2.1",
        "id": _id("identity", PRODUCT),
        "created": _IDENTITY_CREATED,
        "modified": _IDENTITY_CREATED,
        "name": PRODUCT,
        "identity_class": "system",
        **marks,
    }
    return marks, maker


def _objects(
    shared: SharedIndicator,
    maker: str,
    marks: dict[str, Any],
    own: tuple[str, str] | None = None,
) -> Iterable[dict[str, Any]]:
    """Yield an indicator, its techniques and its sightings.

    Args:
        shared: The indicator.
        maker: The id of its creator.
        marks: Its markings.
        own: The indicator's id and pattern; None: those of shared indicators.
    """
    generation = (str(shared.generation),) if shared.generation else ()
    uid, matched = own or (
        _id("indicator", shared.key, shared.ioc_type, *generation),
        pattern(shared),
    )
    created = format_time(shared.first_seen)
    last = max(shared.last_seen, shared.first_seen)
    # A consumer that has the indicator accepts only a later version of it.
    modified = format_time(last + _REVOKED_LATER if shared.revoked else last)
    base: dict[str, Any] = {
        "spec_version": "2.1",
        "created_by_ref": maker,
        "created": created,
        "modified": modified,
        **marks,
    }
    yield _indicator(shared, uid, matched, base)
    for attack in attacks(shared.techniques):
        technique = _technique(attack, maker, marks)
        yield technique
        yield {
            "type": "relationship",
            "id": _id("relationship", uid, technique["id"]),
            **base,
            "relationship_type": "indicates",
            "source_ref": uid,
            "target_ref": technique["id"],
        }
    if shared.sightings is not None and not shared.revoked:
        yield {
            "type": "sighting",
            "id": _id("sighting", uid),
            **base,
            "sighting_of_ref": uid,
            "first_seen": created,
            "last_seen": modified,
            "count": shared.sightings,
        }


def _indicator(
    shared: SharedIndicator, uid: str, matched: str, base: dict[str, Any]
) -> dict[str, Any]:
    """Return the indicator, with the properties that it has in common with its other objects."""
    indicator: dict[str, Any] = {
        "type": "indicator",
        "id": uid,
        **base,
        "name": f"{shared.ioc_type.replace('_', ' ')}: {shared.value}"[:250],
        "description": shared.description,
        "indicator_types": list(taxonomy().ioc_types[shared.ioc_type].stix_indicator_types),
        "pattern": matched,
        "pattern_type": "stix",
        "pattern_version": "2.1",
        "valid_from": base["created"],
        "labels": [shared.ioc_type, "ai-supply-chain"],
        "confidence": round(shared.confidence * 100),
    }
    if references := [_reference(attack) for attack in attacks(shared.techniques)]:
        indicator["external_references"] = references
    if phases := _phases(shared.techniques):
        indicator["kill_chain_phases"] = phases
    if shared.valid_until and shared.valid_until > shared.first_seen:
        indicator["valid_until"] = format_time(shared.valid_until)
    if shared.revoked:
        indicator["revoked"] = True
    return indicator


def _technique(attack: Attack, maker: str, marks: dict[str, Any]) -> dict[str, Any]:
    """Return a technique of ATLAS as an attack pattern."""
    reference = _reference(attack)
    technique: dict[str, Any] = {
        "type": "attack-pattern",
        "spec_version": "2.1",
        "id": _id("attack-pattern", reference["external_id"]),
        "created": _IDENTITY_CREATED,
        "modified": _IDENTITY_CREATED,
        "created_by_ref": maker,
        "name": attack.sub_technique or attack.technique,
        "external_references": [reference],
        **marks,
    }
    if phases := _phases([reference["external_id"]]):
        technique["kill_chain_phases"] = phases
    return technique


def _reference(attack: Attack) -> dict[str, str]:
    return {
        "source_name": _CHAIN,
        "external_id": attack.sub_technique_id or attack.technique_id,
    }
