"""The image builds from tracked files and runs without root."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml

from tests.each import each

ROOT = Path(__file__).resolve().parents[2]
LINES = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
INSTRUCTIONS = [line.split(maxsplit=1) for line in LINES if line and not line.startswith("#")]


def of(instruction: str) -> list[str]:
    """What follows an instruction, each time it is given."""
    return [rest for name, rest in INSTRUCTIONS if name == instruction]


def sent_to_the_build(path: str) -> bool:
    """Tell whether `.dockerignore` lets a path through; the last pattern that fits decides."""
    sent = True
    for pattern in (ROOT / ".dockerignore").read_text().split():
        bare = pattern.removeprefix("!")
        if fnmatch(path, bare) or path.startswith(f"{bare}/"):
            sent = pattern.startswith("!")
    return sent


COPIED = [
    source
    for words in map(shlex.split, of("COPY"))
    if not words[0].startswith("--from")
    for source in words[:-1]
]


@each("source", COPIED)
def test_copied_files_exist_and_are_in_the_build_context(source: str) -> None:
    assert (ROOT / source).exists()
    assert sent_to_the_build(source)


def test_build_context_has_no_other_files() -> None:
    assert not sent_to_the_build("tests")
    assert not sent_to_the_build(".git")
    assert not sent_to_the_build("deploy/compose.yaml")


def test_package_sources_are_copied() -> None:
    rooms = {"agents", "schemas", "streams", "deploy/kafka", "requirements.lock", "pyproject.toml"}
    assert rooms <= set(COPIED)


def test_only_the_installer_installs_and_only_what_is_locked() -> None:
    runs = of("RUN")
    assert not any("pip install" in run for run in runs)
    installs = [shlex.split(run) for run in runs if "locks/installer.py" in run]
    assert len(installs) == 2
    for words in installs:
        assert words[words.index("install") + 1 :][:3] == [
            "--compile",
            "/opt/tidewatch",
            "requirements.lock",
        ]
        # what installs stays behind in its stage
        assert words[words.index("--installer") + 1] == "/opt/installer"
    assert [rest for rest in of("COPY") if rest.startswith("--from")] == [
        "--from=build /opt/tidewatch /opt/tidewatch"
    ]


def test_base_image_is_pinned_by_digest() -> None:
    stages: set[str] = set()
    for rest in of("FROM"):
        image, *name = rest.split(" AS ")
        assert image in stages or re.search(r"@sha256:[0-9a-f]{64}$", image), rest
        stages.update(name)


def test_it_runs_without_root_under_the_number_that_the_pods_name() -> None:
    last_stage = INSTRUCTIONS[
        max(at for at, (name, _) in enumerate(INSTRUCTIONS) if name == "FROM") :
    ]
    users = [rest for name, rest in last_stage if name == "USER"]
    (made,) = [re.search(r"--uid (\d+)", run) for run in of("RUN") if "useradd" in run]
    assert made is not None
    assert users == ["tidewatch"]
    manifest: dict[str, Any] = yaml.safe_load(
        (ROOT / "deploy/kubernetes/worker/statefulset.yaml").read_text()
    )
    security = manifest["spec"]["template"]["spec"]["securityContext"]
    assert security["runAsUser"] == security["fsGroup"] == int(made[1]) > 0


def test_compose_runs_the_kafka_that_the_tests_run() -> None:
    compose = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())
    tag, _ = compose["services"]["kafka"]["image"].split("@")
    _, version = tag.split(":")
    pins = (ROOT / "deploy/kafka/jars.sha256").read_text()
    assert re.findall(r"kafka-clients-([\d.]+)\.jar", pins) == [version]


SPEC = importlib.util.spec_from_file_location("trial", ROOT / "deploy/image/try_in_debian_root.py")
assert SPEC is not None
assert SPEC.loader is not None
trial = importlib.util.module_from_spec(SPEC)
sys.modules["trial"] = trial  # a dataclass looks its module up
SPEC.loader.exec_module(trial)


def test_the_trial_without_a_container_engine_reads_the_same_steps() -> None:
    read = trial.instructions((ROOT / "Dockerfile").read_text())
    assert [list(entry) for entry in read] == [[name, rest.strip()] for name, rest in INSTRUCTIONS]
    patterns = (ROOT / ".dockerignore").read_text().split()
    for path in (*COPIED, "agents/checks/check.py", "tests", ".git", "locks/bench.lock"):
        assert trial.is_sent(path, patterns) == sent_to_the_build(path), path
    assert not trial.is_sent("agents/__pycache__/x.pyc", patterns)


def test_the_trial_says_that_it_was_skipped() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "deploy/image/try_in_debian_root.py"],
        env={"PATH": "/nowhere"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 77
    assert "skipped" in done.stderr
