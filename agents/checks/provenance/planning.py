"""Decides which pushes need slow work, and where to list their files."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

from agents.checks.provenance.identity import registry_name
from agents.domain.check_names import CheckName
from schemas.assessments import Check
from schemas.events import ArtifactKind, Event, PushAction, RegistryPush
from schemas.policy import Policy
from schemas.scans import ScanRequest, scan_request
from schemas.severity import Status

NEEDS_SCAN: Final = frozenset({PushAction.PUSH, PushAction.PROMOTE})
"""Actions by which unchecked content arrives."""
MAY_SCAN: Final = frozenset({PushAction.PULL, PushAction.TAG})
"""Actions whose files are scanned if the event names them."""
_DIGEST_REFERENCE: Final = re.compile(r"sha256:[0-9a-f]{64}")
MLFLOW_SOURCE: Final = "//mlflow/"
"""The prefix of MLflow's sources: its versions are numbers, as ordinary tags may be too."""
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,17}")
_COMMIT: Final = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_HOST: Final = re.compile(r"(localhost|[a-z0-9-]+(\.[a-z0-9-]+)+)(:[0-9]{1,5})?|localhost:[0-9]+")


def listing_uri(event: Event[RegistryPush]) -> str | None:
    """Return the URI under which a push without file locations can be listed, or None.

    Only a pinned revision is listed: a commit of the model hub, the digest of an OCI manifest, or
    a version that MLflow reports. A branch may have moved on since the event.
    """
    push = event.data
    if not push.registry or not push.repository or not push.revision:
        return None
    registry = registry_name(push.registry)
    repository = push.repository.strip("/")
    if registry == "huggingface" and _COMMIT.fullmatch(push.revision):
        kind = "datasets/" if push.kind == ArtifactKind.DATASET else ""
        return f"hf://{kind}{repository}@{push.revision}"
    if event.source.startswith(MLFLOW_SOURCE):
        numbered = push.kind == ArtifactKind.MODEL and _NUMBER.fullmatch(push.revision)
        known = numbered and _HOST.fullmatch(registry) and "@" not in repository
        return f"mlflow://{registry}/{quote(repository)}@{push.revision}" if known else None
    if _HOST.fullmatch(registry) and _DIGEST_REFERENCE.fullmatch(push.revision):
        return f"oci://{registry}/{repository}@{push.revision}"
    return None


def plan_scan(event: Event[RegistryPush], policy: Policy) -> ScanRequest | None:
    """Return the slow work a push needs, or None if none is needed or possible.

    Args:
        event: The push.
        policy: Its tenant's policy; without roots nothing may be fetched.
    """
    push = event.data
    if push.action not in NEEDS_SCAN | MAY_SCAN or not policy.roots:
        return None
    if any(file.uri for file in push.files):
        return scan_request(event, None)
    listing = listing_uri(event) if push.action in NEEDS_SCAN else None
    if listing is None or (listing.startswith("mlflow:") and not _reads_mlflow(policy)):
        return None
    return scan_request(event, listing)


def _reads_mlflow(policy: Policy) -> bool:
    """Return whether a tenant's policy allows reading an MLflow registry; most do not."""
    return any(root.startswith("mlflow://") for root in policy.roots)


def scan_check(push: RegistryPush, policy: Policy, request: ScanRequest | None) -> Check | None:
    """Return the scan check of the event's first assessment: never clean.

    INCOMPLETE until the second assessment (`stage: scan`) has the result, so that no gate
    passes unchecked content.

    Args:
        push: The push.
        policy: Its tenant's policy.
        request: The slow work that was planned for it.
    """
    if push.action not in NEEDS_SCAN:
        return None
    if request is not None:
        return Check(
            name=CheckName.SCAN,
            status=Status.INCOMPLETE,
            detail="pending: the result follows as a second assessment, stage scan",
        )
    if not policy.roots:
        reason = "the tenant's policy names no roots that may be fetched"
    elif push.files:
        reason = "the event names no location of its files"
    else:
        reason = "the event names no files and no pinned revision that could be listed"
    return Check(name=CheckName.SCAN, status=Status.INCOMPLETE, detail=reason)
