"""Limits the detections of one check of one event, and reports the number omitted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from agents.domain.detection import Detection

MAX_PER_CHECK: Final = 100


def limited(detections: Sequence[Detection], limit: int = MAX_PER_CHECK) -> list[Detection]:
    """Return at most `limit` detections; the last one kept says how many more there were."""
    kept = list(detections[:limit])
    more = len(detections) - len(kept)
    if more:
        last = kept[-1]
        kept[-1] = Detection(
            rule_id=last.rule_id,
            description=f"{last.description} (and {more} more of this rule)",
            evidence={**last.evidence, "not_shown": more},
            locator=last.locator,
            severity=last.severity,
            confidence=last.confidence,
            indicator=last.indicator,
            component=last.component,
            version=last.version,
            related_keys=last.related_keys,
        )
    return kept
