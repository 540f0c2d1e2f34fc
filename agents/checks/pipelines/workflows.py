"""Finds workflows of GitHub that give strangers' content their token, shell or secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from agents.checks.artifacts.python.faults import python_faults
from agents.checks.pipelines.remote_code import MAX_TEXT, REMOTE_SCRIPT, Setting
from schemas.severity import Severity

UNTRUSTED_CHECKOUT: Final = "TW-PIPE-UNTRUSTED-CHECKOUT"
SCRIPT_INJECTION: Final = "TW-PIPE-SCRIPT-INJECTION"
ALL_SECRETS: Final = "TW-PIPE-ALL-SECRETS"

_CHECKS_OUT: Final = frozenset({"pull_request_target", "workflow_run", "issue_comment"})
"""Events of strangers that run with the repository's secrets, on the default branch's workflow."""
_PRIVILEGED: Final = _CHECKS_OUT | {
    "issues",
    "discussion",
    "discussion_comment",
    "pull_request_review",
    "pull_request_review_comment",
}
_HEAD: Final = re.compile(
    r"github\.event\.pull_request\.head\.(?:sha|ref|repo\.full_name)|github\.head_ref"
    r"|github\.event\.workflow_run\.head_(?:sha|branch|repository)"
    r"|github\.event\.pull_request\.merge_commit_sha|refs/pull/\$\{\{|refs/pull/\d"
)
_FETCHED: Final = re.compile(r"\bgh\s+pr\s+checkout\b|\bgit\s+(?:fetch|checkout|pull|clone)\b")
_FOREIGN: Final = re.compile(
    r"\$\{\{[^}]{0,200}\b(?:github\.head_ref|github\.event\.(?:"
    r"issue\.(?:title|body)|pull_request\.(?:title|body|head\.(?:ref|label|repo\.default_branch))"
    r"|comment\.body|review\.body|review_comment\.body|discussion\.(?:title|body)"
    r"|head_commit\.(?:message|author\.(?:name|email))"
    r"|commits[^}]{0,40}\.(?:message|author\.(?:name|email))|pages[^}]{0,40}\.page_name"
    r"|workflow_run\.(?:head_branch|display_title|head_commit\.(?:message|author\.(?:name|email)))"
    r"))\b"
)
"""Source: GitHub Docs, security hardening for GitHub Actions, script injections."""
_SENT: Final = re.compile(
    r"\b(?:curl|wget)\b[^|\n]{0,300}?\s(?:-d|-F|-T|--data[\w-]*|--form|--upload-file|--json|--post-\w+)\b"
    r"|\|\s*(?:nc|ncat|openssl\s+s_client)\s"
)
_ALL: Final = re.compile(r"(?i)\$\{\{[^}]{0,100}\btojson\s*\(\s*secrets\s*\)")


def workflow_settings(config: Any) -> Iterator[Setting]:  # noqa: ANN401 -- any JSON document
    """Yield what a workflow or a composite action does with what strangers write.

    Args:
        config: The definition, of which YAML 1.1 reads the key `on` as true.
    """
    if not isinstance(config, dict):
        return
    triggers = _triggers(config.get("on", config.get("True", config.get("true"))))
    jobs = config.get("jobs")
    if isinstance(jobs, dict):
        for name, job in jobs.items():
            if isinstance(job, dict):
                yield from _job(f"jobs.{name}", job, triggers)
    runs = config.get("runs")
    if isinstance(runs, dict):
        # Who calls the action decides what it runs for.
        yield from _job("runs", runs, frozenset())


def _triggers(on: Any) -> frozenset[str]:  # noqa: ANN401 -- any JSON value
    if isinstance(on, str):
        return frozenset({on})
    return frozenset(str(name) for name in on) if isinstance(on, dict | list) else frozenset()


def _job(path: str, job: dict[str, Any], triggers: frozenset[str]) -> Iterator[Setting]:
    given = job.get("steps")
    steps = [step for step in given if isinstance(step, dict)] if isinstance(given, list) else []
    last_run = max((index for index, step in enumerate(steps) if _runs_content(step)), default=-1)
    privileged = bool(triggers & _PRIVILEGED)
    for index, step in enumerate(steps):
        place = f"{path}.steps[{index}]"
        if triggers & _CHECKS_OUT and (shown := _takes_head(step)):
            runs = last_run > index or _takes_by_command(step)
            yield Setting(
                rule_id=UNTRUSTED_CHECKOUT,
                path=place,
                shown=shown[:120],
                severity=None if runs else Severity.MEDIUM,
            )
        for key, text in _scripts(step):
            if match := _FOREIGN.search(text):
                yield Setting(
                    rule_id=SCRIPT_INJECTION,
                    path=f"{place}.{key}",
                    shown=match[0][:110] + " }}",
                    severity=Severity.HIGH if privileged else None,
                )
        yield from _all_secrets(place, step)
        yield from _python(place, step)
    yield from _all_secrets(path, {"env": job.get("env")})


def _all_secrets(place: str, step: dict[str, Any]) -> Iterator[Setting]:
    texts = [("run", step.get("run"))]
    for name in ("env", "with"):
        members = step.get(name)
        if isinstance(members, dict):
            texts += [(f"{name}.{key}", value) for key, value in members.items()]
    for key, text in texts:
        if isinstance(text, str) and (match := _ALL.search(text)):
            yield Setting(
                rule_id=ALL_SECRETS,
                path=f"{place}.{key}",
                shown=match[0] + " }}",
                severity=Severity.CRITICAL if _posts(step) else None,
            )


def _posts(step: dict[str, Any]) -> bool:
    """Return whether a step that receives all secrets sends something to a host."""
    run = step.get("run")
    return isinstance(run, str) and _SENT.search(run) is not None


def _python(place: str, step: dict[str, Any]) -> Iterator[Setting]:
    """Yield what a step does that the service runs as a program of Python."""
    run, shell = step.get("run"), step.get("shell")
    if not (isinstance(run, str) and isinstance(shell, str) and shell.startswith("python")):
        return
    for fault in python_faults(run[:MAX_TEXT]):
        if fault.severity is Severity.CRITICAL:
            yield Setting(
                rule_id=REMOTE_SCRIPT,
                path=f"{place}.run",
                shown=f"line {fault.line}: {fault.what}"[:120],
                severity=Severity.CRITICAL,
            )
            return


def _takes_head(step: dict[str, Any]) -> str:
    """Return how a step takes the content of a stranger's branch; empty if it does not."""
    uses, given = step.get("uses"), step.get("with")
    if isinstance(uses, str) and "checkout" in uses and isinstance(given, dict):
        for key in ("ref", "repository"):
            if isinstance(value := given.get(key), str) and _HEAD.search(value):
                return f"{key}: {value}"
    if _takes_by_command(step):
        return str(step["run"]).strip().splitlines()[0]
    return ""


def _takes_by_command(step: dict[str, Any]) -> bool:
    run = step.get("run")
    if not isinstance(run, str):
        return False
    fetched = _FETCHED.search(run)
    return bool(fetched and (fetched[0].startswith("gh") or _HEAD.search(run)))


def _runs_content(step: dict[str, Any]) -> bool:
    uses = step.get("uses")
    return "run" in step or (isinstance(uses, str) and uses.startswith("./"))


def _scripts(step: dict[str, Any]) -> Iterator[tuple[str, str]]:
    run, given = step.get("run"), step.get("with")
    if isinstance(run, str):
        yield "run", run
    script = given.get("script") if isinstance(given, dict) else None
    if isinstance(script, str):
        yield "with.script", script
