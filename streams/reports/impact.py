"""Derive impact and attribution of an incident from its findings and their confidence."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from schemas.counting import counted
from schemas.incidents.views import FindingView, IncidentDocument

_COULD: Final = {
    "malicious_payload": "run what its maker chose when it was loaded",
    "dangerous_serialization": "run code when it was loaded",
    "embedded_executable": "bring a program along",
    "template_injection": "run code when its template was rendered",
    "suspicious_code": "run code that hides what it does",
    "path_traversal": "write outside of its folder when it was unpacked",
    "known_compromised_package": "run its maker's code when it was installed or imported",
    "dependency_confusion": "run a stranger's code under an internal name",
    "possible_typosquat": "run a stranger's code under a name like the one that was meant",
    "package_hash_mismatch": "run code that differs from what was reviewed",
    "hash_mismatch": "be something else than what was reviewed",
    "tag_mutation": "be replaced under the same name",
    "poisoned_dataset": "shape what models trained on it do",
    "insecure_data_source": "be changed on its way into training",
    "config_tampering": "change what the pipeline does",
    "account_compromise": "publish in its owner's name",
    "secret_exposure": "reveal credentials",
    "tainted_component": "carry on what it was made from",
}
"""What a component could do, by kind of finding."""
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
            rows.append((f"able to {able}", shown or finding.rule_id))
    reached: dict[str, set[str]] = {}
    for system in incident.systems:
        reached.setdefault(system.exposure, set()).add(f"{system.tenant} / {system.system}")
    rows.extend(
        (exposure, _some(reached[exposure]))
        for exposure in ("serving", "executed", "delivered", "staged")
        if exposure in reached
    )
    identities = {identity for system in incident.systems for identity in system.identities}
    if identities:
        rows.append(("credentials within its reach", _some(identities)))
    made = {system.component for system in incident.systems if system.path}
    if made:
        rows.append(("made from it", _some(made)))
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
    if kind == "domain":
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
        return "seen with it only"
    return f"{max(values):.2f} ({counted(len(values), 'finding')})"


def _some(names: Iterable[str], most: int = 12) -> str:
    ordered = sorted(names)
    more = f" and {len(ordered) - most} more" if len(ordered) > most else ""
    return ", ".join(ordered[:most]) + more
