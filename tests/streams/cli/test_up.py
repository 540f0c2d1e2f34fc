"""`tidewatch up` owns its state folder and leaves no process behind."""

from __future__ import annotations

import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import psutil
import pytest
import requests

from streams.apps.topology import APPLICATIONS
from streams.broker import EmbeddedBroker, status
from streams.broker.paths import jars_dir
from streams.broker.ports import free_ports
from streams.cli.instance import AlreadyUpError, Holder, Instance
from tests.waiting import wait_for

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

TIDEWATCH = Path(sys.executable).with_name("tidewatch")
DEADLINE = 120.0


def environment(state: Path, **settings: object) -> dict[str, str]:
    """The variables of a user who has set nothing but these."""
    plain = {name: text for name, text in os.environ.items() if "TIDEWATCH" not in name}
    given = {"state_dir": state, **settings}
    return plain | {f"TIDEWATCH_{name.upper()}": str(value) for name, value in given.items()}


def refused(state: Path, *words: str, **settings: object) -> str:
    """Run `up` where it must not start; return the one line that it says."""
    done = subprocess.run(
        [TIDEWATCH, "up", "--demo", "--exit-when-done", *words],
        env=environment(state, **settings), cwd=state,
        capture_output=True, text=True, timeout=DEADLINE, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("tidewatch: ")
    return line


class Up:
    """`tidewatch up` on a terminal, where it goes on until it is ended."""

    def __init__(self, state: Path, *words: str, cwd: Path, **settings: object) -> None:
        self.state = state
        ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [TIDEWATCH, "up", *words],
            env=environment(state, **settings) | {"TERM": "dumb"}, cwd=cwd,
            stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        self.shown = b""
        self._reader = threading.Thread(target=self._read, args=(ours,), daemon=True)
        self._reader.start()

    def _read(self, terminal: int) -> None:
        try:
            while part := os.read(terminal, 4096):
                self.shown = (self.shown + part)[-20_000:]
        except OSError:  # the other end is closed
            pass
        finally:
            os.close(terminal)

    def apps(self) -> list[psutil.Process]:
        """The worker processes: the supervisor, and one for each app once they run."""
        return [
            process
            for process in psutil.Process(self.process.pid).children(recursive=True)
            if "--await-kafka" in process.cmdline()
        ]

    def ready(self) -> list[psutil.Process]:
        """Wait until every app has its partitions; return all processes below this one."""
        log = self.state / "worker.log"

        def assigned() -> bool:
            assert self.process.poll() is None, self.shown
            return log.exists() and log.read_text().count('"event": "assigned"') >= 4

        wait_for(assigned, lambda: f"all apps run; shown: {self.shown[-500:]!r}")
        assert len(self.apps()) == 5
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(10)


@pytest.fixture
def state(kafka: str, tmp_path: Path) -> Path:
    """A state folder; the jars have been fetched for the broker of the session."""
    assert kafka
    folder = tmp_path / "state"
    (folder / "kafka").mkdir(parents=True)
    (folder / "kafka" / "jars").symlink_to(jars_dir())
    return folder


@pytest.fixture
def start(state: Path, tmp_path: Path) -> Iterator[Callable[..., Up]]:
    started: list[Up] = []

    def begin(*words: str, **settings: object) -> Up:
        # nothing in the user's working directory takes the place of a module
        (tmp_path / "streams.py").write_text("raise SystemExit('not this one')\n")
        (state / "worker.log").unlink(missing_ok=True)
        up = Up(state, *words, cwd=tmp_path, log_format="json", **settings)
        started.append(up)
        return up

    yield begin
    for up in started:
        up.end()
    wait_for(lambda: not status(state).running, "the broker ends")


def gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.fault
def test_one_instance_has_the_folder_and_nothing_outlives_it(
    start: Callable[..., Up], state: Path
) -> None:
    (port,) = free_ports(1)
    up = start(embedded_port=port)
    processes = up.ready()
    assert len(processes) > 6  # supervisor, four apps, guard, JVM
    kept = sorted((state / "state").rglob("lock"))
    assert kept
    link = state / "console" / "link"
    wait_for(link.exists, "the console is served beside")
    assert requests.get(link.read_text().strip(), timeout=DEADLINE).status_code == 200

    line = refused(state)
    assert f"already running (process {up.process.pid}, Kafka on 127.0.0.1:{port})" in line
    assert str(state) in line
    line = refused(state, "--fresh")
    assert "already running" in line
    assert "--fresh" in line
    assert sorted((state / "state").rglob("lock")) == kept
    assert up.process.poll() is None

    up.process.send_signal(signal.SIGKILL)
    up.process.wait()
    # the next one need not wait for what the killed one left: it ends by itself
    again = start("--fresh", embedded_port=port)
    wait_for(lambda: all(map(gone, processes)), "workers and broker of the killed one end")
    again.ready()
    assert status(state).bootstrap == f"127.0.0.1:{port}"

    again.process.send_signal(signal.SIGTERM)
    assert again.process.wait(DEADLINE) == 0, again.shown
    wait_for(lambda: not status(state).running, "the broker ends")


@pytest.mark.fault
def test_a_killed_instance_ends_while_its_workers_still_load(start: Callable[..., Up]) -> None:
    up = start(embedded_port=0)
    wait_for(lambda: bool(up.apps()), "the worker is started")
    processes = psutil.Process(up.process.pid).children(recursive=True)
    up.process.send_signal(signal.SIGKILL)
    up.process.wait()
    wait_for(lambda: all(map(gone, processes)), "workers and broker end")


@pytest.mark.parametrize("words", [("--port",), ()])
def test_a_taken_port_is_named_and_the_broker_does_not_move(
    words: tuple[str, ...], state: Path
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        given = [*words, str(port)] if words else []
        # an option wins over the setting
        line = refused(state, *given, embedded_port=1 if words else port)
    assert f"127.0.0.1:{port}" in line
    assert "--port" in line
    assert not status(state).running


def test_a_broker_in_the_background_is_used_and_never_emptied(state: Path) -> None:
    broker = EmbeddedBroker(state, detached=True)
    bootstrap = broker.start()
    try:
        line = refused(state, "--fresh")
        assert f"already running ({bootstrap}, process {broker.jvm_pid})" in line
        assert "tidewatch broker stop" in line
        line = refused(state, "--port", "9")
        assert bootstrap in line
    finally:
        broker.stop()


def test_a_worker_on_its_own_is_not_emptied_beneath(state: Path) -> None:
    import fcntl  # noqa: PLC0415 -- only here

    folder = state / "state" / "one" / "tidewatch-ledger"
    folder.mkdir(parents=True)
    with (folder / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        line = refused(state, "--fresh", embedded_port=0)
    assert "a worker is running" in line
    assert str(folder) in line
    assert folder.exists()


@pytest.mark.parametrize("words", [("--fresh",), ("--port", "9999")])
def test_options_of_the_embedded_broker_are_refused_with_a_named_one(
    words: tuple[str, ...], state: Path
) -> None:
    line = refused(state, *words, kafka="127.0.0.1:1")
    assert words[0] in line
    assert "TIDEWATCH_KAFKA" in line


def test_workers_that_end_say_why(state: Path, kafka: str, prefix: str) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        line = refused(
            state, kafka=kafka, topic_prefix=f"{prefix}.", group_prefix=prefix, http_port=port
        )
    assert "the workers ended" in line
    # each worker listens on the next port, and somebody else may have one of those as well
    (named,) = re.findall(r"can't listen .* at 127\.0\.0\.1:(\d+)", line)
    assert int(named) in range(port, port + len(APPLICATIONS))


def test_folder_lock_is_held_by_the_kernel_not_a_file(tmp_path: Path) -> None:
    """A file that a killed process left names a process id that may be anyone's by now."""
    (tmp_path / "up.lock").write_bytes(msgspec.json.encode(Holder(os.getpid(), "127.0.0.1:9")))
    with Instance(tmp_path), pytest.raises(AlreadyUpError, match="still starting"):
        Instance(tmp_path)
    (tmp_path / "up.lock").write_bytes(b"\xff{")
    with Instance(tmp_path) as held:
        held.tell("127.0.0.1:9")
        with pytest.raises(AlreadyUpError, match=r"Kafka on 127\.0\.0\.1:9.*--fresh"):
            Instance(tmp_path, fresh=True)
