"""Paths of the embedded broker: its state, and its pinned description."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec

from streams.broker.errors import BrokerError

_CHECKOUT = Path(__file__).resolve().parents[2]


def default_state_dir() -> Path:
    """Return the folder of the state kept between runs.

    `TIDEWATCH_STATE_DIR` if set; else `.state` in the source checkout the program runs from; else
    `tidewatch` below `XDG_STATE_HOME` (`~/.local/state`).
    """
    named = os.environ.get("TIDEWATCH_STATE_DIR")
    if named:
        return Path(named).expanduser().resolve()
    if (_CHECKOUT / "pyproject.toml").is_file():
        return _CHECKOUT / ".state"
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(base).expanduser() / "tidewatch"


def description_dir() -> Path:
    """Return the folder with `pom.xml`, `jars.sha256` and `log4j2.properties`.

    Raises:
        BrokerError: The installation lacks them.
    """
    installed = Path(sys.prefix) / "share" / "tidewatch" / "kafka"
    for folder in (_CHECKOUT / "deploy" / "kafka", installed):
        if (folder / "jars.sha256").is_file():
            return folder
    raise BrokerError(
        "the embedded broker's pom and pins are not installed",
        where=str(installed),
        remedy="install Tidewatch again, or name a Kafka of your own with TIDEWATCH_KAFKA",
    )


class Places(msgspec.Struct, frozen=True):
    """The paths of a broker below its state folder."""

    state_dir: Path

    @property
    def root(self) -> Path:
        """The broker's own folder."""
        return self.state_dir / "kafka"

    @property
    def data(self) -> Path:
        """Kafka's log directory."""
        return self.root / "data"

    @property
    def properties(self) -> Path:
        """The configuration of the last start."""
        return self.root / "server.properties"

    @property
    def password(self) -> Path:
        """The password of the broker's one user, readable by this user alone."""
        return self.root / "password"

    @property
    def record(self) -> Path:
        """The recorded state of the broker that was started last: ports and processes."""
        return self.root / "broker.json"

    @property
    def lock(self) -> Path:
        """Lock file, held (flock) while a process of the broker runs."""
        return self.root / "lock"

    @property
    def java_pid(self) -> Path:
        """File with the process id of the JVM."""
        return self.root / "java.pid"

    @property
    def log(self) -> Path:
        """The broker's own log."""
        return self.root / "broker.log"

    @property
    def console(self) -> Path:
        """Output of the JVM: crashes, and errors before the log is open."""
        return self.root / "console.log"


def jars_dir(state_dir: Path | None = None) -> Path:
    """Return the folder of fetched jars, which brokers may share."""
    return (state_dir or default_state_dir()) / "kafka" / "jars"
