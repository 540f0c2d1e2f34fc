"""A wheel, installed into an empty environment, works elsewhere, for another user.

The environment holds what the wheel's own metadata asks for and nothing else, linked from the
environment that runs the tests: there is no network here. Nothing of the checkout is on its path.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from importlib.util import cache_from_source
from pathlib import Path

import orjson
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from streams.broker.jars import provide_jars
from streams.broker.paths import description_dir, jars_dir
from tests.agents.checks.provenance.signing import make_model
from tests.schemas import events

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("agents", "schemas", "streams")
SOURCES = (*ROOMS, "deploy/kafka", "pyproject.toml", "README.md", "LICENSE")
"""What the image copies to build from."""
NOT_AT_RUN_TIME = {"build", "dev"}
"""Extras that no user installs."""
BUILD_SECONDS = 240
COMMAND_SECONDS = 240

pytestmark = [pytest.mark.timeout(600), pytest.mark.slow]

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def link(source: Path, target: Path) -> None:
    """Link a file, or copy it to another disk."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copy2(source, target)


def link_compiled(source: Path, target: Path) -> None:
    """Link what a module was compiled to, as an installer would compile it.

    The user of the environment may not write there: each process would compile all that it imports.
    """
    if source.suffix == ".py" and (compiled := Path(cache_from_source(source))).is_file():
        link(compiled, Path(cache_from_source(target)))


@pytest.fixture(scope="module")
def room() -> Iterator[Path]:
    """A folder that every user may enter; pytest's own are closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="tidewatch-wheel-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def wheel(room: Path) -> Path:
    """A wheel, built from a copy of the sources without network."""
    tree = room / "tree"
    for name in SOURCES:
        source, target = ROOT / name, tree / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"]
    done = subprocess.run(
        [*command, "--no-build-isolation", "--wheel-dir", str(room / "dist"), str(tree)],
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (built,) = (room / "dist").glob("*.whl")
    return built


def test_the_wheel_holds_every_file_of_the_rooms_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *ROOMS],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    wanted = {name for name in listed.split("\0") if name and (ROOT / name).is_file()}
    data = {name for name in packed if ".data/data/" in name}
    assert packed - data == wanted
    assert {name.split(".data/data/")[1] for name in data} == {
        f"share/tidewatch/kafka/{path.name}"
        for path in (ROOT / "deploy" / "kafka").iterdir()
        if path.suffix != ".md"
    }


def interpreter() -> tuple[Path, bool]:
    """Return an interpreter of the tests' version, and whether every user may run it.

    The tests' own may lie in a closed home; then the system's is as good.
    """
    name = f"python{sysconfig.get_python_version()}"
    own = Path(sys.base_prefix) / "bin" / name
    for program in (own, Path("/usr/bin") / name):
        found = program.resolve()
        if found.is_file() and all(path.stat().st_mode & 0o001 for path in (found, *found.parents)):
            return program, True
    return own, False


def needed(wheel: Path) -> set[str]:
    """Return the distributions that the wheel's metadata asks for, each with what it asks for."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        own = importlib.metadata.PathDistribution(zipfile.Path(archive, f"{Path(name).parent}/"))
        extras = set(own.metadata.get_all("Provides-Extra") or []) - NOT_AT_RUN_TIME
        pending = [(Requirement(text), extras) for text in own.requires or []]
    found: dict[str, set[str]] = {}
    while pending:
        requirement, asked = pending.pop()
        marker = requirement.marker
        if marker and not any(marker.evaluate({"extra": extra}) for extra in ("", *asked)):
            continue
        key = str(canonicalize_name(requirement.name))
        known = found.get(key)
        if known is not None and requirement.extras <= known:
            continue
        found[key] = (known or set()) | requirement.extras
        requires = importlib.metadata.distribution(key).requires or []
        pending += [(Requirement(text), found[key]) for text in requires]
    return set(found)


@pytest.fixture(scope="module")
def installed(room: Path, wheel: Path) -> Path:
    """The console script of the wheel, installed into an environment of its own."""
    environment = room / "environment"
    make = [str(interpreter()[0]), "-I", "-m", "venv", "--without-pip", str(environment)]
    subprocess.run(make, check=True, timeout=BUILD_SECONDS)
    python = environment / "bin" / "python"
    asked = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = Path(subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip())
    for name in needed(wheel):
        for file in importlib.metadata.distribution(name).files or []:
            if ".." not in file.parts and file.suffix != ".pyc":
                link(Path(str(file.locate())), site / file)
                link_compiled(Path(str(file.locate())), site / file)
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    subprocess.run(
        [*command, "--no-deps", "--no-index", str(wheel)], check=True, timeout=BUILD_SECONDS
    )
    return environment / "bin" / "tidewatch"


@pytest.fixture(scope="module")
def user() -> str | None:
    """Who runs the commands: `nobody`, where the tests may become another user."""
    return "nobody" if os.geteuid() == 0 and interpreter()[1] else None


@pytest.fixture(scope="module")
def away(room: Path, user: str | None) -> Path:
    """The home and working folder of the user: nothing of ours is in it."""
    folder = room / "away"
    folder.mkdir()
    give(folder, user)
    return folder


def give(folder: Path, user: str | None) -> None:
    """Let a folder and those in it belong to the user; files may be links, and stay as they are."""
    for path in (folder, *folder.rglob("*")):
        if user is not None and path.is_dir():
            shutil.chown(path, user)


@pytest.fixture(scope="module")
def run(installed: Path, away: Path, user: str | None) -> Run:
    """Run the installed command, with an empty environment."""

    def tidewatch(*words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        bare = ["env", "-i", f"HOME={away}", "PATH=/usr/bin:/bin"]
        done = subprocess.run(
            [*bare, str(installed), *words],
            cwd=away,
            user=user,
            group=None if user is None else pwd.getpwnam(user).pw_gid,
            extra_groups=None if user is None else [],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done

    return tidewatch


def test_it_runs_as_another_user(installed: Path, user: str | None) -> None:
    if user is None:
        pytest.skip("not root, or no interpreter that another user may run")
    done = subprocess.run(
        [str(installed.with_name("python")), "-c", "import os; print(os.geteuid())"],
        user=user,
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) == pwd.getpwnam(user).pw_uid


def test_installed_wheel_is_what_runs(run: Run, installed: Path, wheel: Path) -> None:
    assert run("--version").stdout == f"tidewatch {wheel.name.split('-')[1]}\n"
    where = "import streams; print(streams.__file__)"
    done = subprocess.run(
        [str(installed.with_name("python")), "-c", where],
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(str(installed.parents[1]))


def test_scan(run: Run, away: Path) -> None:
    folder = make_model(away / "model")
    assert "1 clean" in run("scan", str(folder / "model.safetensors")).stdout
    (away / "bad.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    assert "MALICIOUS" in run("scan", "bad.pkl", code=1).stdout
    (away / "requirements.txt").write_text("reqeusts==2.31.0\n")
    assert "TYPOSQUAT" in run("scan", "requirements.txt", code=1).stdout
    report = json.loads(run("scan", ".", "--format", "json", code=1).stdout)
    assert report["summary"]["verdicts"]["incomplete"] == 0, report


def test_verify(run: Run, away: Path) -> None:
    make_model(away / "release")
    out = run("verify", "release", "--format", "json").stdout
    checks = {check["name"]: check["status"] for check in json.loads(out)["checks"]}
    assert checks["format_safety"] == "PASS"
    assert "INCOMPLETE" not in checks.values()


def test_send_checks_events_without_a_broker(run: Run, away: Path) -> None:
    good = orjson.dumps(events.PACKAGE_INSTALL)
    (away / "events.jsonl").write_bytes(good + b"\n")
    assert "read, none sent" in run("send", "--check", "events.jsonl").stdout
    (away / "broken.jsonl").write_bytes(good + b'\n{"specversion": "1.0"}\n')
    assert "broken.jsonl:2" in run("send", "--check", "broken.jsonl", code=2).stderr


def test_schema(run: Run) -> None:
    assert json.loads(run("schema", "iocs").stdout)["title"] == "supplychain.iocs, version 1"


@pytest.mark.kafka
def test_the_demo_on_the_embedded_broker(run: Run, away: Path, user: str | None) -> None:
    jars = jars_dir(away / ".local" / "state" / "tidewatch")
    for jar in provide_jars(jars_dir(), description_dir()):
        link(jar, jars / jar.parent.name / jar.name)
    # what is prepared for this Java once, by every first start of a broker
    for prepared in jars_dir().glob("*.prepared"):
        shutil.copytree(prepared, jars / prepared.name)
    give(away / ".local", user)
    report = json.loads(
        run("up", "--demo", "--port", "0", *("--exit-when-done", "--format", "json")).stdout
    )
    assert {alert["tenant"] for alert in report["alerts"]} == {
        *("acme", "globex", "initech", "northwind", "umbra"),
    }
    assert report["indicators"] > 0
