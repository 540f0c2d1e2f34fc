"""Installs what a lock names and nothing else, by way of a `uv` that is locked itself.

    python locks/installer.py install .venv requirements.lock --project . --editable
    python locks/installer.py uv pip compile locks/bench.in

`install` resolves nothing: the environment becomes exactly the files whose hashes the lock lists,
whatever was released since. What has to be built from source is built by the setuptools of
`installer.lock`. pip installs that lock, and its configuration (indexes, certificates, proxy) is
handed on to uv, which does not read it. It needs a Python with `venv` only.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import os
import shlex
import subprocess
import sys
from pathlib import Path

OLDEST_PYTHON = (3, 11)
LOCK = Path(__file__).resolve().with_name("installer.lock")

# of uv's settings in the environment those that say how to reach files, none that says which
KEPT = (
    "UV_CACHE_DIR",
    "UV_CONCURRENT_",
    "UV_DEFAULT_INDEX",
    "UV_EXTRA_INDEX_URL",
    "UV_FIND_LINKS",
    "UV_HTTP_",
    "UV_INDEX",
    "UV_INSECURE_HOST",
    "UV_KEYRING_PROVIDER",
    "UV_LINK_MODE",
    "UV_NATIVE_TLS",
    "UV_NO_CACHE",
    "UV_OFFLINE",
    "UV_SYSTEM_CERTS",
)
SECTIONS = ("global", "install", ":env:")
"""Where `pip install` takes its options from; the later one wins."""


class InstallError(Exception):
    """The environment could not be made as the lock says."""


def program(environment: Path, name: str) -> Path:
    """Return a program of an environment."""
    return environment / ("Scripts" if os.name == "nt" else "bin") / name


def run(command: list[str | Path], environment: dict[str, str] | None = None) -> None:
    """Run a program; its output goes where ours goes.

    Raises:
        InstallError: It failed.
    """
    try:
        done = subprocess.run(command, env=environment, check=False)  # noqa: S603 -- no shell
    except OSError as error:
        raise InstallError(f"{command[0]} does not start: {error}") from error
    if done.returncode != 0:
        shown = shlex.join(str(word) for word in command[:4])
        raise InstallError(f"{shown} … ended with exit code {done.returncode}")


def make_environment(folder: Path, *options: str) -> None:
    """Make a virtual environment, if there is none that works."""
    python = program(folder, "python")
    if not python.exists():
        run([sys.executable, "-m", "venv", *options, folder])


def ready_installer(folder: Path) -> None:
    """Bring the locked uv, unless it is there."""
    digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    stamp = folder / "installed"
    if stamp.is_file() and stamp.read_text() == digest and program(folder, "uv").exists():
        return
    make_environment(folder)
    command: list[str | Path] = [program(folder, "python"), "-m", "pip", "install", "--quiet"]
    command += ["--disable-pip-version-check", "--no-deps", "--require-hashes"]
    command += ["--only-binary", ":all:", "--requirement", LOCK]
    run(command)
    stamp.write_text(digest)


def pip_options(installer: Path) -> dict[str, str]:
    """Return what pip is configured with for an installation, by option."""
    done = subprocess.run(  # noqa: S603 -- our own pip, no shell
        [program(installer, "python"), "-m", "pip", "config", "list"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise InstallError(f"pip does not read its configuration: {done.stderr.strip()}")
    found: dict[str, dict[str, str]] = {name: {} for name in SECTIONS}
    for line in done.stdout.splitlines():
        key, equals, value = line.partition("=")
        section, _, option = key.rpartition(".")
        if equals and section in found:
            found[section][option.strip("-").replace("_", "-")] = str(ast.literal_eval(value))
    return {option: value for name in SECTIONS for option, value in found[name].items()}


def uv_settings(options: dict[str, str], inherited: dict[str, str]) -> dict[str, str]:
    """Return the environment in which uv reaches what pip reaches.

    Args:
        options: pip's.
        inherited: The environment; what it says to uv itself about indexes stands.
    """
    settings = {
        name: value
        for name, value in inherited.items()
        if not name.startswith("UV_") or name.startswith(KEPT)
    }
    wanted = {
        "UV_DEFAULT_INDEX": options.get("index-url", ""),
        "UV_INDEX": " ".join(options.get("extra-index-url", "").split()),
        "UV_FIND_LINKS": ",".join(options.get("find-links", "").split()),
        "UV_INSECURE_HOST": " ".join(options.get("trusted-host", "").split()),
        "UV_KEYRING_PROVIDER": "subprocess" * (options.get("keyring-provider") == "subprocess"),
        "UV_HTTP_TIMEOUT": options.get("timeout", options.get("default-timeout", "")),
    }
    if "UV_INDEX_URL" in settings:
        del wanted["UV_DEFAULT_INDEX"]
    wanted |= {name: value for name, value in settings.items() if name.startswith("UV_")}
    # these speak to every program; pip's own option is the nearer one
    wanted["SSL_CERT_FILE"] = options.get("cert", "")
    wanted["SSL_CLIENT_CERT"] = options.get("client-cert", "")
    wanted["HTTP_PROXY"] = wanted["HTTPS_PROXY"] = options.get("proxy", "")
    # each file is fixed by its hash: it does not matter which index has it
    wanted["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    # newer pips trust what the system trusts, uv only if told
    wanted.setdefault("UV_SYSTEM_CERTS", "1")
    wanted["UV_PYTHON_DOWNLOADS"] = "never"
    return settings | {name: value for name, value in wanted.items() if value}


def uv_flags(options: dict[str, str]) -> list[str]:
    """Return what uv takes from pip's options on its command line only."""
    no_index = options.get("no-index", "").lower() in {"1", "true", "yes", "on"}
    return ["--no-index"] if no_index else []


def install(
    uv: Path, options: dict[str, str], settings: dict[str, str], arguments: argparse.Namespace
) -> None:
    """Make an environment exactly what a lock says, and install the project into it."""
    make_environment(arguments.environment, "--without-pip")
    python = program(arguments.environment, "python")
    common: list[str | Path] = ["--no-config", "--python", python, *uv_flags(options)]
    # nothing is built but by what the installer's own lock pins
    common += ["--build-constraints", LOCK, "--require-build-hashes"]
    common += ["--compile-bytecode"] if arguments.compile else []
    run([uv, "pip", "sync", "--quiet", "--require-hashes", *common, arguments.lock], settings)
    if arguments.project is not None:
        project = [*(["--editable"] if arguments.editable else []), arguments.project]
        run([uv, "pip", "install", "--quiet", "--no-deps", *common, *project], settings)


def main() -> int:
    """Read the command line and do what it says."""
    if sys.version_info < OLDEST_PYTHON:
        print("Tidewatch needs Python 3.11 or later; name one with: make PYTHON=python3.11")
        return 2
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--installer", type=Path, help="where the locked uv is or goes")
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("install", help="make an environment exactly what a lock says")
    making.add_argument("environment", type=Path)
    making.add_argument("lock", type=Path)
    making.add_argument("--project", type=Path, help="install this folder's project as well")
    making.add_argument("--editable", action="store_true", help="… so that it follows the folder")
    making.add_argument("--compile", action="store_true", help="compile to bytecode ahead")
    running = commands.add_parser("uv", help="run the locked uv as pip is configured")
    running.add_argument("arguments", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    installer = arguments.installer or Path(".venv") / "installer"
    try:
        ready_installer(installer)
        uv = program(installer, "uv")
        options = pip_options(installer)
        settings = uv_settings(options, dict(os.environ))
        if arguments.command == "uv":
            run([uv, *arguments.arguments, *uv_flags(options)], settings)
        else:
            install(uv, options, settings, arguments)
    except InstallError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
