"""Keeps the lists of incidents that each person saved, in a SQLite file beside the index."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, urlencode

import msgspec

from agents.logs import Logger
from schemas.errors import TidewatchError
from streams.http.problems import HttpError

log = Logger()

OF_A_PERSON: Final = 20
"""Most views that one person saves."""
ALTOGETHER: Final = 20_000
"""Most views of all people."""
NAME: Final = 60
"""Longest name, in characters."""
QUERY: Final = 1_000
"""Longest query of a view, in characters."""
FIELDS: Final = frozenset(
    {"q", "show", "severity", "status", "tenant", "assignee", "since", "sort", "reverse", "waiting"}
)
"""The parameters of the list of incidents that a view keeps."""
_DDL: Final = """
CREATE TABLE IF NOT EXISTS views (
    person TEXT NOT NULL, name TEXT NOT NULL, query TEXT NOT NULL, PRIMARY KEY (person, name)
) WITHOUT ROWID
"""
_BUSY_SECONDS: Final = 5.0


class SavedView(msgspec.Struct, frozen=True):
    """A list of incidents with a name."""

    name: str
    query: str
    """Its query string."""


class SavedViews:
    """The saved views of the people of a console; they are on no topic."""

    def __init__(self, folder: Path) -> None:
        """Keep the views in a folder; the first saved view creates the file.

        Args:
            folder: The console's private folder.
        """
        self._path = folder / "saved.sqlite"

    def of(self, person: str) -> list[SavedView]:
        """Return a person's views by name; none if they can't be read.

        Args:
            person: The signed-in person.
        """
        if not self._path.exists():
            return []
        try:
            with self._opened() as connection:
                rows = connection.execute(
                    "SELECT name, query FROM views WHERE person = ? ORDER BY name", (person,)
                ).fetchall()
        except sqlite3.Error as error:
            # the list of incidents is shown without them
            log.warning("saved-views-unreadable", error=str(error))
            return []
        return [SavedView(name, query) for name, query in rows]

    def save(self, person: str, name: str, query: str) -> SavedView:
        """Save a view, in place of the person's view of that name.

        Args:
            person: The signed-in person.
            name: Its name.
            query: The query string of the list; parameters that it does not know are left out.

        Raises:
            HttpError: The name or query can't be kept, or a limit is reached.
            TidewatchError: The file can't be written.
        """
        name = name.strip()
        if not name or len(name) > NAME or not name.isprintable():
            raise HttpError(HTTPStatus.BAD_REQUEST, f"name the view, in at most {NAME} characters")
        pairs = parse_qsl(query[: 4 * QUERY])
        kept = urlencode([pair for pair in pairs if pair[0] in FIELDS])
        if len(kept) > QUERY:
            raise HttpError(HTTPStatus.BAD_REQUEST, "the filter is too long to be saved")
        with self._changing() as connection:
            others = "SELECT count(*) FROM views WHERE person = ? AND name <> ?"
            if connection.execute(others, (person, name)).fetchone()[0] >= OF_A_PERSON:
                raise HttpError(
                    HTTPStatus.CONFLICT,
                    f"you have {OF_A_PERSON} views",
                    remedy="delete one that you no longer use",
                )
            if connection.execute("SELECT count(*) FROM views").fetchone()[0] >= ALTOGETHER:
                raise HttpError(
                    HTTPStatus.CONFLICT,
                    "the console keeps no more views",
                    remedy="share the list's address instead",
                )
            connection.execute(
                "INSERT OR REPLACE INTO views VALUES (?, ?, ?)", (person, name, kept)
            )
        return SavedView(name, kept)

    def delete(self, person: str, name: str) -> None:
        """Delete a person's view; deleting a missing one succeeds.

        Args:
            person: The signed-in person.
            name: Its name.

        Raises:
            TidewatchError: The file can't be written.
        """
        with self._changing() as connection:
            connection.execute("DELETE FROM views WHERE person = ? AND name = ?", (person, name))

    def _opened(self) -> closing[sqlite3.Connection]:
        return closing(sqlite3.connect(self._path, timeout=_BUSY_SECONDS))

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._opened() as connection, connection:
                connection.execute(_DDL)
                connection.execute("BEGIN IMMEDIATE")
                yield connection
        except sqlite3.Error as error:
            raise TidewatchError(
                f"the view was not saved ({error})",
                where=str(self._path),
                remedy="make the file writable; if it is damaged, move it away",
            ) from error
