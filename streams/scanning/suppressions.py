"""Suppresses findings by rule, digest and path, with a reason and an expiry."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

import msgspec

from agents.checks.suppressing import last_day, suppresses
from schemas.components import is_sha256
from schemas.conversion import Converter
from schemas.errors import TidewatchError
from schemas.policy import Suppression
from streams.reports.entries import FileEntry


class SuppressionError(TidewatchError):
    """An invalid suppression."""


class _Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    reason: str
    expires: date
    rule: str | None = None
    digest: str | None = None
    path: str | None = None


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    suppression: tuple[_Entry, ...] = ()


_FILE: Final = Converter(_File)


class Suppressions(msgspec.Struct, frozen=True, kw_only=True):
    """The suppressions that apply today, and descriptions of the expired ones."""

    today: date
    active: tuple[Suppression, ...] = ()
    expired: tuple[str, ...] = ()

    @property
    def need_digests(self) -> bool:
        """Whether one of them names a digest."""
        return any(suppression.digest for suppression in self.active)

    def apply(self, file: FileEntry) -> FileEntry:
        """Return a file with its suppressed findings marked; its verdict does not change."""
        return msgspec.structs.replace(
            file,
            findings=tuple(
                msgspec.structs.replace(finding, suppressed=self._reason(finding.rule_id, file))
                for finding in file.findings
            ),
        )

    def _reason(self, rule_id: str, file: FileEntry) -> str | None:
        return next(
            (
                suppression.reason
                for suppression in self.active
                if suppresses(
                    suppression, rule_id=rule_id, path=file.path, digest=file.sha256, day=self.today
                )
            ),
            None,
        )


def in_force(entries: Iterable[Suppression], today: date) -> Suppressions:
    """Split suppressions into those that apply on a day and those that have expired.

    Args:
        entries: The suppressions; each expires after the day it names.
        today: The day.

    Raises:
        SuppressionError: an expiry that is not a date.
    """
    active, expired = [], []
    for entry in entries:
        end = last_day(entry)
        if end is None:
            raise SuppressionError(
                f"not a date: {entry.expires[:40]!r}", remedy="write it as 2027-01-31"
            )
        if end >= today:
            active.append(entry)
        else:
            named = ", ".join(filter(None, (entry.rule_id, entry.digest, entry.path)))
            expired.append(f"{named} (ended {end})")
    return Suppressions(today=today, active=tuple(active), expired=tuple(expired))


def no_suppressions() -> Suppressions:
    """Return none."""
    return Suppressions(today=datetime.now(UTC).date())


def read_suppressions(path: Path, today: date | None = None) -> Suppressions:
    """Return the suppressions of a TOML file with `[[suppression]]` tables.

    Args:
        path: Each table names `reason` and `expires`, and one or more of `rule`, `digest` (SHA-256)
            and `path` (with `*`).
        today: The day they apply on; today by default.

    Raises:
        SuppressionError: the file can't be read, or a table is incomplete.
    """
    try:
        tables = _FILE(tomllib.loads(path.read_text("utf-8")))
    except OSError as error:
        raise SuppressionError(
            f"can't be read ({error.strerror})", where=str(path), remedy="name an existing file"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise SuppressionError(
            "not a suppressions file",
            where=str(path),
            remedy=f"{error}; each [[suppression]] has reason, expires, and rule, digest or path",
        ) from error
    entries = []
    for entry in tables.suppression:
        if not (entry.rule or entry.digest or entry.path):
            raise SuppressionError(
                "a suppression without a condition",
                where=str(path),
                remedy="name a rule, digest or path",
            )
        if entry.digest is not None and not is_sha256(entry.digest.lower()):
            raise SuppressionError("a digest that is not a SHA-256", where=str(path))
        if not entry.reason.strip():
            raise SuppressionError("a suppression without a reason", where=str(path))
        entries.append(
            Suppression(
                reason=entry.reason,
                expires=entry.expires.isoformat(),
                rule_id=entry.rule,
                digest=entry.digest.lower() if entry.digest else None,
                path=entry.path,
            )
        )
    return in_force(entries, today or datetime.now(UTC).date())
