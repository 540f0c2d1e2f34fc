"""Selects the indicators of an incident that partners may receive, without anything of a tenant."""

from __future__ import annotations

from typing import Final

from schemas.basis import BasisKind
from schemas.documents.stix import SharedIndicator
from schemas.incidents.states import IncidentStatus
from schemas.incidents.views import FindingView, IncidentDocument
from schemas.taxonomy import taxonomy

K_DEFAULT: Final = 3
SHARED_STATUSES: Final = frozenset(
    {IncidentStatus.CONTAINED, IncidentStatus.RECOVERING, IncidentStatus.CLOSED}
)
"""An incident is shared with partners once it is in one of these."""


def is_shareable(finding: FindingView) -> bool:
    """Return whether a finding's indicator means something outside the tenant, and is established.

    A tenant's own names and hosts (`kind:@tenant/…`), its pipelines and deployments are not shared,
    nor are facts that a tenant merely claims or only its own trust root attests.
    """
    basis = finding.basis
    if basis is None or basis.kind is BasisKind.CLAIMED or basis.tenant:
        return False
    kind, _, name = finding.indicator_key.partition(":")
    return kind in {"sha256", "pypi", "model", "dataset", "domain", "publisher", "image"} and not (
        name.startswith("@")
    )


def may_be_shared(incident: IncidentDocument, k: int = K_DEFAULT) -> bool:
    """Return whether partners may be informed: k organisations are affected, or it was released."""
    return incident.shared and (incident.released or _affected(incident) >= k)


def _affected(incident: IncidentDocument) -> int:
    """Return how many organisations are affected; tenants where none are registered."""
    counted = incident.organisations
    return incident.tenant_count if counted is None else counted


def shared_place(key: str, ioc_type: str) -> str:
    """Return the name under which a document counts how often an indicator was revoked."""
    return f"{ioc_type} {key}"


def shared_indicators(incident: IncidentDocument, k: int = K_DEFAULT) -> list[SharedIndicator]:
    """Return the shareable indicators of an incident, each key and kind once.

    Descriptions are those of the kind, since a finding's own text may quote what a tenant wrote.

    Args:
        incident: The operator's record.
        k: The least number of organisations that is shared.
    """
    count = _affected(incident)
    shared: dict[tuple[str, str], SharedIndicator] = {}
    for finding in incident.findings:
        if not is_shareable(finding):
            continue
        kind = taxonomy().ioc_types[finding.ioc_type]
        known = shared.get((finding.indicator_key, finding.ioc_type))
        revoked = not finding.active or incident.status.refuted
        # It holds as long as one finding of it does.
        if known is not None and (not known.revoked, known.confidence) >= (
            not revoked,
            finding.confidence,
        ):
            continue
        shared[finding.indicator_key, finding.ioc_type] = SharedIndicator(
            key=finding.indicator_key,
            value=finding.indicator_value,
            ioc_type=finding.ioc_type,
            severity=finding.severity,
            confidence=finding.confidence,
            description=f"{finding.ioc_type.replace('_', ' ')} ({finding.rule_id})",
            techniques=finding.techniques or kind.techniques,
            first_seen=finding.occurred_at,
            last_seen=finding.occurred_at,
            version=finding.version if "@" in finding.indicator_key else None,
            publisher=finding.publisher,
            sightings=count if count >= k else None,
            revoked=revoked,
            generation=incident.generations.get(
                shared_place(finding.indicator_key, finding.ioc_type), 0
            ),
        )
    return [shared[key] for key in sorted(shared)]


def shared_title(incident: IncidentDocument) -> str:
    """Return a title that names the kinds found and no tenant."""
    kinds = sorted({finding.ioc_type.replace("_", " ") for finding in incident.findings})
    return f"AI supply chain: {', '.join(kinds)}"
