"""Exports an incident: as a report, as its record, or in a format for partners."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from schemas.incidents.views import IncidentDocument
from schemas.severity import Tlp


class ExportFormat(StrEnum):
    """The format of an export."""

    MARKDOWN = "md"
    HTML = "html"
    JSON = "json"
    STIX = "stix"
    MISP = "misp"


OF_PARTNERS: Final = frozenset({ExportFormat.STIX, ExportFormat.MISP})
"""Formats that name no tenant."""


def exported(document: IncidentDocument, kind: ExportFormat, tlp: Tlp) -> str:
    """Return an incident in a format, marked.

    Args:
        document: The incident, with what its reader may see.
        kind: The format.
        tlp: Its marking.
    """
    from schemas.documents.misp import misp_event  # noqa: PLC0415 -- only what is asked for
    from schemas.documents.stix import indicator_bundle  # noqa: PLC0415 -- the same
    from schemas.sharing import shared_indicators, shared_title  # noqa: PLC0415 -- the same
    from streams.reports.incident import markdown, to_html  # noqa: PLC0415 -- the same

    if kind is ExportFormat.MARKDOWN:
        return markdown(document, tlp)
    if kind is ExportFormat.HTML:
        return to_html(document, tlp)
    if kind is ExportFormat.STIX:
        return indicator_bundle(shared_indicators(document), tlp=tlp).decode()
    if kind is ExportFormat.MISP:
        event = misp_event(
            document.id,
            shared_title(document),
            document.first_seen,
            document.score.band,
            shared_indicators(document),
            tlp=tlp,
            status=document.status,
        )
        return msgspec.json.encode(event).decode()
    return msgspec.json.encode({"tlp": tlp, **msgspec.to_builtins(document)}).decode()
