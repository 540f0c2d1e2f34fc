"""Compares the digests of installed files with the expected ones."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import Any, Final

from agents.checks.packages.pinning import SHOWN_LIMIT, detect_line
from agents.checks.packages.requirements import RequirementLine, read_line
from agents.checks.packages.seen import SeenPackage, detect
from agents.checks.packages.subject import InstallSubject
from agents.checks.packages.versions import CACHE_SIZE, canonical_name, canonical_version
from agents.domain.check_names import CheckName
from agents.domain.detection import Detection
from schemas.assessments import Check
from schemas.counting import counted
from schemas.findings import Indicator, IndicatorType
from schemas.severity import Status

_PASS: Final = Check(name=CheckName.HASHES, status=Status.PASS)
_UNCOMPARED: Final = Check(
    name=CheckName.HASHES,
    status=Status.WARN,
    detail="no lock and no required hashes to compare with",
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


def _mismatch(entry: SeenPackage, actual: str, wanted: frozenset[str], what: str) -> Detection:
    return detect(
        "TW-PKG-HASH-MISMATCH",
        entry,
        f"{entry.name} {entry.package.version or ''} has a digest that {what}",
        _evidence(entry, actual, wanted),
        indicator=Indicator(key=f"sha256:{actual}", type=IndicatorType.FILE_DIGEST, value=actual),
        locator=_locator(entry, actual),
        related_keys=(entry.key,),
    )


def _no_digest(entry: SeenPackage, text: str) -> Detection:
    """Return the finding that a package's digest is not one: the release is its indicator."""
    return detect(
        "TW-PKG-HASH-MISMATCH",
        entry,
        f"{entry.name} {entry.package.version or ''} has a digest that is not a SHA-256",
        _evidence(entry, text, frozenset()),
        locator=_locator(entry, text),
    )


def _evidence(entry: SeenPackage, actual: str, wanted: frozenset[str]) -> dict[str, Any]:
    return {
        "filename": entry.package.filename,
        "actual": f"sha256:{actual}",
        "expected": sorted(f"sha256:{text}" for text in wanted)[:20],
    }


def _locator(entry: SeenPackage, actual: str) -> str:
    return f"digest:{entry.name}:{entry.package.filename or ''}:{actual}"


def _own_digests(entry: SeenPackage) -> frozenset[str]:
    """Return the digests that a package's own URL fragment names."""
    fragment = (entry.package.url or "").partition("#")[2]
    return frozenset(
        part.partition("=")[2].lower()
        for part in fragment.split("&")
        if part.lower().startswith("sha256=")
    )


def check_package_hashes(subject: InstallSubject) -> tuple[Check | None, list[Detection]]:
    """Return the check of digests against lock, requirements, URL and each other."""
    lock = locked(subject.install.lock) if subject.install.lock else {}
    wanted = required(subject.lines)
    names = {name for name, _ in lock}
    bare = {key for key, digests in lock.items() if not _is_strong(digests)}
    hashed = lock.keys() - bare if bare else lock.keys()
    covered = {name for name, _ in hashed} if bare else names
    wrong, strangers = _compare_packages(subject.seen, lock, wanted)
    unhashed = [line for line in subject.lines if _lacks_hash(line, hashed, covered)]
    found = [*wrong, *(_not_locked(entry, names) for entry in strangers[:SHOWN_LIMIT])]
    found += map(_no_hash, unhashed[:SHOWN_LIMIT])
    if bare:
        said = {canonical_name(line.name or "") for line in unhashed}
        unproved = [entry for entry in subject.seen if _is_bare(entry, bare, said)]
        found += map(_locked_bare, unproved[:SHOWN_LIMIT])
    else:
        unproved = []
    if wrong:
        detail = f"{counted(len(wrong), 'digest')} not as locked"
        return Check(name=CheckName.HASHES, status=Status.FAIL, detail=detail), found
    if unhashed or unproved or strangers:
        bad = len(unhashed) + len(unproved)
        detail = f"{bad} without a hash, {len(strangers)} not in the lock"
        return Check(name=CheckName.HASHES, status=Status.WARN, detail=detail), found
    if lock or wanted:
        return _PASS, found
    return (_UNCOMPARED if subject.seen else None), found


def _compare_packages(
    seen: Sequence[SeenPackage], lock: Wanted, wanted: Wanted
) -> tuple[list[Detection], list[SeenPackage]]:
    """Return the digests that are not as expected, and the packages that the lock lacks."""
    wrong: list[Detection] = []
    strangers: list[SeenPackage] = []
    files: dict[str, str] = {}
    for entry in seen:
        package = entry.package
        actual = entry.digest
        key = (entry.name, canonical_version(package.version) if package.version else _NO_VERSION)
        stated = package.hashes.get("sha256")
        if stated is not None and actual is None:
            wrong.append(_no_digest(entry, stated[:200]))
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
                        wrong.append(_mismatch(entry, actual, digests, what))
                        break
            if package.filename:
                before = files.setdefault(package.filename, actual)
                if before != actual:
                    what = "another file of the same name contradicts"
                    wrong.append(_mismatch(entry, actual, frozenset({before}), what))
        if lock and key not in lock and not package.direct and not entry.local:
            strangers.append(entry)
    return wrong, strangers


def _not_locked(entry: SeenPackage, names: Collection[str]) -> Detection:
    text = "is not the locked version" if entry.name in names else "is not in the lock"
    return detect("TW-PKG-NOT-LOCKED", entry, f"{entry.name} {text}", {})


def _is_bare(
    entry: SeenPackage, bare: AbstractSet[tuple[str, str]], said: AbstractSet[str]
) -> bool:
    """Return whether the lock has a package of an index without a hash, not reported by line."""
    version = entry.package.version
    if not version or entry.package.direct or entry.local or entry.name in said:
        return False
    return (entry.name, canonical_version(version)) in bare


def _locked_bare(entry: SeenPackage) -> Detection:
    return detect("TW-PKG-NO-HASH", entry, f"{entry.name} is locked without a hash", {})


def _is_strong(digests: frozenset[str]) -> bool:
    return any(":" not in text or text.startswith(_STRONG) for text in digests)


def _lacks_hash(
    line: RequirementLine, lock: Collection[tuple[str, str]], names: Collection[str]
) -> bool:
    """Return whether a requirement should have a hash, but neither it nor the lock has one."""
    # pip refuses a weak hash; other installers accept it.
    refused = line.error is not None and not line.hashes
    if refused or line.option is not None or line.constraint or line.url is not None:
        return False
    if _has_strong(line.hashes):
        return False
    name = canonical_name(line.name or "")
    in_lock = line.version is None or (name, canonical_version(line.version)) in lock
    return name not in names or not in_lock


def _no_hash(line: RequirementLine) -> Detection:
    weak = " stronger than MD5 or SHA-1" if line.hashes else ""
    return detect_line("TW-PKG-NO-HASH", line, f"{line.name} carries no hash{weak}")


def _comparable(digests: frozenset[str]) -> bool:
    """Return whether a set holds SHA-256 digests (bare hex), not only other algorithms."""
    return any(":" not in text for text in digests)
