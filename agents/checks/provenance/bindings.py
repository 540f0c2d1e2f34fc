"""Verified bindings: the digest of a revision of the operator's hub, the same for every reader.

A binding is a fact about a public name, so it may carry facts about a digest between tenants. It
rests only on content that Tidewatch fetched itself without credentials.
"""

from __future__ import annotations

from typing import Final, Protocol

from agents.checks.provenance.planning import listing_uri
from agents.checks.provenance.subject import PushSubject
from agents.domain.component_keys import names_content
from agents.fetching.errors import FetchError
from agents.fetching.fetch_scope import parse_location
from agents.fetching.hub import hub_reference
from agents.logs import Logger
from schemas.components import component_key

_HUB: Final = "huggingface"
_PREFIXES: Final = {"models": "model", "datasets": "dataset"}
_log = Logger(__name__)


class Published(Protocol):
    """Knows whether the bytes that were read are public under a name."""

    def is_published(self, uri: str) -> bool:
        """Return whether the content read under a URI is published, not a tenant's own view."""


def is_bound(listing: str | None, subject: PushSubject, fetch: Published) -> bool:
    """Return whether the files that were read give the subject's version its digest.

    Args:
        listing: The URI under which Tidewatch listed the files; None if the event named them.
        subject: The push.
        fetch: The reader of the files.

    Returns: False also if the hub does not say: nothing is claimed that was not established.
    """
    if listing is None or listing != listing_uri(subject.event):
        return False
    try:
        return _is_named(listing, subject) and fetch.is_published(listing)
    except FetchError as error:
        _log.info("revision_not_bound", reason=error.explain()[:300])
        return False


def _is_named(listing: str, subject: PushSubject) -> bool:
    """Return whether the listing is the subject's, whose name means the same to every tenant."""
    location = parse_location(listing)
    if location.scheme != "hf":
        return False
    reference = hub_reference(location)
    prefix = _PREFIXES.get(reference.kind)
    return (
        prefix is not None
        and not reference.path
        and subject.component == component_key(prefix, f"{_HUB}/{reference.repository}")
        and subject.version == reference.revision
        and names_content(subject.version)
    )
