"""Judges the scripts of HTML and SVG: the data that they steal, and the code that they run."""

from __future__ import annotations

import re
from typing import Final

from agents.checks.artifacts.scanning import Scan
from agents.domain.late_pattern import late_pattern
from schemas.severity import Severity

SCRIPT: Final = late_pattern(r"(?i)<script\b|\bon(error|load)\s*=\s*[\"']|javascript:")
STEALS: Final = late_pattern(
    r"(?i)(fetch\(|XMLHttpRequest|\.src\s*=|sendBeacon|location\s*=)[^;]{0,300}"
    r"(document\.cookie|localStorage|sessionStorage)"
    r"|(document\.cookie|localStorage)[^;]{0,100}(fetch\(|sendBeacon)"
    r"|kernel\.execute\([^)]{0,200}(os\.(system|popen)|subprocess|__import__|urllib|requests|eval|exec\()"
    r"|fetch\([^;]{0,60}/api/(terminals|kernels|contents)\b"
)
"""Steals data from the reader's browser, or runs code in the notebook's kernel."""
_RUNS: Final = late_pattern(
    r"(?i)\bActiveXObject\s*\(|WScript\.Shell|require\(\s*[\"'](?:node:)?child_process"
    r"|\beval\s*\(\s*(?:atob|unescape|String\.fromCharCode)\s*\(|(?:href|src)\s*=\s*[\"']data:text/html"
)
"""Runs programs, or text that it decodes first."""


def report_markup(scan: Scan, text: str, script: re.Match[str], *, drawing: bool) -> None:
    """Report markup with a script: more severe if it steals or runs, or in a drawing.

    Args:
        scan: Where to report; a page whose script is not known to be hostile is unsupported.
        text: The markup.
        script: Where its first script begins.
        drawing: Whether it is an image, which needs no script.
    """
    if match := STEALS.search(text) or _RUNS.search(text):
        scan.report(
            "TW-MODEL-MARKUP-SCRIPT",
            f"a script in the markup has {match.group()[:60]!r}",
            severity=Severity.CRITICAL,
            offset=match.start(),
        )
        return
    scan.report(
        "TW-MODEL-MARKUP-SCRIPT",
        f"markup with {script.group()[:40]!r}",
        severity=Severity.HIGH if drawing else None,
        offset=script.start(),
    )
    scan.mark_unsupported("the scripts of markup are not analysed")
