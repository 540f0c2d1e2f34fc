"""Revoked indicators: when shared again with partners, each gets a new id."""

from __future__ import annotations

from typing import Final

import msgspec

from agents.triage.bounded_sets import stable_rank, trim
from agents.triage.incidents.incident_rows import IncidentRows
from schemas.incidents.views import IncidentDocument
from schemas.sharing import shared_indicators, shared_place

TAKEN_BACK: Final = 64
TAKEN_BACK_BYTES: Final = 4_000


def with_generations(case: IncidentRows, document: IncidentDocument) -> IncidentDocument:
    """Return the document with the number of earlier revocations of each indicator.

    Partners drop revoked objects permanently, so a restored one needs a new id.

    Args:
        case: The incident as last published.
        document: Its new document.

    Source: STIX 2.1, section 3.2 (`revoked`: such an object must not be used or changed again).
    """
    if not case.core.taken_back:
        return document
    generations: dict[str, int] = {}
    for shared in shared_indicators(document):
        place = shared_place(shared.key, shared.ioc_type)
        known = case.core.taken_back.get(stable_rank(place))
        if known is not None:
            generation, revoked = known
            generations[place] = generation + (revoked and not shared.revoked)
    return msgspec.structs.replace(
        document,
        generations={indicator: count for indicator, count in generations.items() if count},
    )


def note_published(case: IncidentRows, document: IncidentDocument) -> None:
    """Record what a published document revokes and restores."""
    if not document.shared:
        return
    for shared in shared_indicators(document):
        place = stable_rank(shared_place(shared.key, shared.ioc_type))
        if shared.revoked or place in case.core.taken_back:
            case.core.taken_back[place] = (shared.generation, shared.revoked)
    if trim(case.core.taken_back, TAKEN_BACK, TAKEN_BACK_BYTES):
        case.truncate("revoked indicators")
