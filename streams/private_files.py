"""Makes the folders of state, keys and logs private to the user."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

PRIVATE_UMASK: Final = 0o077
_OTHERS: Final = 0o077


def private_folder(folder: Path) -> Path:
    """Create a folder that only this user can read, and its missing parents; return it.

    An existing one is made private, if this user owns it. Pass a folder of Tidewatch's own, never
    the state folder itself, which the user may share with other programs.

    Raises:
        OSError: It can't be made.
    """
    for missing in [parent for parent in reversed(folder.parents) if not parent.exists()]:
        missing.mkdir(mode=0o700, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.stat()
    if found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) & _OTHERS:
        with suppress(PermissionError):  # a volume that keeps its own modes
            folder.chmod(stat.S_IMODE(found.st_mode) & ~_OTHERS)
    return folder


def write_private(path: Path, text: str) -> None:
    """Replace a file by one that only this user can read.

    Raises:
        OSError: It can't be written.
    """
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as opened:
        opened.write(text)
