"""Derive impact and attribution of an incident from its findings and their confidence."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from schemas.components import ComponentKind
from schemas.counting import counted
from schemas.incidents.views import FindingView, IncidentDocument
from schemas.severity import ExposureLevel

_COULD: Final = {
    "malicious_payload": "could run the attacker's code when loaded",
    "dangerous_serialization": "could run code when loaded",
    "embedded_executable": "contains an executable program",
    "template_injection": "could run code when its template is rendered",
    "suspicious_code": "could run obfuscated code",
    "path_traversal": "could write outside its folder when unpacked",
    "known_compromised_package": "could run the attacker's code when installed or imported",
    "dependency_confusion": "could run an outsider's code under an internal name",
    "possible_typosquat": "could run an outsider's code under a name similar to the intended one",
    "package_hash_mismatch": "could run code other than what was reviewed",
    "hash_mismatch": "could differ from what was reviewed",
    "tag_mutation": "could be replaced under the same name",
    "poisoned_dataset": "could alter the behaviour of models trained on it",
    "insecure_data_source": "could be altered in transit to training",
    "config_tampering": "could alter what the pipeline does",
    "account_compromise": "could publish under its owner's name",
    "secret_exposure": "could reveal credentials",
    "tainted_component": "could inherit the compromise of what it derives from",
}
"""The possible impact of a component, by kind of finding."""
_WHERE: Final = ("global", "opcode", "file", "member", "offset", "line")
_HOST_FIELDS: Final = ("host", "domain", "url")


def impact(incident: IncidentDocument) -> list[tuple[str, str]]:
    """Return the possible impact and the reach of a component as pairs of label and text."""
    rows = []
    for finding in incident.findings:
        able = _COULD.get(finding.ioc_type)
        if finding.active and able:
            shown = ", ".join(
                f"{name} {finding.evidence[name]}"
                for name in _WHERE
                if finding.evidence.get(name) not in {None, ""}
            )
            rows.append((able, shown or finding.rule_id))
    reached: dict[ExposureLevel, set[str]] = {}
    for system in incident.systems:
        reached.setdefault(system.exposure, set()).add(f"{system.tenant} / {system.system}")
    rows.extend(
        (exposure, _some(reached[exposure]))
        for exposure in reversed(ExposureLevel)
        if exposure in reached
    )
    identities = {identity for system in incident.systems for identity in system.identities}
    if identities:
        rows.append(("credentials within reach", _some(identities)))
    made = {system.component for system in incident.systems if system.path}
    if made:
        rows.append(("derived components", _some(made)))
    return list(dict.fromkeys(rows))


def attribution(incident: IncidentDocument) -> list[tuple[str, str, str]]:
    """Return publishers, infrastructure and campaign: kind, value, and confidence."""
    holding = [finding for finding in incident.findings if finding.active]
    rows = [
        (
            "publisher",
            publisher,
            _sure(finding for finding in holding if finding.publisher == publisher),
        )
        for publisher in incident.publishers
    ]
    rows.extend(
        ("infrastructure", host, _sure(finding for finding in holding if host in hosts_of(finding)))
        for host in sorted({host for finding in holding for host in hosts_of(finding)})
    )
    if incident.campaign:
        rows.append(("campaign", incident.campaign, "linked by a shared key"))
    rows.extend(
        ("similar case", other, "shares a component, digest or publisher")
        for other in incident.related
    )
    return rows


def hosts_of(finding: FindingView) -> frozenset[str]:
    """Return the hosts in a finding's indicator and evidence."""
    found = set()
    kind, _, name = finding.indicator_key.partition(":")
    if kind == ComponentKind.DOMAIN:
        found.add(name)
    for field in _HOST_FIELDS:
        value = finding.evidence.get(field)
        if isinstance(value, str) and value:
            found.add(_host(value))
    return frozenset(host for host in found if host)


def _host(value: str) -> str:
    try:
        return (urlsplit(value).hostname or "") if "://" in value else value
    except ValueError:
        return ""  # not a URL


def _sure(findings: Iterable[FindingView]) -> str:
    values = [finding.confidence for finding in findings]
    if not values:
        return "seen alongside it only"
    return f"{max(values):.2f} ({counted(len(values), 'finding')})"


def _some(names: Iterable[str], most: int = 12) -> str:
    ordered = sorted(names)
    more = f" and {len(ordered) - most} more" if len(ordered) > most else ""
    return ", ".join(ordered[:most]) + more
