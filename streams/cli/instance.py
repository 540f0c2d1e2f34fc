"""Locks a state folder for one `tidewatch up`; a second one reports the holder."""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING, Final, Self

import msgspec

from schemas.errors import TidewatchError
from streams.broker.errors import disk_errors

if TYPE_CHECKING:
    from pathlib import Path


class AlreadyUpError(TidewatchError):
    """Another `tidewatch up` has locked the state folder."""


class Holder(msgspec.Struct, frozen=True):
    """The holder of the lock, for error messages; the lock itself is the kernel's."""

    pid: int
    bootstrap: str | None = None
    """The address of its Kafka, once it listens."""


_HOLDERS: Final = msgspec.json.Decoder(Holder)


class Instance:
    """The lock on a state folder, held until it is closed or the process ends."""

    def __init__(self, state_dir: Path, *, fresh: bool = False) -> None:
        """Take the lock.

        Args:
            state_dir: The folder.
            fresh: Whether the caller would empty the folder; for the error message.

        Raises:
            AlreadyUpError: Another process has it.
            BrokerError: The folder can't be written.
        """
        with disk_errors(state_dir):
            state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = os.open(state_dir / "up.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = self._read()
            os.close(self._file)
            raise _already_up(state_dir, holder, fresh=fresh) from None
        self.tell(None)

    def tell(self, bootstrap: str | None) -> None:
        """Record this process and the address of its Kafka."""
        holder = msgspec.json.encode(Holder(os.getpid(), bootstrap))
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, holder, 0)

    def _read(self) -> Holder | None:
        """Return what the holder wrote; None while it writes."""
        with contextlib.suppress(msgspec.DecodeError):
            return _HOLDERS.decode(os.pread(self._file, 4096, 0))
        return None

    def __enter__(self) -> Self:
        """Return the lock, which is held."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Release the lock. The file stays: two waiting processes would otherwise get two locks."""
        os.close(self._file)


def _already_up(state_dir: Path, holder: Holder | None, *, fresh: bool) -> AlreadyUpError:
    process = f"process {holder.pid}" if holder else "another process"
    kafka = f"Kafka on {holder.bootstrap}" if holder and holder.bootstrap else "still starting"
    kept = "; --fresh would delete its data" if fresh else ""
    end = f"kill {holder.pid}" if holder else "Ctrl-C"
    return AlreadyUpError(
        f"already running ({process}, {kafka}){kept}",
        where=str(state_dir),
        remedy=f"follow it with: tidewatch watch, end it with: {end}, or choose another folder "
        "with TIDEWATCH_STATE_DIR",
    )
