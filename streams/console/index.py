"""Keeps the index of the console: rows of the topics in SQLite, with the offsets they came from."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from agents.logs import Logger
from schemas.errors import TidewatchError
from streams.console.rows import (
    CaseRow,
    Change,
    ComponentRow,
    Gone,
    Row,
)
from streams.console.tables import LAYOUT, PARTS, TABLES, RowLimits, RowStorage, ddl
from streams.private_files import private_folder

log = Logger()

Position = tuple[str, int]
"""A topic and a partition."""
_BUSY_MS: Final = 10_000
_CACHE_KIB: Final = 32 * 1024
_TRIM_EVERY: Final = 1.05
"""A table is trimmed once it exceeds its limit by this factor."""


class ConsoleIndexError(TidewatchError):
    """The index can't be used."""


class IndexInUseError(ConsoleIndexError):
    """Another console keeps this index."""


class Index:
    """The index of one console: one writer, any number of readers."""

    def __init__(self, folder: Path, limits: RowLimits | None = None) -> None:
        """Open the index of a folder, or make it.

        Args:
            folder: A private folder of its own.
            limits: How much is kept.

        Raises:
            ConsoleIndexError: The folder or file can't be used.
        """
        self.limits = limits or RowLimits()
        self.path = folder / "index.sqlite"
        self.revisions: dict[str, int] = {}
        """The number of changes of each tenant since the start."""
        self._counts: dict[tuple[str, str], int] = {}
        self._lock = threading.Lock()
        self._local = threading.local()
        self._readers: list[sqlite3.Connection] = []
        try:
            private_folder(folder)
            self._held = _held(folder / "index.lock")
            self._writer = self._opened()
        except (OSError, sqlite3.Error) as error:
            raise ConsoleIndexError(
                f"the console's index can't be used ({error})",
                where=str(self.path),
                remedy="make the folder writable, and check whether the disk is full",
            ) from error

    def _opened(self) -> sqlite3.Connection:
        """Return a connection to an index of today's layout."""
        try:
            connection = self._connect()
            if _layout(connection) == LAYOUT:
                return connection
        except sqlite3.DatabaseError as error:
            # not a database, or a damaged one: the topics have its content
            log.warning("console-index-damaged", error=str(error))
        self._delete()
        connection = self._connect()
        for statement in ddl():
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {LAYOUT}")
        connection.commit()
        return connection

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=_BUSY_MS / 1000, check_same_thread=False, cached_statements=512
        )
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _delete(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)

    def begin(self, origin: str) -> dict[Position, int]:
        """Return the offset from which each partition is to be read.

        Args:
            origin: The cluster and the topics' prefix. An index of another one is emptied.
        """
        with self._lock:
            noted = self._note("origin")
            if noted != origin:
                if noted is not None:
                    log.warning("console-index-rebuilt", reason="another cluster")
                self._empty()
                self._set_note("origin", origin)
                self._writer.commit()
            self._recount()
            rows = self._writer.execute("SELECT topic, number, next FROM offsets")
            return {(topic, number): following for topic, number, following in rows}

    def rebuild(self, reason: str) -> None:
        """Delete everything: it will be read again."""
        log.warning("console-index-rebuilt", reason=reason)
        with self._lock:
            origin = self._note("origin")
            self._empty()
            if origin is not None:
                self._set_note("origin", origin)
            self._writer.commit()
            self._recount()

    def fed(self) -> int | None:
        """Return when the index was fed last, milliseconds since the epoch; None: never."""
        with self._lock:
            noted = self._note("fed")
        return None if noted is None else int(noted)

    def touch(self, now_ms: int) -> None:
        """Note that the index is being fed."""
        with self._lock, self._writer:
            self._set_note("fed", now_ms)

    def _empty(self) -> None:
        for table in TABLES.values():
            self._writer.execute(f"DELETE FROM {table.name}")
            for beside in table.beside():
                self._writer.execute(f"DELETE FROM {beside}")
        for name in (*PARTS, "offsets", "notes"):
            self._writer.execute(f"DELETE FROM {name}")

    def _note(self, name: str) -> str | None:
        found = self._writer.execute("SELECT value FROM notes WHERE name = ?", (name,)).fetchone()
        return None if found is None else str(found[0])

    def _set_note(self, name: str, value: object) -> None:
        self._writer.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", (name, str(value)))

    def _recount(self) -> None:
        self._counts = {}
        for table in TABLES.values():
            if table.limit:
                rows = self._writer.execute(
                    f"SELECT tenant, count(*) FROM {table.name} GROUP BY tenant"
                )
                self._counts.update({(table.name, tenant): count for tenant, count in rows})

    def apply(
        self, changes: Iterable[Change], offsets: Mapping[Position, int], unreadable: int = 0
    ) -> None:
        """Apply changes and store their offsets, both or neither.

        Args:
            changes: In the order of their records.
            offsets: The next offset to read, by partition.
            unreadable: How many records were not understood.

        Raises:
            ConsoleIndexError: It can't be written.
        """
        touched: set[str] = set()
        try:
            with self._lock, self._writer:
                for change in changes:
                    touched.add(change.tenant)
                    if isinstance(change, Gone):
                        self._remove(change)
                    else:
                        self._put(change)
                self._trim(touched)
                self._writer.executemany(
                    "INSERT OR REPLACE INTO offsets VALUES (?, ?, ?)",
                    [(topic, number, offset) for (topic, number), offset in offsets.items()],
                )
                if unreadable:
                    noted = int(self._note("unreadable") or 0)
                    self._set_note("unreadable", noted + unreadable)
        except sqlite3.Error as error:
            raise ConsoleIndexError(
                f"the console's index can't be written ({error})",
                where=str(self.path),
                remedy="check whether the disk is full; delete the file to rebuild it",
            ) from error
        for tenant in touched:
            self.revisions[tenant] = self.revisions.get(tenant, 0) + 1

    def _put(self, row: Row) -> None:
        table = TABLES[type(row)]
        writer = self._writer
        known = self._row_of(table, tuple(getattr(row, name) for name in table.key))
        values = [getattr(row, name) for name in table.columns]
        (number,) = writer.execute(table.insert(), values).fetchone()
        if known is None and table.limit:
            counted = (table.name, row.tenant)
            self._counts[counted] = self._counts.get(counted, 0) + 1
        if table.body:
            body = getattr(row, "body", b"")
            writer.execute(
                f"INSERT OR REPLACE INTO {table.name}_body VALUES (?, ?)", (number, body)
            )
        # the text of a component follows from its key alone
        if table.searched and not (known is not None and isinstance(row, ComponentRow)):
            if known is not None:
                writer.execute(f"DELETE FROM {table.name}_text WHERE rowid = ?", (number,))
            text = getattr(row, "text", "")
            writer.execute(
                f"INSERT INTO {table.name}_text (rowid, text) VALUES (?, ?)",
                (number, text),
            )
        if isinstance(row, CaseRow):
            for name, columns in PARTS.items():
                writer.execute(f"DELETE FROM {name} WHERE row = ?", (number,))
                writer.executemany(
                    f"INSERT INTO {name} VALUES ({', '.join('?' * len(columns))})",
                    [
                        (number, row.tenant, row.ended, *msgspec.structs.astuple(listed))
                        for listed in getattr(row, name)
                    ],
                )

    def _row_of(self, table: RowStorage, key: tuple[object, ...]) -> int | None:
        where = " AND ".join(f"{name} = ?" for name in table.key)
        found = self._writer.execute(
            f"SELECT rowid FROM {table.name} WHERE {where}",
            key,
        ).fetchone()
        return None if found is None else int(found[0])

    def _remove(self, gone: Gone) -> None:
        table = TABLES[gone.row]
        number = self._row_of(table, (gone.tenant, gone.id))
        if number is not None:
            self._forget(table, gone.tenant, [number])

    def _forget(self, table: RowStorage, tenant: str, numbers: list[int]) -> None:
        rows = [(number,) for number in numbers]
        self._writer.executemany(f"DELETE FROM {table.name} WHERE rowid = ?", rows)
        for beside in table.beside():
            self._writer.executemany(f"DELETE FROM {beside} WHERE rowid = ?", rows)
        if table.row is CaseRow:
            for name in PARTS:
                self._writer.executemany(f"DELETE FROM {name} WHERE row = ?", rows)
        if table.limit:
            self._counts[table.name, tenant] -= len(numbers)

    def _trim(self, tenants: set[str]) -> None:
        """Delete the oldest rows of a tenant that has too many, and count them."""
        for table in TABLES.values():
            if not table.limit:
                continue
            limit: int = getattr(self.limits, table.limit)
            for tenant in tenants:
                count = self._counts.get((table.name, tenant), 0)
                if count <= limit * _TRIM_EVERY:
                    continue
                order = "ended DESC, changed" if table.row is CaseRow else "changed"
                found = self._writer.execute(
                    f"SELECT rowid FROM {table.name} WHERE tenant = ? ORDER BY {order} LIMIT ?",
                    (tenant, count - limit),
                ).fetchall()
                self._forget(table, tenant, [number for (number,) in found])
                noted = int(self._note(f"dropped {table.name}") or 0)
                self._set_note(f"dropped {table.name}", noted + len(found))
                log.warning(
                    "console-rows-dropped", table=table.name, tenant=tenant, count=len(found)
                )

    def reading(self) -> sqlite3.Connection:
        """Return this thread's connection for reading."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(
                f"{self.path.absolute().as_uri()}?mode=ro",
                uri=True,
                timeout=_BUSY_MS / 1000,
                check_same_thread=False,
                cached_statements=512,
            )
            connection.row_factory = sqlite3.Row
            connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            connection.execute("PRAGMA query_only = 1")
            self._local.connection = connection
            with self._lock:
                self._readers.append(connection)
        return connection

    def revision(self, tenants: Iterable[str] | None) -> int:
        """Return a number that increases with every change of some tenants.

        Args:
            tenants: Which; None: of anything.
        """
        revisions = self.revisions
        names = revisions if tenants is None else tenants
        return sum(revisions.get(name, 0) for name in list(names))

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            for connection in (*self._readers, self._writer):
                connection.close()
            self._readers.clear()
            os.close(self._held)


def _layout(connection: sqlite3.Connection) -> int:
    """Return the layout of an index; the connection to one of another layout is closed."""
    layout = 0
    try:
        layout = int(connection.execute("PRAGMA user_version").fetchone()[0])
    finally:
        if layout != LAYOUT:
            connection.close()
    return layout


def _held(path: Path) -> int:
    """Return a lock that ends with this process: two consoles would write one index.

    Raises:
        IndexInUseError: Another process has it.
    """
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise IndexInUseError(
            "a console runs with this state folder already",
            where=str(path),
            remedy="get a link to it with: tidewatch console --link",
        ) from None
    return lock
