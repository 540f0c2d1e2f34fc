"""Fetch the broker's jars with Maven from the pinned pom, and check them before every use."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from agents.logs import Logger
from streams.broker.errors import (
    OWN_KAFKA,
    BrokerError,
    JarsUnavailableError,
    NoMavenError,
    TamperedJarError,
    disk_errors,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

log = Logger()

_FETCH_TIMEOUT_S = 900.0
_SHOWN_MAVEN_LINES = 3
_PIN = re.compile(r"([0-9a-f]{64}) [ *]([A-Za-z0-9_.+-]+\.jar)")


def read_pins(description: Path) -> dict[str, str]:
    """Return the pinned SHA-256 (hex) of each jar by file name.

    Args:
        description: The folder with `jars.sha256`.

    Raises:
        BrokerError: A line is not a pin.
    """
    pins: dict[str, str] = {}
    path = description / "jars.sha256"
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        match = _PIN.fullmatch(line)
        if match is None or match.group(2) in pins:
            raise BrokerError(
                "not a pin", where=f"{path}:{number}", remedy="restore the file from the release"
            )
        pins[match.group(2)] = match.group(1)
    return pins


def pins_key(pins: Mapping[str, str]) -> str:
    """Return a short name of a set of jars; each set has a folder of its own."""
    lines = "".join(f"{name} {digest}\n" for name, digest in sorted(pins.items()))
    return hashlib.sha256(lines.encode()).hexdigest()[:12]


def provide_jars(cache: Path, description: Path) -> list[Path]:
    """Return the verified jars of the class path; fetch missing ones.

    Args:
        cache: The folder below which each pinned set has a folder of its own.
        description: The folder with the pom and the pins.

    Raises:
        TamperedJarError: A jar is missing, unknown or different.
        NoMavenError: They must be fetched, and there is no Maven.
        JarsUnavailableError: Maven could not fetch them.
        NoSpaceError: The disk is full.
    """
    pins = read_pins(description)
    folder = cache / pins_key(pins)
    with disk_errors(cache), _only_one(cache):
        if not folder.exists():
            _fetch(folder, description, pins)
    verify_jars(folder, pins)
    return [folder / name for name in sorted(pins)]


def verify_jars(folder: Path, pins: Mapping[str, str]) -> None:
    """Check that `folder` holds exactly the pinned jars with the pinned content.

    Raises:
        TamperedJarError: It does not; the error names the difference.
    """
    present = {path.name for path in folder.iterdir()}
    wrong = [f"{name} is missing" for name in sorted(pins.keys() - present)]
    wrong += [f"{name} is unknown" for name in sorted(present - pins.keys())]
    both = sorted(pins.keys() & present)
    with ThreadPoolExecutor(max_workers=2) as pool:
        digests = pool.map(_digest, (folder / name for name in both))
        wrong += [
            f"{name} is not as pinned"
            for name, digest in zip(both, digests, strict=True)
            if digest != pins[name]
        ]
    if wrong:
        raise TamperedJarError(
            f"the broker's jars are not as pinned: {'; '.join(wrong[:5])}",
            where=str(folder),
            remedy="find out why, then delete that folder; the next start fetches them again",
        )


def _digest(path: Path) -> str:
    """Return the SHA-256 (hex) of a regular file; empty for a link or folder."""
    if path.is_symlink() or not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _only_one(cache: Path) -> Iterator[None]:
    """Lock `cache`, so that one process at a time fetches into it."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch(folder: Path, description: Path, pins: Mapping[str, str]) -> None:
    """Fetch the jars into `folder`, which appears only when all are as pinned."""
    maven = shutil.which("mvn")
    if maven is None:
        raise NoMavenError(
            "the embedded broker's jars must be fetched, and Maven is not installed",
            where="PATH",
            remedy=f"install Maven, copy the jars that {description / 'jars.sha256'} names to "
            f"{folder}, {OWN_KAFKA}",
        )
    log.info("broker_jars_fetching", jars=len(pins), folder=str(folder))
    incoming = Path(tempfile.mkdtemp(prefix="incoming-", dir=folder.parent))
    try:
        _run_maven(maven, description, incoming)
        verify_jars(incoming, pins)
        incoming.rename(folder)
    finally:
        shutil.rmtree(incoming, ignore_errors=True)


def _run_maven(maven: str, description: Path, target: Path) -> None:
    """Copy the pom's jars to `target` with Maven, enforcing its checksums."""
    command = [
        maven,
        "--batch-mode",
        "--strict-checksums",
        "--no-transfer-progress",
        f"--file={description / 'pom.xml'}",
        "dependency:copy-dependencies",
        "-DincludeScope=runtime",
        f"-DoutputDirectory={target}",
    ]
    try:
        done = subprocess.run(  # noqa: S603 -- Maven itself, on our own pom
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_FETCH_TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
            env=os.environ | {"NO_COLOR": "1"},
        )
        failed = done.returncode != 0
        said = done.stdout.splitlines() + done.stderr.splitlines()
    except subprocess.TimeoutExpired:
        failed, said = True, [f"[ERROR] no answer for {_FETCH_TIMEOUT_S:.0f} s"]
    except OSError as error:
        failed, said = True, [f"[ERROR] {error}"]
    if failed:
        errors = [line.removeprefix("[ERROR] ") for line in said if "ERROR" in line]
        raise JarsUnavailableError(
            f"Maven could not fetch the broker's jars: "
            f"{' '.join((errors or said)[:_SHOWN_MAVEN_LINES]).strip() or 'it printed nothing'}",
            where=str(description / "pom.xml"),
            remedy="check the network and Maven's settings (proxy, mirror) and start again, "
            f"{OWN_KAFKA}",
        )
