"""Finds hostile commands that a source of any language hands to a shell as a string."""

from __future__ import annotations

from typing import Final

from agents.checks.artifacts.scanning import Scan
from agents.checks.shell.command_risk import CommandRisk
from agents.checks.shell.risk import risk_of
from agents.domain.late_pattern import late_pattern

MAX_SEARCHED: Final = 1 << 20
"""Characters of a text that is searched; longer ones are vocabularies and data."""
_SIGN: Final = late_pattern(
    r"(?i)\b(?:curl|wget|nc|ncat|netcat|socat|telnet|xxd|nslookup|dig|drill|scp|rsync|mkfifo|openssl|awk|mail|gist"
    r"|s3|gsutil|rclone|iwr|irm)\s|\bbase(?:64|32)\s+-|/dev/(?:tcp|udp)/|\|\s*(?:sudo\s+)?(?:/\w+/)*(?:ba|z|da)?sh\b"
    r"|\bsocket\b|TCPSocket|fsockopen|authorized_keys|\bxmrig\b|\bcrontab\b|git\s+clone\s+http:|stratum\+"
)
"""What a hostile command has; more than `may_concern` asks, for texts that are seldom commands."""
_STRING: Final = late_pattern(
    r"\"(?P<double>(?:[^\"\\\n]|\\.){12,2000})\"|'(?P<single>(?:[^'\\\n]|\\.){12,2000})'|\[\[(?P<long>.{12,2000}?)\]\]"
)
_RUNNER: Final = late_pattern(
    r"(?i)\b(?:system2?|shell_?exec|exec\w*|popen\w*|spawn\w*|command\w*|commandline|run\w*|sh|bash|shell|arguments|args?"
    r"|pipe|local|provision|process\w*|program|passthru|entrypoint|script|start|invoke\w*|cmd|call|qx|backtick|do)\b"
    r"[^\n]{0,80}$|^\s*[\w.-]{2,40}\s*[:=]\s*!?\s*$"
)
"""What hands a text to a shell, before the text."""


def report_strings(scan: Scan, text: str) -> None:
    """Report the hostile commands that a source of any language hands to a shell as a string."""
    if len(text) > MAX_SEARCHED or not has_sign(text):
        return
    line = 1
    counted = 0
    for match in _STRING.finditer(text):
        body = match["double"] or match["single"] or match["long"]
        if not has_sign(body):
            continue
        begin = max(text.rfind("\n", 0, match.start()) + 1, match.start() - 120)
        if not _RUNNER.search(text[begin : match.start()]):
            continue
        command = body.replace('\\"', '"').replace("\\'", "'")
        line += text.count("\n", counted, match.start())
        counted = match.start()
        scan.budget.step(1 + len(command) // 16)
        if risk_of(command) is CommandRisk.HOSTILE:
            scan.report(
                "TW-MODEL-SCRIPT-HOSTILE",
                f"the program runs {command.strip()[:80]!r}",
                line=line,
            )


def has_sign(text: str) -> bool:
    """Return whether a text has what a hostile command has."""
    return _SIGN.search(text) is not None
