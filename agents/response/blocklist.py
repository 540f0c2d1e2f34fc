"""Write blocklist and pip constraint files: the blocked values, and the commands that require them.

Each value is a separate line, as loaders and pip read it. Comment lines before it name the commands
that added it: the value is removed when the last of them is undone. Lines that people wrote are
never changed.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

from agents.response.action_context import ActionContext
from agents.response.config import BlocklistConfig
from agents.response.durable import STAGING, write_whole
from agents.response.outcome import BAD, OK, UNSUPPORTED, CommandOutcome, NotCarriedOutError
from schemas.cloudevents import format_time
from schemas.components import ComponentKind, InvalidComponentError, canonical_package, split_key
from schemas.incidents.commands import CommandSpec

MARK: Final = "# tidewatch "
MAX_BYTES: Final = 16 * 1024 * 1024
HUB: Final = "huggingface/"
"""Prefix dropped from models of the hub: loaders name them `org/model`."""
_VALUE: Final = re.compile(r"[^\s#\x00-\x1f\x7f][^\s\x00-\x1f\x7f]{0,600}")
_VERSION: Final = re.compile(r"[A-Za-z0-9.!+_-]{1,100}")
_PACKAGE: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,198}[a-z0-9])?")


def block(context: ActionContext) -> CommandOutcome:
    """Add a command's target to its blocklist or constraint file, once.

    Raises:
        NotCarriedOutError: No such file is configured, or the target can't be written as a line.
        OSError: The file can't be written.
    """
    path, value = _line(context.spec.target, context.site.blocklist)
    if context.spec.dry_run:
        return _answer("would be blocked", path, value)
    note = _note(context.spec, context.begun)
    with _exclusive(path):
        lines = _read(path)
        kept = added(lines, value, note, context.spec.command_id)
        _write(path, lines, kept)
    changed = any(_names(line, context.spec.command_id) for line in kept)
    text = "blocked" if changed else "blocked already by a person"
    return _answer(text, path, value, changed=changed)


def unblock(context: ActionContext) -> CommandOutcome:
    """Undo a block; the value stays while another command names it.

    Raises:
        NotCarriedOutError: No such file is configured.
        OSError: The file can't be written.
    """
    path, value = _line(context.spec.target, context.site.blocklist)
    if context.spec.dry_run:
        return _answer("would be unblocked", path, value)
    with _exclusive(path):
        lines = _read(path)
        kept = removed(lines, value, context.spec.undoes or "")
        _write(path, lines, kept)
    still = value in kept
    return _answer("still blocked for another reason" if still else "unblocked", path, value)


def added(lines: list[str], value: str, note: str, command_id: str) -> list[str]:
    """Return the lines with a value and its note; unchanged if this command already added it."""
    if value not in lines:
        return [*lines, note, value]
    at = lines.index(value)
    if any(_names(line, command_id) for line in _notes_before(lines, at)):
        return lines
    if not _notes_before(lines, at):
        # a line that a person wrote stays as it is
        return lines
    return [*lines[:at], note, *lines[at:]]


def removed(lines: list[str], value: str, command_id: str) -> list[str]:
    """Return the lines without a command's note, and without the value if no note remains."""
    if value not in lines:
        return lines
    at = lines.index(value)
    notes = _notes_before(lines, at)
    others = [line for line in notes if not _names(line, command_id)]
    if len(others) == len(notes):
        return lines
    return [*lines[: at - len(notes)], *others, *lines[at + (not others) :]]


def constraint(name: str, version: str | None) -> str:
    """Return the pip constraint that excludes a package.

    Args:
        name: The package.
        version: The version to exclude; None excludes all, since no version is less than 0.

    Raises:
        NotCarriedOutError: Not a package name or version.
    """
    name = canonical_package(name)
    if not _PACKAGE.fullmatch(name) or (version is not None and not _VERSION.fullmatch(version)):
        raise NotCarriedOutError(BAD, "not a package name and version", where=name[:80])
    return f"{name}<0" if version is None else f"{name}!={version}"


def _line(target: str, config: BlocklistConfig | None) -> tuple[Path, str]:
    """Return the file for a target, and the line that blocks it."""
    try:
        kind, name = split_key(target)
    except InvalidComponentError as error:
        raise NotCarriedOutError(BAD, error.what) from error
    path: Path | None = None
    if kind == ComponentKind.PYPI:
        package, _, version = name.partition("@")
        path = config.constraints if config else None
        value = constraint(package, version or None)
    else:
        path = config.sources if config else None
        if kind == ComponentKind.MODEL:
            value = name.removeprefix(HUB)
        elif kind == ComponentKind.PUBLISHER:
            value = f"{name.removeprefix(HUB)}/*"
        else:
            value = f"{kind}:{name}"
    if path is None:
        raise NotCarriedOutError(
            UNSUPPORTED, f"no file is configured in which a {kind} is blocked", where=target[:200]
        )
    if not _VALUE.fullmatch(value):
        raise NotCarriedOutError(BAD, "it can't be written as one line", where=ascii(value[:80]))
    return path, value


def _answer(text: str, path: Path, value: str, **more: bool) -> CommandOutcome:
    results = {"file": str(path), "line": value, **more}
    return CommandOutcome(status=OK, status_text=text, results=results)


def _note(spec: CommandSpec, at: datetime) -> str:
    # For a hold, the command names whichever of its incidents was first.
    text = spec.reason if spec.hold else f"{spec.incident} {spec.reason}"
    shown = "".join(char if char.isprintable() else " " for char in text)
    return f"{MARK}{spec.command_id} {format_time(at)} {shown[:300]}"


def _names(line: str, command_id: str) -> bool:
    return line.startswith(f"{MARK}{command_id} ")


def _notes_before(lines: list[str], at: int) -> list[str]:
    start = at
    while start > 0 and lines[start - 1].startswith(MARK):
        start -= 1
    return lines[start:at]


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    """Lock the file against other responders; the lock ends with the process."""
    handle = os.open(
        path.with_name(f"{STAGING}{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600
    )
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _read(path: Path) -> list[str]:
    try:
        with path.open("rb") as opened:
            raw = opened.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return []
    if len(raw) > MAX_BYTES:
        raise NotCarriedOutError(BAD, f"larger than {MAX_BYTES} bytes", where=str(path))
    lines = raw.decode("utf-8", "surrogateescape").split("\n")
    return lines if lines[-1] else lines[:-1]


def _write(path: Path, before: list[str], after: list[str]) -> None:
    if after != before:
        text = "".join(f"{line}\n" for line in after)
        write_whole(path, text.encode("utf-8", "surrogateescape"), mode=0o644)
