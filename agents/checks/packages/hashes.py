"""Compares the digests of installed files with the expected ones."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from agents.checks.packages.pinning import SHOWN_LIMIT, detect_line
from agents.checks.packages.requirements import RequirementLine, read_line
from agents.checks.packages.seen import Seen, detect
from agents.checks.packages.subject import InstallSubject
from agents.checks.packages.versions import CACHE_SIZE, canonical_name, canonical_version
from agents.domain.detection import Detection
from schemas.assessments import Check
from schemas.counting import counted
from schemas.findings import Indicator
from schemas.severity import Status

_PASS: Final = Check(name="hashes", status=Status.PASS)
_UNCOMPARED: Final = Check(
    name="hashes", status=Status.WARN, detail="no lock and no required hashes to compare with"
)
_STRONG: Final = ("sha256:", "sha384:", "sha512:")
_NO_VERSION: Final = "\x00"
"""Not a valid version: it matches no locked or required one."""
Wanted = dict[tuple[str, str], frozenset[str]]


@lru_cache(CACHE_SIZE)
def _has_strong(texts: tuple[str, ...]) -> bool:
    return any(text.startswith(_STRONG) for text in texts)


@lru_cache(CACHE_SIZE)
def _digests(texts: tuple[str, ...]) -> frozenset[str]:
    plain = (text.lower().replace("=", ":", 1) for text in texts)
    return frozenset(
        text.partition(":")[2] if text.startswith("sha256:") else text for text in plain
    )


def locked(lock: dict[str, tuple[str, ...]]) -> Wanted:
    """Return the SHA-256 digests of a lock by canonical name and version."""
    result: Wanted = {}
    for entry, texts in lock.items():
        name, equals, version = entry.partition("==")
        if not equals:
            line = read_line(entry)
            name, version = line.name or entry, line.version or ""
        key = (canonical_name(name.partition("[")[0]), canonical_version(version.lstrip("=")))
        digests, before = _digests(texts), result.get(key)
        result[key] = digests if before is None else before | digests
    return result


def required(lines: Sequence[RequirementLine]) -> Wanted:
    """Return the SHA-256 digests that requirement lines require."""
    result: Wanted = {}
    for line in lines:
        if line.name and line.version and line.hashes:
            key = (canonical_name(line.name), canonical_version(line.version))
            digests, before = _digests(line.hashes), result.get(key)
            result[key] = digests if before is None else before | digests
    return result


def _mismatch(entry: Seen, actual: str, wanted: frozenset[str], what: str) -> Detection:
    return detect(
        "TW-PKG-HASH-MISMATCH",
        entry,
        f"{entry.name} {entry.package.version or ''} has a digest that {what}",
        _evidence(entry, actual, wanted),
        indicator=Indicator(key=f"sha256:{actual}", type="file-digest", value=actual),
        locator=_locator(entry, actual),
        related_keys=(entry.key,),
    )


def _no_digest(entry: Seen, text: str) -> Detection:
    """Return that a package has a text for a digest: it names no bytes, so the release is meant."""
    return detect(
        "TW-PKG-HASH-MISMATCH",
        entry,
        f"{entry.name} {entry.package.version or ''} has a digest that is not a SHA-256",
        _evidence(entry, text, frozenset()),
        locator=_locator(entry, text),
    )


def _evidence(entry: Seen, actual: str, wanted: frozenset[str]) -> dict[str, Any]:
    return {
        "filename": entry.package.filename,
        "actual": f"sha256:{actual}",
        "expected": sorted(f"sha256:{text}" for text in wanted)[:20],
    }


def _locator(entry: Seen, actual: str) -> str:
    return f"digest:{entry.name}:{entry.package.filename or ''}:{actual}"


def _own_digests(entry: Seen) -> frozenset[str]:
    """Return the digests that a package's own URL fragment names."""
    fragment = (entry.package.url or "").partition("#")[2]
    return frozenset(
        part.partition("=")[2].lower()
        for part in fragment.split("&")
        if part.lower().startswith("sha256=")
    )


def check_hashes(subject: InstallSubject) -> tuple[Check | None, list[Detection]]:
    """Return the check of digests against lock, requirements, URL and each other."""
    data, seen, lines = subject.install, subject.seen, subject.lines
    found: list[Detection] = []
    lock = locked(data.lock) if data.lock else {}
    wanted = required(lines)
    names = {name for name, _ in lock}
    bad = missing = strangers = 0
    files: dict[str, str] = {}
    for entry in seen:
        package = entry.package
        actual = entry.digest
        key = (entry.name, canonical_version(package.version) if package.version else _NO_VERSION)
        stated = package.hashes.get("sha256")
        if stated is not None and actual is None:
            bad += 1
            found.append(_no_digest(entry, stated[:200]))
            continue
        if actual is not None:
            own = _own_digests(entry) if package.url and "#" in package.url else None
            of_lock, of_line = lock.get(key), wanted.get(key)
            if (
                (of_lock and actual not in of_lock)
                or (of_line and actual not in of_line)
                or (own and actual not in own)
            ):
                for digests, what in (
                    (of_lock, "the lock does not list"),
                    (of_line, "its requirement does not list"),
                    (own, "its own URL contradicts"),
                ):
                    if digests and actual not in digests and _comparable(digests):
                        bad += 1
                        found.append(_mismatch(entry, actual, digests, what))
                        break
            if package.filename:
                before = files.setdefault(package.filename, actual)
                if before != actual:
                    bad += 1
                    what = "another file of the same name contradicts"
                    found.append(_mismatch(entry, actual, frozenset({before}), what))
        if lock and key not in lock and not package.direct and not entry.local:
            strangers += 1
            if strangers <= SHOWN_LIMIT:
                known = entry.name in names
                text = "is not the locked version" if known else "is not in the lock"
                found.append(detect("TW-PKG-NOT-LOCKED", entry, f"{entry.name} {text}", {}))
    for line in lines:
        # pip refuses a weak hash; other installers accept it.
        refused = line.error is not None and not line.hashes
        if refused or line.option is not None or line.constraint or line.url is not None:
            continue
        if _has_strong(line.hashes):
            continue
        name = canonical_name(line.name or "")
        if name in names and (
            line.version is None or (name, canonical_version(line.version)) in lock
        ):
            continue
        missing += 1
        if missing <= SHOWN_LIMIT:
            weak = " stronger than MD5 or SHA-1" if line.hashes else ""
            found.append(detect_line("TW-PKG-NO-HASH", line, f"{line.name} carries no hash{weak}"))
    if bad:
        return Check(
            name="hashes", status=Status.FAIL, detail=f"{counted(bad, 'digest')} not as locked"
        ), found
    if missing or strangers:
        detail = f"{missing} without a hash, {strangers} not in the lock"
        return Check(name="hashes", status=Status.WARN, detail=detail), found
    if lock or wanted:
        return _PASS, found
    return (_UNCOMPARED if seen else None), found


def _comparable(digests: frozenset[str]) -> bool:
    """Return whether a set holds SHA-256 digests (bare hex), not only other algorithms."""
    return any(":" not in text for text in digests)
