"""Says how much a command of a shell is to be feared, in one of five words for all its readers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from agents.checks.artifacts.python.shell_commands import (
    is_command_line,
    is_untrusted_fetch,
    opens_to_outside,
    parts_of,
)
from agents.checks.shell.command_risk import CommandRisk
from agents.checks.shell.flow import may_concern, risks_in
from agents.checks.shell.installers import is_known_installer
from agents.domain.late_pattern import late_pattern

_LEADS: Final = (
    r"(?:sudo(?:\s+-\S+){0,4}\s+)?(?:env\s+)?(?:\w+=\S*\s+){0,4}(?:/usr)?(?:/local)?(?:/bin/)?"
)
_FETCH: Final = late_pattern(r"(?i)\b(?:curl|wget|aria2c|fetch|https?ie)(?:\.exe)?\s")
_SHELL: Final = late_pattern(
    rf"(?i)\s*{_LEADS}(?:ba|z|da|k|a|c|tc)?sh(?![\w./-])(?!\s+-c\b)"
    rf"|\s*{_LEADS}(?:python[\d.]*|perl|ruby|node|php)(?:\s+-)?(?:\s+(?![-|])\S*=\S*)*\s*(?=$|[;)\"'`&#>])"
    rf"|\s*{_LEADS}(?:python[\d.]*|perl|ruby|node|php)\s+-\s"
)
"""A program that runs what it reads from the stage before."""
_SEPARATOR: Final = late_pattern(r"\n|;|&&|\|\|")
_SUBSTITUTED: Final = late_pattern(
    r"(?i)(?:(?<![\w.-])(?:(?:ba|z|da|k|a)?sh|eval|source|exec|python[\d.]*|perl|ruby|node)|(?<![\w./-])\.)"
    r"(?:\s+-\w+){0,3}\s+[\"']?(?:<\(|<{3}\s*[\"']?\$\(|\$\(|`)\s*(?:curl|wget)\s(?P<fetch>[^)`\n]{1,400})"
)
"""A shell that runs what a command in its arguments prints."""
_INVOKED: Final = late_pattern(
    r"(?i)(?:\bI(?:EX|nvoke-Expression)\b[^\n|]{0,40}?"
    r"(?:\bDownloadString\s*\(|\b(?:iwr|irm|curl|wget|Invoke-(?:WebRequest|RestMethod))\b)"
    r"(?P<first>[^|\n;]{1,300})"
    r"|(?:\bDownloadString\s*\(|\b(?:iwr|irm|Invoke-(?:WebRequest|RestMethod))\b)"
    r"(?P<last>[^|\n;]{1,300})\|\s*I(?:EX|nvoke-Expression)\b)"
)
"""What PowerShell fetches and evaluates."""
_REPLACEABLE: Final = late_pattern(
    r"(?i)http://(?!localhost|127\.|10\.|192\.168\.)|https?://\d{1,3}(?:\.\d{1,3}){3}(?![\w.])"
)
_NUMERIC: Final = late_pattern(
    r"(?i)https?://(?!127\.|10\.|192\.168\.)\d{1,3}(?:\.\d{1,3}){3}(?![\w.])"
)
_DESTROYED: Final = late_pattern(
    r"(?i)\brm\s+-\w*[rf]\w*\s+(?:-[\w-]+\s+)*[\"']?"
    r"(?:~/?|\$\{?HOME\}?/?|/|\*|/(?:bin|boot|etc|home|lib\w*|root|sbin|usr|var|opt)/?)\*?"
    r"(?=[\s;&|\"']|$)"
)


_KEY: Final = late_pattern(r"\b(?:ssh-(?:rsa|ed25519|dss)|ecdsa-sha2-\S{1,40})\s+AAAA")
_STARTED: Final = late_pattern(
    r"(?i)\bcrontab\b|/etc/cron|/var/spool/cron|/etc/init\.d|systemd/(?:system|user)|LaunchAgents"
    r"|\.(?:bashrc|bash_profile|zshrc|profile)\b|\bschtasks\b|CurrentVersion\\+Run\b|Startup\\"
)
"""What starts a command by itself: schedules, services, profiles."""
_SCHEDULED: Final = late_pattern(
    r"(?m)^\s*(?:@(?:reboot|hourly|daily)|(?:[\d*/,-]+\s+){4}[\d*/,-]+)\s[^\n]{0,300}?"
    r"\b(?:curl|wget)\b[^\n]{0,300}?\|\s*(?:ba|z)?sh\b"
)
"""A line of a crontab that fetches what it runs, each time anew."""
_HIDDEN: Final = late_pattern(
    r"(?i)\b(?:curl|wget|nc|ncat|base64|powershell|mshta)\b|/dev/(?:tcp|shm)/|(?:/var)?/tmp/|%TEMP%|%APPDATA%"
)
"""Signs that what is started is fetched, or lies where programs do not."""
_CHANGES: Final = late_pattern(
    r"(?i)>|\btee\b|\bcrontab\s+-\s*(?=$|[;&|)])|\bcp\b|\bmv\b|/create\b|\badd\b"
)
_ACCOUNT: Final = late_pattern(r":0:0:[^\n]{0,200}>>?\s*/etc/passwd|>>?\s*/etc/ld\.so\.preload")


_FURTHER: Final = late_pattern(
    r"(?i)\brm\s|powershell|\bpwsh\b|\biex\b|DownloadString|Invoke-|xmrig|stratum|/etc/|mkfifo"
    r"|schtasks|\bsh\s"
)
"""Words of hostile commands that data is not followed through."""


def risk_of(command: str) -> CommandRisk:
    """Return the risk of a command or of several lines of them: the gravest of its parts.

    Args:
        command: As a shell reads it.
    """
    followed = (found.risk for found in risks_in(command))
    return max(risk_by_pattern(command), *followed, CommandRisk.NONE)


def risk_by_pattern(command: str) -> CommandRisk:
    """Return the risk that a command shows by its own text, through which no data is followed."""
    if opens_to_outside(command):
        return CommandRisk.HOSTILE
    if is_untrusted_fetch(command):
        return CommandRisk.REPLACEABLE_SCRIPT
    return max(
        (risk for part in parts_of(command) for risk in _risks(part)), default=CommandRisk.NONE
    )


def serves_another(command: str) -> bool:
    """Return whether a command is hostile or replaceable, or plants or destroys something."""
    if not (may_concern(command) or _FURTHER.search(command)):
        return False  # as almost all texts
    return (
        risk_of(command) >= CommandRisk.REPLACEABLE_SCRIPT or persists(command) or destroys(command)
    )


def risk_of_setting(path: str, value: str, *, run: bool = False) -> CommandRisk:
    """Return the risk of a setting: of any that is plainly a command line, or that a tool runs.

    Args:
        path: The keys that lead to it, with dots between them.
        value: Its text.
        run: Whether a tool runs it, whatever it looks like.
    """
    if not run and not is_command_line(path, value):
        return CommandRisk.NONE
    risk = risk_of(value)
    if risk is CommandRisk.REPLACEABLE_SCRIPT and run:
        return CommandRisk.HOSTILE
    return risk


def persists(command: str) -> bool:
    """Return whether a command plants a key or an account, or has what it fetched started later."""
    return any(map(_persists, parts_of(command)))


def _persists(text: str) -> bool:
    if _ACCOUNT.search(text):
        return True
    if "authorized_keys" in text and _KEY.search(text):
        return True
    if _SCHEDULED.search(text):
        return True
    started = _STARTED.search(text)
    if started is None or not _CHANGES.search(text):
        return False
    return _HIDDEN.search(text, 0, started.start()) is not None or (
        _HIDDEN.search(text, started.end()) is not None
    )


def destroys(command: str) -> bool:
    """Return whether a command removes a home or system folder as a whole."""
    return any(_DESTROYED.search(part) is not None for part in parts_of(command))


def _risks(text: str) -> Iterator[CommandRisk]:
    for fetch in _piped(text):
        yield CommandRisk.INSTALLER if is_known_installer(fetch) else CommandRisk.UNKNOWN_SCRIPT
    for match in _SUBSTITUTED.finditer(text):
        known = is_known_installer(match["fetch"])
        yield CommandRisk.INSTALLER if known else CommandRisk.UNKNOWN_SCRIPT
    for match in _INVOKED.finditer(text):
        fetch = match["first"] or match["last"]
        if _NUMERIC.search(fetch):
            yield CommandRisk.HOSTILE
        elif _REPLACEABLE.search(fetch):
            yield CommandRisk.REPLACEABLE_SCRIPT
        else:
            known = is_known_installer(fetch)
            yield CommandRisk.INSTALLER if known else CommandRisk.UNKNOWN_SCRIPT


def _piped(text: str) -> Iterator[str]:
    """Yield the arguments of each fetch whose result reaches a shell by a pipe."""
    if _FETCH.search(text) is None:
        return
    for pipeline in _SEPARATOR.split(text):
        stages = pipeline.split("|")
        for number, stage in enumerate(stages[:-1]):
            fetch = _FETCH.search(stage)
            if fetch and any(_SHELL.match(later) for later in stages[number + 1 :]):
                yield stage[fetch.end() :]
                break
