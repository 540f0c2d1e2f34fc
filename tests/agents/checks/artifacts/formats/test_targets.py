"""Targets of configurations: calls into the code beside them."""

from __future__ import annotations

import pytest

from agents.checks.artifacts.dispatch import scan_source
from agents.checks.artifacts.scanning import BytesSource
from schemas.severity import Verdict


@pytest.mark.parametrize(
    ("beside", "verdict"),
    [
        ((), Verdict.SUSPICIOUS),
        (("lab/conf/net.yaml", "README.md"), Verdict.SUSPICIOUS),
        (("acme/__init__.py",), Verdict.SUSPICIOUS),
        (("other/acme/models.py",), Verdict.SUSPICIOUS),
        (("acme/models.py",), Verdict.CLEAN),
        (("acme/models/__init__.py",), Verdict.CLEAN),
        (("lab/src/acme/models.py",), Verdict.CLEAN),
    ],
)
def test_a_projects_own_class_is_known_where_its_code_is_scanned_too(beside, verdict):
    source = BytesSource(b"model:\n  _target_: acme.models.Net\n  width: 3\n")
    report = scan_source("lab/conf/net.yaml", source, frozenset(beside))
    assert report.verdict is verdict


def test_dangerous_target_stays_dangerous_beside_local_code():
    source = BytesSource(b"model:\n  _target_: os.system\n  command: id\n")
    report = scan_source("conf/net.yaml", source, frozenset(("os.py", "conf/os.py")))
    assert report.verdict is Verdict.MALICIOUS


@pytest.mark.parametrize(("depth", "said"), [(2, False), (9, True)])
def test_interpolation_beyond_the_limit_is_reported(depth, said):
    lines = [f"a{number}: ${{a{number + 1}}}" for number in range(depth)]
    text = "\n".join(["model:", "  _target_: ${a0}", *lines, f"a{depth}: os.system", ""])
    report = scan_source("config.yaml", BytesSource(text.encode()), frozenset())
    assert any("interpolations" in reason for reason in report.reasons) is said
