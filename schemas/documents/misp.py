"""MISP events of an incident's indicators."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from schemas.atlas import attacks
from schemas.canonical import stable_hash
from schemas.components import is_sha256
from schemas.documents.stix import SharedIndicator
from schemas.severity import Severity, Tlp

_NAMESPACE: Final = uuid.UUID("1f0d64e5-6f0c-5c52-9b3e-5c2f1d1f9a10")
_THREAT_LEVELS: Final = {
    Severity.CRITICAL: "1",
    Severity.HIGH: "1",
    Severity.MEDIUM: "2",
    Severity.LOW: "3",
    Severity.INFORMATIONAL: "4",
}

_ONGOING: Final = "1"
_ANALYSIS: Final = {
    "new": "0",
    "closed": "2",
    "false-positive": "2",
    "withdrawn": "2",
}
"""By the incident's status: 0 initial, 2 complete; all others are ongoing."""


def _uuid(*parts: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, stable_hash(*parts)))


def _attribute(shared: SharedIndicator) -> dict[str, Any]:
    if is_sha256(shared.value):
        kind, category = "sha256", "Payload delivery"
    elif shared.key.startswith("domain:"):
        kind, category = "domain", "Network activity"
    elif shared.value.startswith(("http://", "https://")):
        kind, category = "url", "Network activity"
    else:
        kind, category = "text", "Other"
    return {
        "uuid": _uuid("attribute", shared.key, shared.ioc_type),
        "type": kind,
        "category": category,
        "value": shared.value if kind != "text" else shared.key,
        "to_ids": kind != "text" and not shared.revoked,
        "comment": shared.description,
        "timestamp": str(int(shared.last_seen.timestamp())),
    }


def misp_event(
    incident: str,
    title: str,
    at: datetime,
    band: Severity,
    indicators: Sequence[SharedIndicator],
    *,
    tlp: Tlp,
    status: str,
) -> dict[str, Any]:
    """Return the MISP event of an incident, without tenant data, like the STIX bundle.

    Args:
        incident: The incident's id.
        title: In a line, naming no tenant.
        at: When it was first seen.
        band: Its severity.
        indicators: The shared indicators.
        tlp: The marking.
        status: The incident's: the state of the analysis follows it.
    """
    tags = [{"name": f"tlp:{tlp}"}]
    seen: set[str] = set()
    for shared in indicators:
        for attack in attacks(shared.techniques):
            name = attack.sub_technique or attack.technique
            if name not in seen:
                seen.add(name)
                tags.append({"name": f'misp-galaxy:mitre-atlas-attack-pattern="{name}"'})
    return {
        "Event": {
            "uuid": _uuid("event", incident),
            "info": title,
            "date": at.date().isoformat(),
            "timestamp": str(int(at.timestamp())),
            "threat_level_id": _THREAT_LEVELS[band],
            "analysis": _ANALYSIS.get(status, _ONGOING),
            "distribution": "1",
            "published": False,
            "Tag": tags,
            "Attribute": [_attribute(shared) for shared in indicators],
        }
    }
