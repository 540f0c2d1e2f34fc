"""Compares origins of packages with the allowed ones: dependency confusion, unknown indexes."""

from __future__ import annotations

from typing import Any, Final

from agents.checks.packages.indexes import (
    is_within,
    read_indexes,
    read_origin,
    shown_origin,
)
from agents.checks.packages.names import slip_of
from agents.checks.packages.popularity import name_table
from agents.checks.packages.seen import SeenPackage, detect
from agents.checks.packages.subject import InstallSubject
from agents.checks.packages.versions import canonical_name, crowds_out
from agents.domain.check_names import CheckName
from agents.domain.component_keys import own_key
from agents.domain.detection import Detection
from schemas.assessments import Check
from schemas.components import component_key
from schemas.findings import Indicator, IndicatorType
from schemas.severity import Disposition, Status

_PASS: Final = Check(name=CheckName.ORIGIN, status=Status.PASS)
_OWN_NAMES: Final = 200
"""Names of a tenant that others are compared with."""
_UNKNOWN: Final = "an internal name whose index is not recorded, with public ones in reach"


def _confused(entry: SeenPackage, subject: InstallSubject) -> Detection:
    package = entry.package
    came = package.index_url or package.url or subject.install.index_url or ""
    host = read_origin(came)
    odd = {"userinfo": True} if host is not None and host.userinfo else {}
    evidence: dict[str, Any] = {
        "origin": shown_origin(came),
        "allowed": [shown_origin(url) for url in subject.policy.internal.indexes],
        **odd,
    }
    public = component_key("pypi", entry.name)
    own = own_key("pypi", entry.name, subject.event.tenantid)
    return detect(
        "TW-PKG-CONFUSION",
        entry,
        f"Internal package {entry.name} came from {shown_origin(came)}",
        evidence,
        component=public,
        indicator=Indicator(
            key=f"{public}@{package.version}" if package.version else public,
            type=IndicatorType.PACKAGE_VERSION,
            value=f"{entry.name}=={package.version}" if package.version else entry.name,
        ),
        related_keys=(own,),
    )


def check_origin(subject: InstallSubject) -> tuple[Check | None, list[Detection]]:
    """Return the check of origins and its findings.

    Args:
        subject: The install.

    Returns:
        The check, None where the policy sets no limit; and the findings.
    """
    policy, data = subject.policy, subject.install
    own, trusted = policy.internal, policy.trusted.indexes
    if not own.names and not own.prefixes and not trusted:
        return None, []
    found: list[Detection] = []
    unsure = 0
    for index, entry in enumerate(subject.seen):
        if entry.local:
            continue
        if index in subject.inside:
            inside = subject.inside[index]
            version = entry.package.version
            if inside is False:
                found.append(_confused(entry, subject))
            elif version and crowds_out(version):
                found.append(
                    detect(
                        "TW-PKG-CONFUSION-VERSION",
                        entry,
                        f"Internal package {entry.name} has an inflated version: {version[:80]}",
                        {"origin": shown_origin(entry.package.index_url or data.index_url or "")},
                    )
                )
            elif inside is None and data.extra_index_urls:
                unsure += 1
        elif own.names and own.indexes and entry.name not in name_table().known:
            slip = slip_of(entry.name, tuple(map(canonical_name, own.names[:_OWN_NAMES])))
            if slip is not None:
                found.append(
                    detect(
                        "TW-PKG-TYPOSQUAT",
                        entry,
                        f"{entry.name} is one typing error from the internal package {slip}",
                        {"similar_to": slip, "technique": "internal name"},
                    )
                )
    if trusted:
        found.extend(_strange_indexes(subject))
    if found:
        bad = any(detection.rule_id.startswith("TW-PKG-CONFUSION") for detection in found)
        status = Status.FAIL if bad else Status.WARN
        return Check(name=CheckName.ORIGIN, status=status, detail=found[0].description), found
    if unsure:
        return Check(name=CheckName.ORIGIN, status=Status.WARN, detail=_UNKNOWN), found
    return _PASS, found


def _strange_indexes(subject: InstallSubject) -> list[Detection]:
    """Return one finding for each index in use that the policy does not list."""
    policy, data = subject.policy, subject.install
    allowed = read_indexes((*policy.trusted.indexes, *policy.internal.indexes))
    urls: dict[str, list[str]] = {}
    for url in (data.index_url, *data.extra_index_urls):
        if url:
            urls.setdefault(url, [])
    for entry in subject.seen:
        if entry.package.index_url:
            urls.setdefault(entry.package.index_url, []).append(entry.name)
    found = []
    for url, names in urls.items():
        origin = read_origin(url)
        if origin is not None and (
            origin.scheme == "file" or any(is_within(origin, base) for base in allowed)
        ):
            continue
        shown = shown_origin(url)
        evidence: dict[str, Any] = {"index": shown, "packages": names[:20], "count": len(names)}
        if origin is not None and origin.userinfo:
            evidence["userinfo"] = True
        key = component_key("domain", origin.host) if origin is not None else None
        found.append(
            Detection(
                rule_id="TW-PKG-INDEX-POLICY",
                description=f"Packages came from {shown}, which the policy does not name",
                evidence=evidence,
                locator=f"index:{shown}",
                component=key,
                indicator=Indicator(
                    key=key, type=IndicatorType.URL, value=shown, disposition=Disposition.CONTEXT
                )
                if key
                else None,
            )
        )
    return found
