"""Judges lines of requirements: packages that come from elsewhere than the index."""

from __future__ import annotations

import re
from typing import Final

from agents.checks.artifacts.scanning import Scan
from schemas.severity import Severity

_FETCHED: Final = re.compile(
    r"(?i)^(--?(index-url|i|extra-index-url|find-links|f|trusted-host)\b.*)"
)
_DIRECT: Final = re.compile(r"(?i)(^|@\s*)((git|hg|svn|bzr)\+\S+|https?://\S+|file:\S+)")
_TRUSTED: Final = re.compile(
    r"(?i)github\.com/(huggingface|pytorch|openai|facebookresearch|"
    r"nvidia|microsoft|google|dao-ailab)/|pytorch\.org/whl|nvidia\.com"
)
_OPEN: Final = re.compile(
    r"(?i)\bhttp://(?!localhost|127\.|\[::1\])|https?://\d+\.\d+\.\d+\.\d+[:/]"
)
"""Locations without encryption or a name: anyone on the path can replace the package."""


def report_requirement(scan: Scan, line: str, number: int) -> None:
    """Report a line of requirements that takes packages from elsewhere.

    Args:
        scan: Where to report.
        line: One requirement, or an option of pip.
        number: Of the line.
    """
    stripped = line.strip()
    if stripped.startswith("#"):
        return
    found = ""
    if _FETCHED.match(stripped):
        found = stripped
    elif match := _DIRECT.search(stripped):
        found = match.group(2)
    if not found:
        return
    trusted = bool(_TRUSTED.search(found))
    if trusted and _FETCHED.match(stripped):
        return
    scan.report(
        "TW-MODEL-REQUIREMENTS-DIRECT" if trusted else "TW-MODEL-REQUIREMENTS-ELSEWHERE",
        f"packages come from {found[:120]!r}",
        severity=Severity.CRITICAL if _OPEN.search(found) and not trusted else None,
        line=number,
    )
