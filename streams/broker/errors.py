"""Errors of the embedded broker, each with a remedy."""

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
    """An operation of the embedded broker failed."""


class NoJavaError(BrokerError):
    """No Java on this machine can run the broker."""


class NoMavenError(BrokerError):
    """The jars are missing, and there is no Maven to fetch them."""


class JarsUnavailableError(BrokerError):
    """Maven could not fetch the jars."""


class TamperedJarError(BrokerError):
    """A jar is missing, unknown, or differs from its pin; the broker does not start."""


class NoSpaceError(BrokerError):
    """The disk is full, or too full for a broker to run."""


class PortTakenError(BrokerError):
    """Another program uses a port that the broker requires."""


class AlreadyRunningError(BrokerError):
    """A broker already runs on this state folder."""


class BrokerDiedError(BrokerError):
    """The broker ended or did not answer in time; its log gives the reason."""


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn errors of a full or unwritable disk at `path` into errors with a remedy.

    Raises:
        NoSpaceError: There is no space left.
        BrokerError: The path can't be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpaceError(
                "no space left on the disk",
                where=str(path),
                remedy="free some, or choose another folder with TIDEWATCH_STATE_DIR",
            ) from error
        raise BrokerError(
            f"can't use the state folder ({error.strerror})",
            where=str(error.filename or path),
            remedy="make it writable, or choose another folder with TIDEWATCH_STATE_DIR",
        ) from error
