"""Suppresses findings by rule, digest and path, until a day."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from fnmatch import fnmatchcase

from agents.domain.detection import Detection
from schemas.basis import BasisKind
from schemas.policy import Suppression


def last_day(suppression: Suppression) -> date | None:
    """Return the last day a suppression applies on, or None where it names no date."""
    try:
        return date.fromisoformat(suppression.expires[:10])
    except ValueError:
        return None


def suppresses(
    suppression: Suppression, *, rule_id: str, path: str | None, digest: str | None, day: date
) -> bool:
    """Return whether a suppression covers a finding and still applies.

    Args:
        suppression: The suppression; one that names nothing, or no end, suppresses nothing.
        rule_id: The finding's rule.
        path: Its file; `*` in the suppression's path matches any characters.
        digest: The file's SHA-256, in hex.
        day: The day of the event, or of the scan.
    """
    end = last_day(suppression)
    if (
        end is None
        or day > end
        or not (suppression.rule_id or suppression.digest or suppression.path)
    ):
        return False
    if suppression.rule_id and suppression.rule_id != rule_id:
        return False
    if suppression.digest and suppression.digest.lower().removeprefix("sha256:") != digest:
        return False
    return not suppression.path or (path is not None and fnmatchcase(path, suppression.path))


def unsuppressed(
    detections: Iterable[Detection], suppressions: tuple[Suppression, ...], day: date
) -> tuple[Detection, ...]:
    """Return the detections that no suppression covers on a day.

    A check keeps its status: a suppression hides the report, not the result.
    """
    return tuple(found for found in detections if not _is_suppressed(found, suppressions, day))


def withheld(
    detections: Iterable[Detection], suppressions: tuple[Suppression, ...], day: date
) -> tuple[Detection, ...]:
    """Return the verified detections that `unsuppressed` leaves out.

    They follow from the bytes alone: a tenant suppresses them for itself, not for other holders.
    """
    return tuple(
        found
        for found in detections
        if found.basis is not None
        and found.basis.kind is BasisKind.VERIFIED
        and _is_suppressed(found, suppressions, day)
    )


def _is_suppressed(found: Detection, suppressions: tuple[Suppression, ...], day: date) -> bool:
    return any(
        suppresses(
            suppression,
            rule_id=found.rule_id,
            path=found.evidence.get("file"),
            digest=_digest_of(found),
            day=day,
        )
        for suppression in suppressions
    )


def _digest_of(found: Detection) -> str | None:
    """Return the SHA-256 that a detection is about: in its evidence, or as its indicator."""
    digest: str | None = found.evidence.get("sha256")
    if digest is None and found.indicator is not None and found.indicator.key.startswith("sha256:"):
        digest = found.indicator.key.removeprefix("sha256:")
    return digest
