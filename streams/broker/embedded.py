"""Run an Apache Kafka broker, a single KRaft node, as a child or in the background."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import msgspec

from agents.logs import Logger
from streams.broker.access import USER, guarded_properties, own_password
from streams.broker.configuration import Ports, java_command, render_properties
from streams.broker.errors import (
    AlreadyRunningError,
    BrokerDiedError,
    NoSpaceError,
    PortTakenError,
    disk_errors,
)
from streams.broker.guard import STOP_S
from streams.broker.jars import provide_jars
from streams.broker.java import find_java
from streams.broker.paths import Places, description_dir, jars_dir
from streams.broker.ports import free_ports, is_free
from streams.broker.preparation import install_formatted, prepare
from streams.broker.readiness import is_ready
from streams.private_files import PRIVATE_UMASK, private_folder, write_private

if TYPE_CHECKING:
    from collections.abc import Mapping

log = Logger()

MIN_FREE_BYTES = 256 * 1024 * 1024
"""Free disk space required to start: Kafka halts when a write fails."""

START_S = 60.0
"""Longest time of a start in seconds, with log recovery after a crash."""

_POLL_S = 0.02
_PORT_ATTEMPTS = 3
_LOG_TAIL_BYTES = 20_000
_SHOWN_CHARACTERS = 600


class RunRecord(msgspec.Struct, frozen=True):
    """The recorded state of the broker that was started last."""

    ports: Ports
    guard_pid: int
    detached: bool
    guarded: bool = False
    """Whether it asks for a password."""


_RECORDS: Final = msgspec.json.Decoder(RunRecord)


class BrokerStatus(msgspec.Struct, frozen=True):
    """The status of the broker of a state folder."""

    running: bool
    """Whether its processes run."""

    ready: bool
    """Whether it answers requests."""

    bootstrap: str | None
    """The address it listens on, or last listened on."""

    detached: bool
    """Whether it outlives the process that started it."""

    pid: int | None
    """Process id of the JVM while it runs."""

    data: Path
    log: Path


class EmbeddedBroker:
    """A broker on a state folder.

    Args:
        state_dir: The folder that keeps its data between runs.
        fresh: Start empty: delete the kept data at the first start.
        port: The required client port; None or 0: the last one if free, else any.
        jars: The folder of fetched jars, shared by all brokers.
        properties: Kafka properties that extend or replace the defaults.
        detached: Outlive this process, until `stop_background`.
        guarded: Ask for the password of the state folder, so that no other user of this machine
            reads or writes.
    """

    def __init__(
        self,
        state_dir: Path,
        *,
        fresh: bool = False,
        port: int | None = None,
        jars: Path | None = None,
        properties: Mapping[str, str] | None = None,
        detached: bool = False,
        guarded: bool = False,
    ) -> None:
        """Keep the options; start and write nothing yet."""
        self.places = Places(state_dir.resolve())
        self._fresh = fresh
        self._port = port or None
        self._jars = jars or jars_dir()
        self._properties = dict(properties or {})
        self._detached = detached
        self._guarded = guarded
        self._password = ""
        self._guard: subprocess.Popen[bytes] | None = None
        self._ports: Ports | None = None

    @property
    def bootstrap(self) -> str:
        """The address for clients; known once started."""
        assert self._ports is not None, "the broker was not started"
        return f"127.0.0.1:{self._ports.client}"

    @property
    def jvm_pid(self) -> int:
        """Process id of the JVM that was started last."""
        return int(self.places.java_pid.read_text())

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        """Stop it."""
        self.stop()

    def start(self) -> str:
        """Start the broker, wait until it is ready, and return its address for clients.

        Raises:
            NoJavaError, NoMavenError, JarsUnavailableError, TamperedJarError: It can't be run.
            AlreadyRunningError: A broker already runs on this folder.
            PortTakenError: The required port is in use.
            NoSpaceError: The disk is full or nearly full.
            BrokerDiedError: The broker ended or did not answer in time.
        """
        java = find_java()
        description = description_dir()
        places = self.places
        with disk_errors(places.root):
            private_folder(places.root)
            self._password = own_password(places) if self._guarded else ""
            lock = self._lock()
            try:
                if self._port is not None and not is_free(self._port):
                    raise _port_taken(self._port)  # before anything is fetched or deleted
                self._check_space()
                jars = provide_jars(self._jars, description)
                log4j = description / "log4j2.properties"
                prepared = prepare(
                    jars[0].parent.parent / f"{jars[0].parent.name}-java-{java.version}.prepared",
                    java,
                    jars,
                    log4j,
                )
                if self._fresh:
                    shutil.rmtree(places.data, ignore_errors=True)
                    self._fresh = False
                install_formatted(prepared.formatted, places.data)
                options = [
                    f"-XX:SharedArchiveFile={prepared.archive}",
                    "-Xshare:auto",
                    "-Xlog:disable",
                    "-Xlog:all=error:stderr",
                    f"-XX:ErrorFile={places.root / 'jvm-crash.log'}",
                    f"-Dtidewatch.log={places.log}",
                    f"-Dlog4j2.configurationFile={log4j}",
                ]
                command = java_command(
                    java, jars, ["kafka.Kafka", str(places.properties)], options=options
                )
                self._start_on_free_ports(command, lock)
            finally:
                # the broker's processes hold the same lock on
                os.close(lock)
        return self.bootstrap

    def stop(self) -> None:
        """Stop the broker cleanly; do nothing if it does not run."""
        guard, self._guard = self._guard, None
        if guard is None:
            return
        with suppress(ProcessLookupError):
            guard.terminate()
        _wait_for(guard)
        log.info("broker_stopped", bootstrap=self.bootstrap)

    def kill(self) -> None:
        """Kill the JVM with SIGKILL, like a crash; `start` or `restart` starts it again."""
        with suppress(ProcessLookupError):
            os.kill(self.jvm_pid, signal.SIGKILL)
        self.stop()

    def restart(self) -> str:
        """Stop the broker if it runs, and start it on the same ports with the same data.

        Raises:
            PortTakenError: Another program took a port in between. Other errors as for `start`.
        """
        self.stop()
        if self._ports is not None:
            self._port = self._ports.client
        return self.start()

    def _lock(self) -> int:
        """Take the folder's lock, and return its descriptor.

        A file left by dead processes does not matter: the kernel frees the lock with its last
        holder. Wait for a holder that no longer answers: it is ending.
        """
        lock = os.open(self.places.lock, os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + STOP_S + 5
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                known = status(self.places.state_dir)
                if known.ready or time.monotonic() > deadline:
                    os.close(lock)
                    raise AlreadyRunningError(
                        f"a broker already runs ({known.bootstrap}, process {known.pid})",
                        where=str(self.places.root),
                        remedy="use it, stop it with: tidewatch broker stop, "
                        "or choose another folder with TIDEWATCH_STATE_DIR",
                    ) from None
                time.sleep(_POLL_S)
            else:
                return lock

    def _check_space(self) -> None:
        """Refuse to start on a disk on which the broker would soon halt."""
        free = shutil.disk_usage(self.places.root).free
        if free < MIN_FREE_BYTES:
            raise NoSpaceError(
                f"only {free // 1024**2} MiB are free on the disk, and a broker needs "
                f"{MIN_FREE_BYTES // 1024**2} MiB to start",
                where=str(self.places.root),
                remedy="free some, or choose another folder with TIDEWATCH_STATE_DIR",
            )

    def _start_on_free_ports(self, command: list[str], lock: int) -> None:
        """Start on free ports; try others if one was taken in between."""
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            self._ports = self._choose_ports()
            try:
                self._launch(command, lock, self._ports)
            except PortTakenError:
                mine = self._port is None or is_free(self._port)
                if attempt == _PORT_ATTEMPTS or not mine:
                    raise
            else:
                return

    def _choose_ports(self) -> Ports:
        """Return the required or last ports if free, else any free ports."""
        last = _read_record(self.places)
        client, controller = free_ports(2)
        if self._port is not None:
            if not is_free(self._port):
                raise _port_taken(self._port)
            client = self._port
        elif last is not None and is_free(last.ports.client):
            client = last.ports.client
        if last is not None and last.ports.controller != client and is_free(last.ports.controller):
            controller = last.ports.controller
        return Ports(client, controller)

    def _launch(self, command: list[str], lock: int, ports: Ports) -> None:
        """Start the guard, which starts the JVM; wait until the broker is ready."""
        places = self.places
        asks = guarded_properties(self._password) if self._password else {}
        properties = render_properties(places.data, ports, {**asks, **self._properties})
        write_private(places.properties, properties)
        places.java_pid.unlink(missing_ok=True)
        began = time.monotonic()
        mode = "detached" if self._detached else "child"
        guard_program = str(Path(__file__).with_name("guard.py"))
        with places.console.open("wb") as console:
            guard = subprocess.Popen(  # noqa: S603 -- our own guard on our own command
                [sys.executable, "-I", "-S", guard_program, mode, str(places.java_pid), *command],
                stdin=subprocess.DEVNULL if self._detached else subprocess.PIPE,
                stdout=console,
                stderr=subprocess.STDOUT,
                cwd=places.root,
                pass_fds=[lock],
                start_new_session=True,
                umask=PRIVATE_UMASK,
            )
        self._guard = guard
        record = RunRecord(ports, guard.pid, self._detached, guarded=bool(self._password))
        places.record.write_bytes(msgspec.json.encode(record))
        while not is_ready(ports.client, USER, self._password):
            if guard.poll() is not None:
                self._guard = None
                _wait_for(guard)
                raise self._died(f"the broker ended at its start (exit code {guard.returncode})")
            if time.monotonic() - began > START_S:
                self.stop()
                raise self._died(f"the broker did not answer within {START_S:.0f} s")
            time.sleep(_POLL_S)
        log.info(
            "broker_started",
            bootstrap=self.bootstrap,
            seconds=round(time.monotonic() - began, 2),
            detached=self._detached,
        )

    def _died(self, what: str) -> BrokerDiedError | PortTakenError | NoSpaceError:
        """Return the error that the end of the broker's log names."""
        words = _tail(self.places.console) + _tail(self.places.log)
        if "Address already in use" in words:
            assert self._ports is not None
            return _port_taken(self._ports.client)
        if "No space left on device" in words:
            return NoSpaceError(
                "the broker's disk is full",
                where=str(self.places.data),
                remedy="free some, or choose another folder with TIDEWATCH_STATE_DIR",
            )
        errors = [line for line in words.splitlines() if "ERROR" in line or "xception" in line]
        reason = " ".join(errors[-2:] or words.splitlines()[-2:])[-_SHOWN_CHARACTERS:]
        return BrokerDiedError(
            f"{what}: {reason}" if reason else what,
            where=str(self.places.log),
            remedy="read that log; if the data is damaged, start empty with --fresh",
        )


def status(state_dir: Path) -> BrokerStatus:
    """Return the status of the broker of `state_dir`, even if another process started it."""
    places = Places(state_dir.resolve())
    record = _read_record(places)
    running = _is_locked(places)
    pid = None
    if running:
        with suppress(OSError, ValueError):
            pid = int(places.java_pid.read_text())
    return BrokerStatus(
        running=running,
        ready=running and record is not None and _answers(places, record),
        bootstrap=f"127.0.0.1:{record.ports.client}" if record else None,
        detached=record is not None and record.detached,
        pid=pid,
        data=places.data,
        log=places.log,
    )


def _answers(places: Places, record: RunRecord) -> bool:
    """Return whether the broker of a record is ready; False for another user, who can't know."""
    try:
        password = own_password(places) if record.guarded else ""
    except OSError:
        return False
    return is_ready(record.ports.client, USER, password)


def stop_background(state_dir: Path) -> bool:
    """Stop the broker of `state_dir`, even if another process started it; return whether it ran.

    Raises:
        BrokerDiedError: It does not end.
    """
    places = Places(state_dir.resolve())
    record = _read_record(places)
    if record is None or not _is_locked(places):
        return False
    with suppress(ProcessLookupError):
        os.kill(record.guard_pid, signal.SIGTERM)
    await_end(state_dir)
    return True


def await_end(state_dir: Path) -> None:
    """Wait until the processes of the folder's ending broker are gone.

    Raises:
        BrokerDiedError: They do not end.
    """
    places = Places(state_dir.resolve())
    deadline = time.monotonic() + STOP_S + 5
    while _is_locked(places):
        if time.monotonic() > deadline:
            record = _read_record(places)
            raise BrokerDiedError(
                "the broker does not stop",
                where=f"process {record.guard_pid}" if record else str(places.root),
                remedy="end that process manually",
            )
        time.sleep(_POLL_S)


def _wait_for(guard: subprocess.Popen[bytes]) -> None:
    """Close the pipe to the guard, and wait for its end."""
    if guard.stdin is not None:
        with suppress(OSError):
            guard.stdin.close()
    guard.wait(STOP_S + 5)


def _read_record(places: Places) -> RunRecord | None:
    """Return the recorded state of the last run, or None if there is none."""
    try:
        return _RECORDS.decode(places.record.read_bytes())
    except (OSError, msgspec.DecodeError):
        return None


def _is_locked(places: Places) -> bool:
    """Return whether a process of the folder's broker runs."""
    try:
        lock = os.open(places.lock, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _tail(path: Path) -> str:
    """Return the end of a log."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _LOG_TAIL_BYTES))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


def _port_taken(port: int) -> PortTakenError:
    """Return the error for a port that another program uses."""
    return PortTakenError(
        "the port is used by another program",
        where=f"127.0.0.1:{port}",
        remedy="stop that program, or choose another port with --port",
    )
