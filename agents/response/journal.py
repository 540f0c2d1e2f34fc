"""The journal of a responder: outcomes and notes of commands in SQLite, synced on every write."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from agents.response.durable import make_folder
from agents.response.outcome import OK, CommandOutcome
from schemas.errors import TidewatchError

_OUTCOMES: Final = msgspec.json.Decoder(CommandOutcome)

KEPT: Final = timedelta(days=400)
"""How long outcomes are kept: far longer than a command can be replayed."""
MAX_HELD: Final = 10_000
GENERATION: Final = "generation"
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS answers (
    command_id TEXT, attempt INTEGER, at TEXT, dry_run INTEGER, status INTEGER, outcome BLOB,
    PRIMARY KEY (command_id, attempt)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS notes (
    command_id TEXT, name TEXT, value TEXT, at TEXT,
    PRIMARY KEY (command_id, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS held (
    command_id TEXT, attempt INTEGER, command BLOB,
    PRIMARY KEY (command_id, attempt)) WITHOUT ROWID;
"""


class JournalError(TidewatchError):
    """A journal that can't be used."""


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of a command and its time."""

    at: datetime
    outcome: CommandOutcome
    dry_run: bool


class ResponseJournal:
    """The journal of one responder, used by one process at a time."""

    def __init__(self, path: Path, now: datetime) -> None:
        """Open or create the journal, and delete entries older than `KEPT`.

        Args:
            path: Its file.
            now: The current time.

        Raises:
            JournalError: The journal can't be opened or written.
        """
        try:
            make_folder(path.parent)
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(_TABLES)
            for table in ("answers", "notes"):
                self._db.execute(
                    f"DELETE FROM {table} WHERE at < ?",  # noqa: S608 -- two constant names
                    ((now - KEPT).isoformat(),),
                )
        except (sqlite3.Error, OSError) as error:
            raise JournalError(
                f"the journal can't be used ({error})",
                where=str(path),
                remedy="let this user write its folder; on a damaged file restore a copy",
            ) from error

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def answer(self, command_id: str, attempt: int) -> Answered | None:
        """Return the outcome of an attempt, or None if it has none yet."""
        row = self._db.execute(
            "SELECT at, outcome, dry_run FROM answers WHERE command_id = ? AND attempt = ?",
            (command_id, attempt),
        ).fetchone()
        return _answered(row) if row else None

    def success(self, command_id: str) -> Answered | None:
        """Return the outcome of the successful attempt, or None."""
        row = self._db.execute(
            "SELECT at, outcome, dry_run FROM answers WHERE command_id = ? AND status = ?"
            " ORDER BY attempt LIMIT 1",
            (command_id, OK),
        ).fetchone()
        return _answered(row) if row else None

    def failed(self, command_id: str, attempt: int) -> bool:
        """Return whether the command was refused or failed at `attempt` or a later one."""
        row = self._db.execute(
            "SELECT 1 FROM answers WHERE command_id = ? AND attempt >= ? AND status <> ?",
            (command_id, attempt, OK),
        ).fetchone()
        return row is not None

    def finish(
        self, command_id: str, attempt: int, outcome: CommandOutcome, at: datetime, *, dry_run: bool
    ) -> Answered:
        """Record an outcome; the first of an attempt stays. Return the one recorded."""
        self._db.execute(
            "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?, ?)",
            (
                command_id,
                attempt,
                at.astimezone(UTC).isoformat(),
                int(dry_run),
                outcome.status,
                msgspec.json.encode(outcome),
            ),
        )
        kept = self.answer(command_id, attempt)
        assert kept is not None
        return kept

    def note(self, command_id: str, name: str) -> str | None:
        """Return the note of a command by name, or None."""
        row = self._db.execute(
            "SELECT value FROM notes WHERE command_id = ? AND name = ?", (command_id, name)
        ).fetchone()
        return str(row[0]) if row else None

    def keep(self, command_id: str, name: str, value: str, at: datetime) -> str:
        """Keep a note of a command; the first value stays. Return the value kept."""
        self._db.execute(
            "INSERT OR IGNORE INTO notes VALUES (?, ?, ?, ?)",
            (command_id, name, value, at.astimezone(UTC).isoformat()),
        )
        kept = self.note(command_id, name)
        assert kept is not None
        return kept

    def generation(self, thing: str) -> int:
        """Return the latest generation of started commands about a thing; 0 by default."""
        return int(self.note(thing, GENERATION) or 0)

    def reach(self, thing: str, generation: int, at: datetime) -> None:
        """Record the start of a generation's command; older generations are obsolete."""
        self._db.execute(
            "INSERT INTO notes VALUES (?, ?, ?, ?) ON CONFLICT (command_id, name) DO UPDATE SET"
            " value = max(CAST(value AS INTEGER), CAST(excluded.value AS INTEGER)),"
            " at = excluded.at",
            (thing, GENERATION, str(generation), at.astimezone(UTC).isoformat()),
        )

    def hold(self, command_id: str, attempt: int, command: bytes) -> bool:
        """Hold a command that waits for others; return False if `MAX_HELD` already wait."""
        if self.waiting() >= MAX_HELD:
            return False
        self._db.execute(
            "INSERT OR IGNORE INTO held VALUES (?, ?, ?)", (command_id, attempt, command)
        )
        return True

    def waiting(self) -> int:
        """Return the number of held commands."""
        return int(self._db.execute("SELECT count(*) FROM held").fetchone()[0])

    def held(self) -> list[bytes]:
        """Return the held commands as they were received."""
        rows = self._db.execute("SELECT command FROM held ORDER BY attempt, command_id")
        return [bytes(row[0]) for row in rows.fetchall()]

    def release(self, command_id: str, attempt: int) -> None:
        """Delete a held command: its outcome is delivered."""
        self._db.execute(
            "DELETE FROM held WHERE command_id = ? AND attempt = ?", (command_id, attempt)
        )


def _answered(row: tuple[str, bytes, int]) -> Answered:
    return Answered(
        at=datetime.fromisoformat(row[0]),
        outcome=_OUTCOMES.decode(row[1]),
        dry_run=bool(row[2]),
    )
