"""What is in a lock is what is installed, whatever an index offers besides."""

from __future__ import annotations

import functools
import hashlib
import http.server
import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.wheels import write_wheel

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_SECONDS = 240


class Index(NamedTuple):
    """An index on this machine and what was asked of it."""

    folder: Path
    url: str
    asked: list[str]

    def of(self, name: str) -> Path:
        """The folder of a package."""
        folder = self.folder / "simple" / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    """Serve folders as a simple index: a listing of links is all that it takes."""
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_arguments: object) -> None:
            asked.append(self.path)

    folder = tmp_path / "index"
    folder.mkdir()
    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield Index(folder, f"http://127.0.0.1:{server.server_address[1]}/simple", asked)
        server.shutdown()
        thread.join()


def wheel_of_installed(name: str, folder: Path) -> tuple[str, str]:
    """Pack an installed package as a wheel again; return its version and the wheel's SHA-256."""
    package = distribution(name)
    info = f"{name}-{package.version}.dist-info"
    tag = next(
        line.partition(":")[2].strip()
        for line in (package.read_text("WHEEL") or "").splitlines()
        if line.startswith("Tag:")
    )
    path = folder / f"{name}-{package.version}-{tag}.whl"
    record = []
    with zipfile.ZipFile(path, "w") as wheel:
        for file in package.files or ():
            inside = str(file)
            if "__pycache__" in inside or file.name in {"RECORD", "INSTALLER", "REQUESTED"}:
                continue
            if inside.startswith(".."):
                inside = f"{name}-{package.version}.data/scripts/{file.name}"
            wheel.write(Path(str(package.locate_file(file))), inside)
            record.append(f"{inside},,\n")
        wheel.writestr(f"{info}/RECORD", "".join([*record, f"{info}/RECORD,,\n"]))
    return package.version, hashlib.sha256(path.read_bytes()).hexdigest()


def write_source(folder: Path, name: str, version: str) -> str:
    """Write a source distribution; return its SHA-256."""
    project = folder.parent.parent / f"{name}-{version}"
    project.mkdir()
    (project / "PKG-INFO").write_text(f"Metadata-Version: 1.0\nName: {name}\nVersion: {version}\n")
    (project / "setup.py").write_text(
        f"from setuptools import setup\nsetup(name={name!r}, version={version!r}, py_modules=[])\n"
    )
    path = folder / f"{project.name}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(project, project.name)
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Project(NamedTuple):
    """A project that is installed as this one is."""

    folder: Path
    environment: dict[str, str]

    def make(self, target: str) -> subprocess.CompletedProcess[str]:
        """Run a target of the Makefile."""
        return subprocess.run(
            ["make", target, f"PYTHON={Path(sys.base_prefix) / 'bin' / 'python3'}"],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_SECONDS,
        )

    def installed(self, environment: str) -> set[str]:
        """The packages of an environment."""
        found = (self.folder / environment).glob("lib/python*/site-packages/*.dist-info")
        return {path.name.removesuffix(".dist-info") for path in found}


@pytest.fixture
def project(tmp_path: Path, index: Index) -> Project:
    """The Makefile and the installer of this repository with a small project and small locks."""
    hashes = {
        "top": write_wheel(index.of("top"), "top", "1.0", requires=["middle[mail]<3,>=2"]),
        "low": write_wheel(index.of("low"), "low", "1.0"),
        "middle": write_wheel(
            index.of("middle"), "middle", "2.0", requires=['low; extra == "mail"'], extras=["mail"]
        ),
        "source": write_source(index.of("source"), "source", "1.0"),
    }
    setuptools, hashes["setuptools"] = wheel_of_installed("setuptools", index.of("setuptools"))
    uv, hashes["uv"] = wheel_of_installed("uv", index.of("uv"))
    for name, version in (("top", "1.1"), ("middle", "2.1"), ("low", "1.1"), ("low", "0.9")):
        write_wheel(index.of(name), name, version, requires=["low"] if name != "low" else ())
    for name in ("source", "setuptools", "uv"):
        write_wheel(index.of(name), name, "999.0")

    folder = tmp_path / "a folder with spaces"
    (folder / "locks").mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", folder)
    shutil.copy(ROOT / "locks/installer.py", folder / "locks")
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "small"\nversion = "7.0"\ndependencies = ["top"]\n'
        '[tool.setuptools]\npackages = ["small"]\n'
    )
    (folder / "small").mkdir()
    (folder / "small/__init__.py").touch()

    def lock(name: str, *packages: str) -> None:
        names = [package.partition("==")[0].partition("[")[0] for package in packages]
        lines = zip(packages, names, strict=True)
        (folder / name).write_text(
            "".join(f"{package} \\\n    --hash=sha256:{hashes[name]}\n" for package, name in lines)
        )

    local = ("low==1.0", "middle[mail]==2.0", "top==1.0")
    lock("locks/installer.lock", f"setuptools=={setuptools}", f"uv=={uv}")
    lock("locks/local.lock", *local)
    lock("requirements-dev.lock", *local, "source==1.0")
    lock("locks/bench.lock", "middle==2.0", "source==1.0")

    configuration = tmp_path / "pip.conf"
    configuration.write_text(f"[global]\nindex-url = {index.url}\n")
    environment = {
        "HOME": str(tmp_path / "home"),
        "PATH": os.environ["PATH"],
        "PIP_CONFIG_FILE": str(configuration),
        "UV_CACHE_DIR": str(tmp_path / "cache"),
    }
    return Project(folder, environment)


LOCAL = {"low-1.0", "middle-2.0", "top-1.0", "small-7.0"}


def test_locked_versions_are_installed_over_newer_ones(project: Project, index: Index) -> None:
    for target in ("setup-dev", ".venv/bench.stamp"):
        done = project.make(target)
        assert done.returncode == 0, done.stdout + done.stderr
    assert project.installed(".venv") == LOCAL | {"source-1.0"}
    assert project.installed(".venv/bench") == {"middle-2.0", "source-1.0"}
    # it follows the folder, and nothing else was so much as read
    works = "import small, top; print(small.__file__, top.VERSION)"
    python = project.folder / ".venv/bin/python"
    said = subprocess.run([python, "-c", works], capture_output=True, text=True, check=True).stdout
    assert said == f"{project.folder / 'small/__init__.py'} 1.0\n"
    files = {path.rpartition("/")[2] for path in index.asked if not path.endswith("/")}
    assert {"top-1.0-py3-none-any.whl", "source-1.0.tar.gz"} <= files
    newer = ("1.1", "2.1", "0.9", "999.0")
    assert [name for name in files if name.partition("-")[2].startswith(newer)] == []

    # what another role needs goes when the role changes
    (project.folder / "locks/local.lock").touch()
    done = project.make("setup")
    assert done.returncode == 0, done.stdout + done.stderr
    assert project.installed(".venv") == LOCAL


def test_a_file_that_is_not_the_locked_one_is_not_installed(project: Project, index: Index) -> None:
    write_wheel(index.of("low"), "low", "1.0", requires=["top"])
    done = project.make("setup")
    assert done.returncode != 0
    assert "hash" in (done.stdout + done.stderr).lower()
    assert project.installed(".venv") == set()
    assert not (project.folder / ".venv/run.stamp").exists()


SPEC = importlib.util.spec_from_file_location("installer", ROOT / "locks/installer.py")
assert SPEC is not None
assert SPEC.loader is not None
installer = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(installer)


def test_uv_reaches_what_pip_reaches() -> None:
    settings = installer.uv_settings(
        {
            "index-url": "https://index.example/simple",
            "extra-index-url": "https://one.example/simple\nhttps://two.example/simple",
            "find-links": "/wheels https://links.example",
            "trusted-host": "one.example",
            "cert": "/ca.pem",
            "proxy": "http://proxy.example:3128",
            "timeout": "60",
        },
        {"PATH": "/bin", "SSL_CERT_FILE": "/other.pem"},
    )
    assert settings == {
        "PATH": "/bin",
        "UV_DEFAULT_INDEX": "https://index.example/simple",
        "UV_INDEX": "https://one.example/simple https://two.example/simple",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_FIND_LINKS": "/wheels,https://links.example",
        "UV_INSECURE_HOST": "one.example",
        "UV_HTTP_TIMEOUT": "60",
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_SYSTEM_CERTS": "1",
        "SSL_CERT_FILE": "/ca.pem",
        "HTTP_PROXY": "http://proxy.example:3128",
        "HTTPS_PROXY": "http://proxy.example:3128",
    }
    assert installer.uv_flags({"no-index": "true"}) == ["--no-index"]
    assert installer.uv_flags({}) == []


def test_uv_is_given_how_to_reach_files_and_never_which() -> None:
    said = {
        "UV_DEFAULT_INDEX": "https://mine.example/simple",
        "UV_CACHE_DIR": "/cache",
        "UV_NO_VERIFY_HASHES": "1",
        "UV_OVERRIDE": "other.txt",
        "UV_EXCLUDE_NEWER": "2020-01-01",
    }
    settings = installer.uv_settings({"index-url": "https://index.example/simple"}, said)
    assert settings["UV_DEFAULT_INDEX"] == "https://mine.example/simple"
    assert settings["UV_CACHE_DIR"] == "/cache"
    assert set(said) & set(settings) == {"UV_DEFAULT_INDEX", "UV_CACHE_DIR"}


def test_index_precedence_is_that_of_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configuration = tmp_path / "pip.conf"
    configuration.write_text(
        "[global]\nindex-url = https://global.example\ntimeout = 5\n"
        "[install]\nindex-url = https://install.example\n[download]\ncert = /no.pem\n"
    )
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(configuration))
    monkeypatch.setenv("PIP_TIMEOUT", "7")
    monkeypatch.setenv("PIP_FIND_LINKS", "/a /b")
    options = installer.pip_options(Path(sys.prefix))
    assert options["index-url"] == "https://install.example"
    assert options["timeout"] == "7"
    assert options["find-links"] == "/a /b"
