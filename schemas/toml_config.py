"""Reads a program's configuration: TOML as a typed record, with errors that name the field."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from schemas.conversion import Converter
from schemas.errors import TidewatchError

T = TypeVar("T")


class ConfigReader(Generic[T]):
    """Reads one kind of configuration; `~` in a path is the home of the user."""

    def __init__(
        self,
        kind: type[T],
        *,
        what: str,
        example: str,
        error: type[TidewatchError],
        problem: Callable[[T], str | None],
    ) -> None:
        """Set what is read.

        Args:
            kind: The record.
            what: What it configures, for errors.
            example: The file to compare with.
            error: What is raised.
            problem: Returns a contradiction within a record; None if there is none.
        """
        self._read = Converter(kind)
        self._what = what
        self._example = example
        self._error = error
        self._problem = problem

    def read(self, raw: str, where: str = "") -> T:
        """Return a configuration.

        Args:
            raw: TOML.
            where: Its path, for errors.

        Raises:
            TidewatchError: Of the reader's own kind, with the field that is wrong. The value is not
                repeated: it may be a secret.
        """
        try:
            config = self._read(tomllib.loads(raw), dec_hook=self._convert)
        except tomllib.TOMLDecodeError as error:
            raise self._error(
                f"the configuration of {self._what} is not TOML", where=where, remedy=str(error)
            ) from None
        except msgspec.ValidationError as error:
            raise self._error(
                f"the configuration of {self._what} is not valid ({error})",
                where=where,
                remedy=f"compare with {self._example}",
            ) from None
        problem = self._problem(config)
        if problem is not None:
            raise self._error(problem, where=where, remedy="correct it")
        return config

    def load(self, path: Path) -> T:
        """Return the configuration of a file.

        Raises:
            TidewatchError: Of the reader's own kind: it can't be read, or is not valid.
        """
        try:
            raw = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise self._error(
                f"the configuration of {self._what} can't be read ({reason})",
                where=str(path),
                remedy=f"name a file like {self._example}",
            ) from error
        return self.read(raw, str(path))

    def _convert(self, kind: type, value: object) -> object:
        if kind is Path and isinstance(value, str):
            return Path(value).expanduser()
        if kind is Path:
            raise TypeError("a path is a text")
        raise NotImplementedError(f"no configuration field is a {kind}")  # msgspec's protocol
