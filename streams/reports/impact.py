"""What an incident could have done and who is behind it: from what was found, and how sure."""

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
"""By kind of finding: what such a component is able to do."""
_WHERE: Final = ("global", "opcode", "file", "member", "offset", "line")
_PLACES: Final = ("host", "domain", "url")


def impact(incident: IncidentDocument) -> list[tuple[str, str]]:
    """Return what the component could have done, and what it reached: pairs of question, answer."""
    rows = []
    for finding in incident.findings:
        able = _COULD.get(finding.ioc_type)
        if finding.active and able:
            shown = ", ".join(
                f"{name} {finding.evidence[name]}" for name in _WHERE if name in finding.evidence
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
    identities = {one for system in incident.systems for one in system.identities}
    if identities:
        rows.append(("credentials within its reach", _some(identities)))
    made = {system.component for system in incident.systems if system.path}
    if made:
        rows.append(("made from it", _some(made)))
    return list(dict.fromkeys(rows))


def attribution(incident: IncidentDocument) -> list[tuple[str, str, str]]:
    """Return who and what is behind it: what, value, and how sure the findings are of it."""
    holding = [finding for finding in incident.findings if finding.active]
    rows = [
        ("publisher", publisher, _sure(one for one in holding if one.publisher == publisher))
        for publisher in incident.publishers
    ]
    rows.extend(
        ("infrastructure", place, _sure(one for one in holding if place in places(one)))
        for place in sorted({one for finding in holding for one in places(finding)})
    )
    if incident.campaign:
        rows.append(("campaign", incident.campaign, "linked by a shared key"))
    rows.extend(
        ("similar case", other, "shares a component, digest or publisher")
        for other in incident.related
    )
    return rows


def places(finding: FindingView) -> frozenset[str]:
    """Return the hosts that a finding names: of its indicator and of its evidence."""
    found = set()
    kind, _, name = finding.indicator_key.partition(":")
    if kind == "domain":
        found.add(name)
    for field in _PLACES:
        value = finding.evidence.get(field)
        if isinstance(value, str) and value:
            found.add(_host(value))
    return frozenset(one for one in found if one)


def _host(value: str) -> str:
    try:
        return (urlsplit(value).hostname or "") if "://" in value else value
    except ValueError:
        return ""  # no address after all


def _sure(findings: Iterable[FindingView]) -> str:
    tells = [one.confidence for one in findings]
    return f"{max(tells):.2f} ({counted(len(tells), 'finding')})" if tells else "seen with it only"


def _some(names: Iterable[str], most: int = 12) -> str:
    ordered = sorted(names)
    more = f" and {len(ordered) - most} more" if len(ordered) > most else ""
    return ", ".join(ordered[:most]) + more
