"""`tidewatch lock`: lock requirements with hashes, then read the lock back and check it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from agents.checks.packages.closure import open_ends
from agents.checks.packages.requirements import Requirements, read_requirements
from agents.checks.packages.requirements_text import decode_requirements
from schemas.counting import counted
from schemas.errors import TidewatchError, install_extra
from streams.cli.frame import example, new_app
from streams.cli.output import Format, FormatOption, plain, print_json, print_line, write_raw

app = new_app("Lock requirements with hashes.")

TIMEOUT_SECONDS = 600
_STRONG = ("sha256:", "sha384:", "sha512:")


class LockError(TidewatchError):
    """Requirements that could not be locked, or an incomplete lock."""


def lock_problems(lock: Requirements) -> list[str]:
    """Return the missing pins or hashes that leave a lock open."""
    problems = [f"line {line.line}: {line.error}" for line in lock.lines if line.error]
    wanted = [line for line in lock.lines if line.is_requirement]
    problems += [f"{line.name or line.url} is not pinned" for line in wanted if not line.pinned]
    problems += [
        f"{line.name or line.url} has no hash"
        for line in wanted
        if line.vcs is None and not any(text.startswith(_STRONG) for text in line.hashes)
    ]
    if not wanted:
        problems.append("nothing is locked")
    if lock.cut:
        problems.append("it is longer than the limit")
    return problems


def make_lock(
    requirements: Path, *, index_url: str | None, python_version: str | None, offline: bool
) -> str:
    """Return a lock with hashes for a requirements file, made by uv.

    Args:
        requirements: The file.
        index_url: The index to resolve from; uv's own configuration by default.
        python_version: The target's version.
        offline: Use only what uv has in its cache.

    Raises:
        LockError: uv is not installed, took too long, or can't resolve them.
    """
    command = ["--generate-hashes"]
    command += ["--index-url", index_url] if index_url else []
    command += ["--python-version", python_version] if python_version else []
    command += ["--offline"] if offline else []
    done = _compile(requirements, *command)
    if done.returncode != 0:
        raise LockError(
            f"uv can't resolve it: {_reason(done)}",
            where=str(requirements),
            remedy="correct the requirements, or name the index with --index-url",
        )
    return done.stdout


def closure_problems(
    file: Path,
    lock: Requirements,
    *,
    index_url: str | None,
    python_version: str | None,
    offline: bool,
    build: bool = False,
) -> list[str]:
    """Return the requirements that a lock leaves unresolved until installation.

    Packages are read from the metadata that an index serves.

    Args:
        file: The lock, read by uv.
        lock: The same, as pip reads it.
        index_url: The index to look packages up in; uv's own configuration by default.
        python_version: The target's version; default: the running one.
        offline: Use only what uv has in its cache.
        build: Build packages that have no wheel, which runs their code, to know their requirements.

    Raises:
        LockError: uv is not installed, took too long, or can't look a package up.
    """
    command = ["--annotation-style", "line"]
    command += [] if build else ["--no-build"]
    command += ["--index-url", index_url] if index_url else []
    command += ["--python-version", python_version] if python_version else []
    command += ["--offline"] if offline else []
    done = _compile(file, *command)
    if done.returncode == 0:
        return [f"{end}: {_AGAIN}" for end in open_ends(lock, done.stdout)]
    reason = _reason(done)
    if _CONTRADICTION in reason and not any(text in reason for text in _NOT_LOOKED_UP):
        return [f"the locked versions conflict ({reason}): {_AGAIN}"]
    raise LockError(
        f"uv can't look up the requirements of the locked packages: {reason}",
        where=str(file),
        remedy="build what has no wheel, which runs its code, with --build"
        if "(i.e., with `--no-build`)" in reason
        else "name the index that has them with --index-url",
    )


def _whole(locked: int, *, closed: bool) -> str:
    packages = f"{counted(locked, 'package')}, pinned and hashed"
    return f"{packages}; nothing is left to resolve" if closed else packages


_AGAIN = "lock the requirements again with: tidewatch lock"
_CONTRADICTION = "we can conclude that your requirements are unsatisfiable"
_NOT_LOOKED_UP = ("not found", "no version", "no wheels", "be downloaded", "network", "no-build")
"""What uv reports when it lacks the metadata of a package."""


def _compile(file: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Have uv resolve a file for this interpreter; its output names extras.

    Raises:
        LockError: uv is not installed, or took too long.
    """
    try:
        from uv import find_uv_bin  # noqa: PLC0415 -- an extra, needed by this command only
    except ModuleNotFoundError as error:
        raise LockError(
            "uv, which resolves requirements, is not installed",
            where="tidewatch lock",
            remedy=install_extra("lock"),
        ) from error

    command = [find_uv_bin(), "pip", "compile", "--no-strip-extras", "--no-header", "--quiet"]
    command += [*options, "--python", sys.executable, "--", str(file)]
    try:
        return subprocess.run(  # noqa: S603 -- our own uv, no shell
            command,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
            env={**os.environ, "NO_COLOR": "1"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LockError(f"uv did not finish ({error})", where=str(file)) from error


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    return " ".join(done.stderr.split())[:500]


@app.command(epilog=example("tidewatch lock requirements.in -o requirements.txt"))
def lock(
    requirements: Annotated[Path, typer.Argument(help="the requirements")],
    *,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="write the lock here")
    ] = None,
    index_url: Annotated[str | None, typer.Option(help="resolve from this index")] = None,
    python_version: Annotated[str | None, typer.Option(help="the target's Python, as 3.11")] = None,
    offline: Annotated[bool, typer.Option("--offline", help="only from uv's cache")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="only check that the file is a whole, closed lock")
    ] = False,
    build: Annotated[
        bool,
        typer.Option(
            "--build", help="with --check: build packages without a wheel (runs their code)"
        ),
    ] = False,
    form: FormatOption = Format.TEXT,
) -> None:
    """Lock requirements: every package at one version, every file by its hash.

    Before it is written, the lock is read again as pip reads it. With --check, REQUIREMENTS itself
    is checked: exit code 1 if an entry is not pinned, has no hash, or requires a package or extra
    that the lock does not list.
    """
    if not requirements.is_file():
        raise LockError("no such file", where=str(requirements), remedy="name a requirements file")
    if check:
        text = decode_requirements(requirements.read_bytes())
    else:
        text = make_lock(
            requirements, index_url=index_url, python_version=python_version, offline=offline
        )
    parsed = read_requirements(text, file=str(output or requirements))
    problems = lock_problems(parsed)
    if check and not problems:
        problems = closure_problems(
            requirements,
            parsed,
            index_url=index_url,
            python_version=python_version,
            offline=offline,
            build=build,
        )
    locked = sum(line.is_requirement for line in parsed.lines)
    if problems and not check:
        raise LockError(f"the lock is incomplete: {problems[0]}", where=str(requirements))
    if output is not None and not check:
        output.write_text(text, encoding="utf-8")
    if form is Format.JSON:
        print_json({"locked": locked, "problems": problems, "output": str(output or "")})
    elif check or output is not None:
        for problem in problems[:50] or [_whole(locked, closed=check)]:
            print_line(plain(problem, 300))
    else:
        write_raw(text.encode())
    if problems:
        raise typer.Exit(1)
