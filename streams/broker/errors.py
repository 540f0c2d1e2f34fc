"""What can go wrong with the embedded broker, each with what to do about it."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING

from schemas.errors import TidewatchError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OWN_KAFKA = "or name a Kafka of your own with TIDEWATCH_KAFKA"


class BrokerError(TidewatchError):
    """The embedded broker could not do what was asked."""


class NoJavaError(BrokerError):
    """There is no Java that can run the broker."""


class NoMavenError(BrokerError):
    """The jars are not there yet, and there is no Maven to fetch them."""


class JarsUnavailableError(BrokerError):
    """Maven could not fetch the jars."""


class TamperedJarError(BrokerError):
    """A jar is missing, unknown, or not what its pin says; the broker is not started with it."""


class NoSpaceError(BrokerError):
    """The disk is full, or so nearly that a broker would stop soon."""


class PortTakenError(BrokerError):
    """A port the broker must have is used by another program."""


class AlreadyRunningError(BrokerError):
    """A broker already runs on this state folder."""


class BrokerDiedError(BrokerError):
    """The broker ended, or did not answer in time; its log says why."""


@contextmanager
def disk_errors(place: Path) -> Iterator[None]:
    """Turn a full or unwritable disk at `place` into an error that says what to do.

    Raises:
        NoSpaceError: There is no space left.
        BrokerError: The place can't be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpaceError(
                "no space left on the disk",
                where=str(place),
                remedy="free some, or choose another folder with TIDEWATCH_STATE_DIR",
            ) from error
        raise BrokerError(
            f"can't use the state folder ({error.strerror})",
            where=str(error.filename or place),
            remedy="make it writable, or choose another folder with TIDEWATCH_STATE_DIR",
        ) from error
