"""Reads the addresses in a command, and says how far what they serve is to be trusted."""

from __future__ import annotations

from typing import Final

from agents.checks.shell.command_risk import CommandRisk
from agents.checks.shell.installers import is_known_installer
from agents.domain.hosts import is_local, read_address
from agents.domain.late_pattern import late_pattern

URL: Final = late_pattern(
    r"(?i)\b(?:(?:git\+)?[a-z][a-z0-9]{1,7}:/{2}[^\s\"'`<>|;)]{1,500}"
    r"|(?<![\w./:@$-])(?:[\w-]{1,63}\.){1,8}[a-z]{2,24}(?=[/:?]|\s|$)[^\s\"'`<>|;)]{0,300}"
    r"|(?<![\w./:@$-])\d{1,3}(?:\.\d{1,3}){3}(?![\w.])(?:[:/?][^\s\"'`<>|;)]{0,300})?)"
)
NUMERIC: Final = late_pattern(
    r"\d{1,3}(?:\.\d{1,3}){3}|0x[0-9a-fA-F]{6,8}|\d{8,10}|\[[0-9a-fA-F:.]{3,45}\]"
)


def risk_of_host(host: str) -> CommandRisk:
    """Return the risk of running what a host sends over a connection."""
    return CommandRisk.NONE if host and is_local(host) else CommandRisk.HOSTILE


def risk_of_fetch(shown: str) -> CommandRisk:
    """Return the risk of running what the addresses of a command serve."""
    found = [match[0] for match in URL.finditer(shown)]
    if not found:
        return CommandRisk.UNKNOWN_SCRIPT
    if is_known_installer(shown):
        return CommandRisk.INSTALLER
    return max(map(risk_of_address, found))


def risk_of_address(address: str) -> CommandRisk:
    """Return the risk of running what an address serves."""
    text = address.removeprefix("git+")
    parts = read_address(text if "://" in text else f"https://{text}")
    host = parts.host
    if not host or is_local(host):
        return CommandRisk.NONE
    if NUMERIC.fullmatch(host):
        return CommandRisk.HOSTILE
    if parts.insecure:
        return CommandRisk.REPLACEABLE_SCRIPT
    return CommandRisk.UNKNOWN_SCRIPT
