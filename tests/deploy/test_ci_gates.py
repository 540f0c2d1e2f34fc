"""The templates for CI systems: their scripts run as those systems run them."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.installed import TIDEWATCH

ROOT = Path(__file__).resolve().parents[2]
CI = ROOT / "deploy" / "ci"
HOSTILE = '$(touch owned) "; touch owned; #'

RECORDER = """#!/bin/sh
# records its arguments, and ends with a given code
for one in "$@"; do printf '%s\\n' "$one" >> arguments; done
env | grep -c '^TIDEWATCH_GATE' > left || true
echo '{"sent": 1}'
exit "$CODE"
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a `tidewatch` that records how it is called."""
    program = tmp_path / "bin" / "tidewatch"
    program.parent.mkdir()
    program.write_text(RECORDER)
    program.chmod(0o755)
    return tmp_path


def run(place: Path, script: str, code: int, **variables: str) -> list[str]:
    """Run a script as a job does; return the arguments that tidewatch was given."""
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script],
        cwd=place,
        env={
            "PATH": f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "CODE": str(code),
            **variables,
        },
        check=False,
        capture_output=True,
    )
    assert done.returncode == code, done.stderr
    assert not (place / "owned").exists()
    return (place / "arguments").read_text().splitlines()


@pytest.mark.parametrize("code", [0, 1, 2])
def test_the_github_action_ends_as_the_gate_does(place: Path, code: int) -> None:
    action: dict[str, Any] = yaml.safe_load((CI / "github" / "action.yml").read_text())
    (step,) = action["runs"]["steps"]
    assert "${{" not in step["run"]  # an input inside a script would be code
    inputs = {"file": HOSTILE, "kind": "pip-report", "tenant": "acme"}
    given = {
        name: str(setting.get("default", "")) for name, setting in action["inputs"].items()
    } | inputs
    variables = {
        name: given[re.fullmatch(r"\$\{\{ inputs\.([a-z-]+) \}\}", value)[1]]  # type: ignore[index]
        for name, value in step["env"].items()
    }
    output = place / "output"
    arguments = run(
        place,
        step["run"],
        code,
        **variables,
        GITHUB_OUTPUT=str(output),
        GITHUB_REPOSITORY="acme/train",
        RUNNER_TEMP=str(place),
    )
    assert arguments == [
        "send",
        "--wait",
        "--fail-on=medium",
        "--timeout=10m",
        "--format=json",
        "--as=pip-report",
        # a report does not say where it was made: the systems of all repositories would be one
        "--system=acme/train",
        "--tenant=acme",
        "--",
        HOSTILE,
    ]
    result = Path(output.read_text().strip().removeprefix("result="))
    assert json.loads(result.read_text()) == {"sent": 1}


@pytest.mark.parametrize("code", [0, 1, 2])
def test_the_gitlab_template_ends_as_the_gate_does(place: Path, code: int) -> None:
    job = yaml.safe_load((CI / "gitlab.yml").read_text())[".tidewatch-gate"]
    (script,) = job["script"]
    variables = {**job["variables"], "TIDEWATCH_GATE_FILE": HOSTILE}
    arguments = run(place, script, code, **variables, CI_PROJECT_PATH="acme/train")
    assert arguments == [
        "send",
        "--wait",
        "--fail-on=medium",
        "--timeout=10m",
        "--format=json",
        "--",
        HOSTILE,
    ]
    # tidewatch refuses variables with its prefix that are no settings
    assert (place / "left").read_text().strip() == "0"
    assert job["artifacts"]["paths"] == ["tidewatch-gate.json"]


def test_the_gitlab_template_names_the_project_as_the_system(place: Path) -> None:
    job = yaml.safe_load((CI / "gitlab.yml").read_text())[".tidewatch-gate"]
    (script,) = job["script"]
    report = {"TIDEWATCH_GATE_FILE": "report.json", "TIDEWATCH_GATE_KIND": "pip-report"}
    for own, system in (("", "acme/train"), ("runner-7", "runner-7")):
        variables = {**job["variables"], **report, "TIDEWATCH_GATE_SYSTEM": own}
        arguments = run(place, script, 0, **variables, CI_PROJECT_PATH="acme/train")
        assert arguments[-4:] == [f"--system={system}", "--format=json", "--", "report.json"]
    assert (place / "left").read_text().strip() == "0"


@pytest.mark.slow
def test_the_pre_commit_hook_stops_a_malicious_model(tmp_path: Path) -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    matches = re.compile(hook["files"]).search
    for name in ("model.pkl", "models/a.safetensors", "requirements-dev.txt", "ci/Dockerfile"):
        assert matches(name), name
    assert not matches("src/model.py")
    program, *words = hook["entry"].split()
    assert program == "tidewatch"
    (tmp_path / "model.pkl").write_bytes(b"cos\nsystem\n(S'id'\ntR.")
    (tmp_path / "requirements.txt").write_text("requests==2.32.3 --hash=sha256:" + "0" * 64 + "\n")
    for name, code in {"model.pkl": 1, "requirements.txt": 0}.items():
        done = subprocess.run(
            [TIDEWATCH, *words, name],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
            check=False,
            capture_output=True,
        )
        assert done.returncode == code, done.stdout


def test_the_page_uses_the_templates_as_they_are() -> None:
    page = (ROOT / "docs" / "gates.md").read_text()
    blocks = re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    steps, pipeline = (yaml.safe_load(block) for block in blocks[:2])
    action = yaml.safe_load((CI / "github" / "action.yml").read_text())
    (used,) = [step for step in steps if "uses" in step]
    assert (ROOT / used["uses"] / "action.yml").samefile(CI / "github" / "action.yml")
    required = {name for name, setting in action["inputs"].items() if setting.get("required")}
    assert required <= used["with"].keys() <= action["inputs"].keys()
    assert used["with"]["file"] in steps[0]["run"]
    template = yaml.safe_load((CI / "gitlab.yml").read_text())
    job = pipeline["gate"]
    assert job["variables"].keys() <= template[job["extends"]]["variables"].keys()
    (needed,) = job["needs"]
    file = job["variables"]["TIDEWATCH_GATE_FILE"]
    assert pipeline[needed]["artifacts"]["paths"] == [file]
    assert any(file in line for line in pipeline[needed]["script"])
