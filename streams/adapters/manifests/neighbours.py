"""Reads files that a manifest names, on demand and never from outside their root."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from agents.checks.packages.requirements_text import decode_requirements

FILE_BYTES: Final = 4 << 20
FILES: Final = 500
_OUTSIDE: Final = "it is outside the scanned folder and was not followed"
_GONE: Final = "no such file in the folder"


class Neighbours(Mapping[str, str]):
    """Texts by path relative to a root; links that leave it are not followed."""

    def __init__(self, root: Path) -> None:
        """Read from a folder.

        Args:
            root: No file outside it is read, whatever a manifest names.
        """
        self._root = root.resolve()
        self.read: dict[str, str] = {}
        """The texts read so far."""

    def __getitem__(self, path: str) -> str:
        """Return the text of a file.

        Raises:
            KeyError: absent, outside the root, too large, or more files than are read.
        """
        if path in self.read:
            return self.read[path]
        if self.absence(path):
            raise KeyError(path)
        try:
            text = decode_requirements((self._root / path).read_bytes())
        except (OSError, ValueError) as error:
            raise KeyError(path) from error
        self.read[path] = text
        return text

    def absence(self, path: str) -> str:
        """Return why a file is not read, or an empty string if it may be."""
        try:
            place = (self._root / path).resolve()
            if not place.is_relative_to(self._root):
                return _OUTSIDE
            if not place.is_file():
                return "it is a folder" if place.is_dir() else _GONE
            if place.stat().st_size > FILE_BYTES:
                return f"it has more than {FILE_BYTES >> 20} MiB"
        except (OSError, ValueError, RuntimeError):
            return _GONE
        if path not in self.read and len(self.read) >= FILES:
            return f"it is beyond the {FILES} that are read"
        return ""

    def __iter__(self) -> Iterator[str]:
        """Return the paths of the files read so far."""
        return iter(self.read)

    def __len__(self) -> int:
        """Return how many files were read so far."""
        return len(self.read)

    def __bool__(self) -> bool:
        """Return true: there may be files, even before any was read."""
        return True


def absence(files: Mapping[str, str], path: str) -> str:
    """Return why a file is not among those that were given.

    Args:
        files: The texts, by path.
        path: Of the absent one, relative to the same root.
    """
    if isinstance(files, Neighbours):
        return files.absence(path) or "it can't be read"
    return _OUTSIDE if path.startswith(("/", "../")) else _GONE


def root_for(file: Path) -> Path:
    """Return the folder whose files a manifest that was named by itself may name.

    The working directory where the file lies below it, as an installer started there would read;
    else the file's own folder.
    """
    here = Path.cwd()
    try:
        parent = file.resolve().parent
    except (OSError, RuntimeError):  # links in a circle: whoever opens it says so
        parent = file.absolute().parent
    if parent.parts[-2:] == (".github", "workflows"):
        parent = parent.parent.parent
    return here if parent.is_relative_to(here) else parent
