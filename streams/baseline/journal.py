"""Records which units were delivered, so that an interrupted baseline can resume."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, Self

from schemas.canonical import stable_hash
from schemas.errors import TidewatchError
from streams.private_files import private_folder

MAX_UNITS: Final = 5_000_000
_LENGTH: Final = 64


class BaselineJournal:
    """One line for each unit, written once the broker acknowledged all of it."""

    def __init__(self, state_dir: Path, tenant: str, broker: str, prefix: str) -> None:
        """Open it.

        Args:
            state_dir: Where state is.
            tenant: The tenant of the baseline.
            broker: The broker that it is delivered to; each has its own journal.
            prefix: The topics' prefix there.

        Raises:
            TidewatchError: It can't be written.
        """
        name = f"{stable_hash(tenant, broker, prefix)[:32]}.journal"
        try:
            path = private_folder(state_dir / "baseline") / name
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise TidewatchError(
                f"the journal can't be written ({error.strerror})",
                where=str(state_dir),
                remedy="set TIDEWATCH_STATE_DIR to a folder that this user may write",
            ) from error
        self._file = os.fdopen(handle, "r+b")
        whole = [line for line in self._file.read().split(b"\n") if len(line) == _LENGTH]
        self._done = {bytes.fromhex(line.decode()) for line in whole if _is_hex(line)}

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close it."""
        self._file.close()

    def has(self, fingerprint: str) -> bool:
        """Return whether a unit was delivered."""
        return bytes.fromhex(fingerprint) in self._done

    def add(self, fingerprints: list[str]) -> None:
        """Note that units were delivered; beyond `MAX_UNITS` they would be delivered again."""
        if len(self._done) + len(fingerprints) > MAX_UNITS:
            return
        # start a new line after one that a crash truncated
        self._file.write(
            b"".join(b"\n" + fingerprint.encode() + b"\n" for fingerprint in fingerprints)
        )
        self._file.flush()
        os.fsync(self._file.fileno())
        self._done.update(map(bytes.fromhex, fingerprints))


def _is_hex(line: bytes) -> bool:
    return all(byte in b"0123456789abcdef" for byte in line)
