"""Grounds of containment: the parts of findings that a plan depends on."""

from __future__ import annotations

from typing import Final

import msgspec

from schemas.findings import Finding
from schemas.severity import Disposition, Severity
from schemas.taxonomy import taxonomy

CONTAIN_CONFIDENCE: Final = 0.75


class Ground(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of a finding that may justify containment."""

    id: str
    kind: str
    severity: Severity
    confidence: float
    indicator_key: str
    disposition: Disposition
    component: str
    version: str | None = None
    publisher: str | None = None
    guarded: bool = False

    @property
    def contains(self) -> bool:
        """Whether it is severe and certain enough to act on; guarded ones are only advised."""
        return (
            self.severity.rank >= Severity.HIGH.rank
            and self.confidence >= CONTAIN_CONFIDENCE
            and not self.guarded
        )

    @property
    def actions(self) -> frozenset[str]:
        """The OpenC2 actions its kind calls for (ioc_mapping)."""
        kind = taxonomy().ioc_types.get(self.kind)
        return frozenset(kind.openc2) if kind is not None else frozenset()


def ground_of(finding: Finding) -> Ground:
    """Return the ground that a finding gives a plan."""
    return Ground(
        id=finding.id,
        kind=finding.ioc_type,
        severity=finding.severity,
        confidence=finding.confidence,
        indicator_key=finding.indicator.key,
        disposition=finding.indicator.disposition,
        component=finding.component,
        version=finding.version,
        publisher=finding.publisher,
        guarded=finding.evidence.get("guarded") is True,
    )
