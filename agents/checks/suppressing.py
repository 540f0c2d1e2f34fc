"""Findings that a tenant or user does not want reported: by rule, digest and path, until a day."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from fnmatch import fnmatchcase

from agents.domain.detection import Detection
from schemas.policy import Suppression


def last_day(one: Suppression) -> date | None:
    """Return the last day a suppression applies on, or None where it names no date."""
    try:
        return date.fromisoformat(one.expires[:10])
    except ValueError:
        return None


def suppresses(
    one: Suppression, *, rule_id: str, path: str | None, digest: str | None, day: date
) -> bool:
    """Tell whether a suppression is about a finding and still applies.

    Args:
        one: The suppression; one that names nothing, or no end, suppresses nothing.
        rule_id: The finding's rule.
        path: Its file; `*` in the suppression's path stands for any characters.
        digest: The file's SHA-256, in hex.
        day: The day of the event, or of the scan.
    """
    end = last_day(one)
    if end is None or day > end or not (one.rule_id or one.digest or one.path):
        return False
    if one.rule_id and one.rule_id != rule_id:
        return False
    if one.digest and one.digest.lower().removeprefix("sha256:") != digest:
        return False
    return not one.path or (path is not None and fnmatchcase(path, one.path))


def unsuppressed(
    detections: Iterable[Detection], suppressions: tuple[Suppression, ...], day: date
) -> tuple[Detection, ...]:
    """Return the detections that no suppression is about on a day.

    A check keeps its status: what is suppressed is the report, not the result.
    """
    if not suppressions:
        return tuple(detections)
    return tuple(
        found
        for found in detections
        if not any(
            suppresses(
                one,
                rule_id=found.rule_id,
                path=found.evidence.get("file"),
                digest=_digest_of(found),
                day=day,
            )
            for one in suppressions
        )
    )


def _digest_of(found: Detection) -> str | None:
    """Return the SHA-256 that a detection is about: in its evidence, or as its indicator."""
    digest: str | None = found.evidence.get("sha256")
    if digest is None and found.indicator is not None and found.indicator.key.startswith("sha256:"):
        digest = found.indicator.key.removeprefix("sha256:")
    return digest
