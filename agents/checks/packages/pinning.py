"""Checks that requirements are pinned to one version and fetched safely."""

from __future__ import annotations

from typing import Final

from agents.checks.packages.credentials import mask_credentials
from agents.checks.packages.indexes import read_origin, shown_origin
from agents.checks.packages.requirements import RequirementLine
from agents.checks.packages.subject import InstallSubject
from agents.checks.packages.versions import canonical_name
from agents.domain.check_names import CheckName
from agents.domain.detection import Detection
from schemas.assessments import Check
from schemas.components import component_key
from schemas.counting import counted
from schemas.findings import Indicator, IndicatorType
from schemas.severity import Disposition, Severity, Status

SHOWN_LIMIT: Final = 500
"""Findings of one kind in one event; the check says how many more there were."""
_UNREAD_SHOWN: Final = 5
_PLAIN: Final = frozenset(("http", "ftp"))
"""Schemes without encryption: anyone on the network path can answer."""
_STRONG: Final = ("sha256:", "sha384:", "sha512:")
_PASS: Final = Check(name=CheckName.PINNING, status=Status.PASS)


def _shown(line: RequirementLine) -> str:
    """Return the text of a line without the credentials of its URLs."""
    return mask_credentials(line.text)[:80]


def _about(line: RequirementLine) -> tuple[str, str]:
    """Return the component key and the locator of a requirement."""
    if line.name:
        key = component_key("pypi", line.name)
        return key, f"requirement:{canonical_name(line.name)}"
    shown = shown_origin(line.url or "") if "://" in (line.url or "") else "local folder"
    return "", f"requirement:{shown}"


def detect_line(
    rule_id: str, line: RequirementLine, description: str, **evidence: object
) -> Detection:
    """Return the detection of a rule on one requirement line; no secrets of its URLs are shown."""
    key, locator = _about(line)
    shown = line.text if "://" not in line.text else (line.name or "a URL")
    where = {"line": line.line, "file": line.file} if line.file else {}
    return Detection(
        rule_id=rule_id,
        description=description,
        evidence={"requirement": shown[:300], **where, **evidence},
        locator=locator,
        component=key or None,
        version=line.version if key else None,
        indicator=Indicator(
            key=key,
            type=IndicatorType.PACKAGE_VERSION,
            value=shown[:300],
            disposition=Disposition.CONTEXT,
        )
        if key
        else None,
    )


def check_reference(line: RequirementLine) -> Detection | None:
    """Return the problem of a direct reference, None for an ordinary one."""
    url = line.url or ""
    name = line.name or "A package"
    origin = read_origin(url) if "://" in url else None
    if origin is not None and origin.scheme in {*_PLAIN, "git"} and not origin.is_local:
        return detect_line("TW-PKG-HTTP", line, f"{name} is fetched without TLS", url=origin.url)
    if line.vcs is not None:
        if line.commit is not None:
            return None
        return detect_line(
            "TW-PKG-VCS-UNPINNED",
            line,
            f"{name} comes from a {line.vcs} reference that can move",
            url=shown_origin(url),
        )
    if line.is_local or any(text.startswith(_STRONG) for text in line.hashes):
        return detect_line(
            "TW-PKG-DIRECT-PINNED",
            line,
            f"{name} comes from a {'local path' if line.is_local else 'URL with a digest'}",
        )
    return detect_line(
        "TW-PKG-DIRECT-URL", line, f"{name} comes from a URL, not an index", url=shown_origin(url)
    )


def check_option(line: RequirementLine) -> Detection | None:
    """Return the problem of an option line, if any."""
    value = line.value or ""
    if line.option == "trusted-host":
        host = value.partition(":")[0]
        local = read_origin(f"http://{value}")
        if local is not None and local.is_local:
            return None
        return Detection(
            rule_id="TW-PKG-TRUSTED-HOST",
            description=f"TLS is not checked for {host[:200]}",
            # pip takes the scheme of an address for the host, and checks TLS as before.
            severity=Severity.LOW if "://" in value else None,
            evidence={"option": "--trusted-host", "host": host[:200]},
            locator=f"option:trusted-host:{host[:200]}",
        )
    if line.option in {"index-url", "extra-index-url", "find-links", "requirement", "constraint"}:
        return check_index(value, f"--{line.option}")
    return None


def check_index(url: str, place: str) -> Detection | None:
    """Return the finding on an index without TLS, None for one with it."""
    origin = read_origin(url)
    if origin is None or origin.scheme not in _PLAIN or origin.is_local:
        return None
    return Detection(
        rule_id="TW-PKG-HTTP",
        description=f"Packages are fetched from {origin.url} without TLS",
        evidence={"option": place, "url": origin.url},
        locator=f"index:{origin.url}",
        indicator=Indicator(
            key=component_key("domain", origin.host),
            type=IndicatorType.URL,
            value=origin.url,
            disposition=Disposition.CONTEXT,
        ),
    )


def check_pinning(subject: InstallSubject) -> tuple[Check | None, list[Detection]]:
    """Return the check of the requirements: pins, references, options.

    Args:
        subject: The install.

    Returns:
        The check, None if the event has no requirements; and the findings.
    """
    data, lines = subject.install, subject.lines
    found: list[Detection] = []
    for field, url in (
        ("index_url", data.index_url),
        *(("extra", u) for u in data.extra_index_urls),
    ):
        if url and url[:6] != "https:":
            detection = check_index(url, field)
            if detection is not None:
                found.append(detection)
    unpinned = refused = 0
    unread: list[str] = []
    for line in lines:
        if line.error is not None:
            refused += 1
            unread.append(f"pip would refuse {_shown(line)!r}: {line.error}")
        elif line.option is not None:
            if line.option in {"requirement", "constraint"}:
                unread.append(f"{mask_credentials(line.value or '')[:200]} was not read")
            detection = check_option(line)
            if detection is not None and all(
                earlier.locator != detection.locator for earlier in found
            ):
                found.append(detection)
        elif line.constraint:
            continue
        elif line.url is not None:
            detection = check_reference(line)
            if detection is not None:
                found.append(detection)
        elif line.version is None:
            unpinned += 1
            if unpinned <= SHOWN_LIMIT:
                asked = line.specifier or "any version"
                found.append(
                    detect_line("TW-PKG-UNPINNED", line, f"{line.name} is not pinned ({asked})")
                )
    if not lines and not found:
        return None, found
    if not found and not unread:
        return _PASS, found
    parts = [
        f"{counted(len(found) - min(unpinned, SHOWN_LIMIT), 'unsafe reference')}" if found else ""
    ]
    if unpinned:
        parts.append(f"{unpinned} of {len(lines)} not pinned")
    if refused:
        parts.append(f"{counted(refused, 'line')} that pip would refuse")
    parts += unread[:_UNREAD_SHOWN]
    status = Status.INCOMPLETE if unread else Status.WARN
    detail = ", ".join(part for part in parts if part and not part.startswith("0 "))
    return Check(name=CheckName.PINNING, status=status, detail=detail), found
