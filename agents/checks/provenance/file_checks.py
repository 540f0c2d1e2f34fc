"""The files of a push: their formats by name, and their digests against the expected ones."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from agents.checks.artifacts.formats.format import Content
from agents.checks.artifacts.formats.names import endings_of, is_safe, may_execute, suffix_of
from agents.checks.provenance.findings_limit import limited
from agents.domain.check_names import CheckName
from agents.domain.detection import Detection, Outcome
from schemas.assessments import Check
from schemas.components import component_key, is_sha256
from schemas.events import File
from schemas.findings import Indicator, IndicatorType
from schemas.severity import Disposition, Status

NAMED: Final = 20
"""File names listed in one check's detail."""
_MISMATCH: Final = "TW-PROV-HASH-MISMATCH"
_MISSING: Final = "TW-PROV-FILE-MISSING"
_SIGNATURE_NAME: Final = re.compile(r"(^|/)[^/]*\.(sig|sigstore|sigstore\.json)$", re.IGNORECASE)

UNSIGNED: Final = "unsigned"
"""The detail of the check of a signature where there is none."""


def plain_path(path: str) -> str:
    """Return a file's path without leading `./`, with forward slashes."""
    plain = path.replace("\\", "/")
    while plain.startswith("./"):
        plain = plain[2:]
    return plain


def sha256_of(digests: Mapping[str, str]) -> str | None:
    """Return the SHA-256 among declared digests in lower case, or None."""
    for name, value in digests.items():
        if name.lower().replace("-", "") == "sha256":
            bare = value.lower().removeprefix("sha256:")
            return bare if is_sha256(bare) else None
    return None


def is_signature(path: str) -> bool:
    """Return whether a file name is that of a detached signature."""
    return _SIGNATURE_NAME.search(plain_path(path)) is not None


def _names(paths: Sequence[str]) -> str:
    shown = ", ".join(path[:200] for path in paths[:NAMED])
    return f"{shown} and {len(paths) - NAMED} more" if len(paths) > NAMED else shown


def check_formats(paths: Sequence[str], disguised: Sequence[str] = ()) -> Check:
    """Return whether no file has a format that can hold code (response procedure).

    Args:
        paths: All files.
        disguised: Files whose content differs from what their name implies.
    """
    if not paths:
        return Check(
            name=CheckName.FORMAT_SAFETY,
            status=Status.INCOMPLETE,
            detail="the files are not listed",
        )
    if disguised:
        return Check(
            name=CheckName.FORMAT_SAFETY,
            status=Status.FAIL,
            detail=f"the content is not what the name says: {_names(disguised)}",
        )
    unsafe = [path for path in paths if may_execute(path)]
    if not unsafe:
        if not any(is_safe(path) for path in paths):
            return Check(name=CheckName.FORMAT_SAFETY, status=Status.PASS, detail="no weights")
        return Check(name=CheckName.FORMAT_SAFETY, status=Status.PASS)
    return Check(
        name=CheckName.FORMAT_SAFETY,
        status=Status.WARN,
        expected=sorted(endings_of(Content.TENSORS)),
        actual=sorted({suffix_of(path) or "none" for path in unsafe})[:NAMED],
        detail=f"may support code execution: {_names(unsafe)}",
    )


def check_hashes(
    actual: Mapping[str, frozenset[str] | None],
    expected: Mapping[str, str],
    *,
    unread: Mapping[str, str] | None = None,
) -> Outcome:
    """Compare the digests of files with the expected ones.

    Args:
        actual: The SHA-256 of each present file (several, if a push lists it several times);
            None if unknown.
        expected: Path to SHA-256 in hex.
        unread: Why the digest of a file could not be read, by path.

    Returns:
        A check `hash_<file>` for each expected file, `unexpected_files`, and the detections.
    """
    present = {plain_path(path): digests for path, digests in actual.items()}
    reasons = {plain_path(path): reason for path, reason in (unread or {}).items()}
    compared = [
        _compare(path, digest, present, reasons) for path, digest in sorted(expected.items())
    ]
    checks = [check for check, _ in compared]
    found = [detection for _, detection in compared if detection is not None]
    detections: list[Detection] = []
    for rule_id in (_MISMATCH, _MISSING):
        detections += limited([item for item in found if item.rule_id == rule_id])
    if expected and present:
        extra = _unexpected(present, expected)
        checks.append(
            Check(
                name=CheckName.UNEXPECTED_FILES,
                status=Status.WARN if extra else Status.PASS,
                detail=f"may hold code and are not expected: {_names(extra)}" if extra else None,
            )
        )
        detections += limited(
            [
                Detection(
                    rule_id="TW-PROV-FILE-UNEXPECTED",
                    description=f"{path[:200]} can hold code and is not among the expected files",
                    evidence={"file": path},
                    locator=f"{path}#unexpected",
                )
                for path in extra
            ]
        )
    return Outcome(checks=tuple(checks), detections=tuple(detections))


def _compare(
    path: str,
    digest: str,
    present: Mapping[str, frozenset[str] | None],
    reasons: Mapping[str, str],
) -> tuple[Check, Detection | None]:
    """Return the check of one expected file, and the finding if it differs."""
    name = f"hash_{path}"
    wanted = digest.strip().lower().removeprefix("sha256:")
    plain = plain_path(path)
    if not is_sha256(wanted):
        return Check(
            name=name,
            status=Status.FAIL,
            expected=digest[:128],
            detail="the expected digest is not a SHA-256",
        ), None
    if plain not in present:
        return Check(
            name=name, status=Status.FAIL, expected=wanted, detail="File not found"
        ), Detection(
            rule_id=_MISSING,
            description=f"expected file {path[:200]} is not there",
            evidence={"file": path, "expected": wanted},
            locator=f"{plain}#missing",
        )
    found = present[plain]
    if found is None:
        return Check(
            name=name,
            status=Status.INCOMPLETE,
            expected=wanted,
            detail=reasons.get(plain, "its digest is not known yet"),
        ), None
    if found == {wanted}:
        return Check(name=name, status=Status.PASS, expected=wanted, actual=wanted), None
    wrong = min(found - {wanted})
    return Check(name=name, status=Status.FAIL, expected=wanted, actual=wrong), Detection(
        rule_id=_MISMATCH,
        description=f"{path[:200]} has another SHA-256 than expected",
        evidence={"file": path, "expected": wanted, "actual": wrong, "sha256": wrong},
        locator=f"{plain}#hash",
        indicator=Indicator(
            key=component_key("sha256", wrong),
            type=IndicatorType.FILE_DIGEST,
            value=wrong,
            disposition=Disposition.DETECT,
        ),
    )


def _unexpected(present: Iterable[str], expected: Iterable[str]) -> list[str]:
    named = {plain_path(path) for path in expected}
    return sorted(
        path
        for path in present
        if path not in named and may_execute(path) and not is_signature(path)
    )


def declared_digests(files: Iterable[File]) -> dict[str, frozenset[str] | None]:
    """Return the SHA-256 that an event declares for each file, if any.

    A duplicate path has both digests, so that a good entry never hides a bad one.
    """
    result: dict[str, frozenset[str] | None] = {}
    for file in files:
        path = plain_path(file.path)
        digest = sha256_of(file.digests)
        if path not in result:
            result[path] = frozenset({digest}) if digest else None
        elif digest:
            result[path] = (result[path] or frozenset()) | {digest}
    return result
