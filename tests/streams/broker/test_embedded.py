"""The embedded broker starts, keeps its data, survives crashes, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streams.broker import EmbeddedBroker, status, stop_background
from streams.broker.errors import (
    AlreadyRunningError,
    BrokerDiedError,
    NoSpaceError,
    PortTakenError,
    TamperedJarError,
    disk_errors,
)
from streams.broker.paths import jars_dir
from streams.broker.ports import is_free

pytestmark = [pytest.mark.kafka]

OwnKafka = Callable[..., EmbeddedBroker]


def write(bootstrap: str, topic: str, values: list[bytes]) -> None:
    """Create `topic` and write to it, acknowledged."""

    async def go() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        await admin.start()
        await admin.create_topics([NewTopic(topic, 1, 1)])
        await admin.close()
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap, max_request_size=2_000_000)
        await producer.start()
        for value in values:
            await producer.send_and_wait(topic, value)
        await producer.stop()

    asyncio.run(go())


def read(bootstrap: str, topic: str, count: int) -> list[bytes]:
    """Read the first records of `topic`."""

    async def go() -> list[bytes]:
        consumer = AIOKafkaConsumer(
            topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest"
        )
        await consumer.start()
        try:
            return [(await asyncio.wait_for(consumer.getone(), 120)).value for _ in range(count)]
        finally:
            await consumer.stop()

    return asyncio.run(go())


def topics(bootstrap: str) -> set[str]:
    """The topics there are."""

    async def go() -> set[str]:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        await admin.start()
        try:
            return set(await admin.list_topics())
        finally:
            await admin.close()

    return asyncio.run(go())


def lives(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 120) -> None:
    """Wait for a condition; fail by name when it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.02)


def test_a_record_of_a_mebibyte_is_taken(kafka: str) -> None:
    value = os.urandom(1024 * 1024)
    write(kafka, "broker-large", [value])
    assert read(kafka, "broker-large", 1) == [value]


@pytest.mark.fault
def test_acknowledged_records_and_address_survive_crash_and_stop(
    own_kafka: OwnKafka,
) -> None:
    broker = own_kafka()
    first, jvm, state = broker.bootstrap, broker.jvm_pid, broker.places.state_dir
    running = status(state)
    assert (running.running, running.ready, running.pid) == (True, True, jvm)
    # it starts from the classes that were prepared for it, not from the jars
    assert "classes.jsa" in Path(f"/proc/{jvm}/maps").read_text()
    write(first, "kept", [b"1", b"2"])
    broker.kill()
    assert not lives(jvm)
    assert broker.restart() == first
    assert read(first, "kept", 2) == [b"1", b"2"]

    jvm = broker.jvm_pid
    broker.stop()
    assert not lives(jvm)
    stopped = status(state)
    assert (stopped.running, stopped.ready, stopped.pid) == (False, False, None)
    broker.stop()
    with EmbeddedBroker(state) as again:
        assert again.bootstrap == first
        assert read(first, "kept", 2) == [b"1", b"2"]


@pytest.mark.fault
def test_one_broker_at_a_time_has_a_folder_whatever_lies_there(tmp_path: Path) -> None:
    """Process ids in left-over files may belong to others by now: here, to this very test."""
    root = tmp_path / "kafka"
    (root / "data").mkdir(parents=True)
    (root / "lock").write_text(f"{os.getpid()}\n")
    (root / "java.pid").write_text(f"{os.getpid()}\n")
    (root / "broker.json").write_text(
        f'{{"ports":{{"client":1,"controller":2}},"guard_pid":{os.getpid()},"detached":true}}'
    )
    (root / "data" / ".lock").write_text("")
    assert not status(tmp_path).running
    assert not stop_background(tmp_path)
    with EmbeddedBroker(tmp_path) as broker:
        jvm = broker.jvm_pid
        assert jvm != os.getpid()
        with pytest.raises(AlreadyRunningError, match="tidewatch broker stop"):
            EmbeddedBroker(tmp_path).start()
        assert status(tmp_path).ready
        write(broker.bootstrap, "gone", [b"1"])
        guard = int(Path(f"/proc/{jvm}/stat").read_text().rsplit(")", 1)[1].split()[1])
        os.kill(guard, signal.SIGKILL)
        wait_until(lambda: not lives(jvm), "the JVM ends with the guard, and leaves no orphan")

    port = int(broker.bootstrap.rsplit(":", 1)[1])
    wait_until(lambda: is_free(port), "the port is free")
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        with pytest.raises(PortTakenError):
            broker.restart()
        # a last port that is taken meanwhile is replaced
        with EmbeddedBroker(tmp_path, fresh=True) as again:
            assert again.bootstrap != f"127.0.0.1:{port}"
            assert status(tmp_path).ready
            assert "gone" not in topics(again.bootstrap)


PARENT = """
import sys
from pathlib import Path
from streams.broker import EmbeddedBroker
broker = EmbeddedBroker(Path(sys.argv[1]), detached=sys.argv[2] == "detached")
broker.start()
print(broker.jvm_pid, flush=True)
sys.stdin.read()
"""


def start_parent(state: Path, mode: str) -> tuple[subprocess.Popen[str], int]:
    """Start a process that starts a broker; return it and the JVM's process id."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(state), mode],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ
        | {
            "PYTHONPATH": str(Path(__file__).resolve().parents[3]),
            "TIDEWATCH_STATE_DIR": str(jars_dir().parents[1]),
        },
    )
    assert parent.stdout is not None
    for line in parent.stdout:
        if line.strip().isdigit():
            return parent, int(line)
    raise AssertionError("the parent ended")


@pytest.mark.fault
def test_no_orphan_is_left_when_the_parent_is_killed(tmp_path: Path) -> None:
    parent, jvm = start_parent(tmp_path, "child")
    assert lives(jvm)
    with parent:
        parent.kill()
    wait_until(lambda: not lives(jvm), "the JVM ends with the parent")
    wait_until(lambda: not status(tmp_path).running, "the guard ends with the JVM")


@pytest.mark.fault
def test_a_background_broker_outlives_its_parent_until_it_is_stopped(tmp_path: Path) -> None:
    parent, jvm = start_parent(tmp_path, "detached")
    with parent:
        parent.kill()
    assert lives(jvm)
    assert status(tmp_path).ready
    assert stop_background(tmp_path)
    assert not lives(jvm)
    assert not stop_background(tmp_path)


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortTakenError, match=f"127.0.0.1:{port}.*another port"):
            EmbeddedBroker(tmp_path, port=port).start()


def test_a_tampered_jar_never_reaches_a_class_path(tmp_path: Path, kafka: str) -> None:
    assert kafka  # the jars are fetched
    jars = tmp_path / "jars"
    shutil.copytree(jars_dir(), jars)
    clients = next(jars.glob("*/kafka-clients-*.jar"))
    with clients.open("r+b") as file:
        file.seek(1000)
        byte = file.read(1)
        file.seek(1000)
        file.write(bytes([byte[0] ^ 1]))
    with pytest.raises(TamperedJarError, match="kafka-clients"):
        EmbeddedBroker(tmp_path / "state", jars=jars).start()
    assert not (tmp_path / "state" / "kafka" / "java.pid").exists()


def test_a_broker_that_ends_at_its_start_says_why(tmp_path: Path) -> None:
    root = tmp_path / "kafka"
    root.mkdir()
    # a damaged record of the last run is no reason
    (root / "broker.json").write_bytes(b"\xff{")
    broker = EmbeddedBroker(tmp_path, properties={"num.io.threads": "none"})
    with pytest.raises(BrokerDiedError, match=r"num\.io\.threads"):
        broker.start()
    assert not status(tmp_path).running


def test_too_little_space_is_said_before_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.broker.embedded.MIN_FREE_BYTES", 2**62)
    with pytest.raises(NoSpaceError, match="TIDEWATCH_STATE_DIR"):
        EmbeddedBroker(tmp_path).start()


def test_a_full_disk_is_a_clear_error(tmp_path: Path) -> None:
    with (
        pytest.raises(NoSpaceError, match="TIDEWATCH_STATE_DIR"),
        disk_errors(tmp_path),
        Path("/dev/full").open("w") as full,
    ):
        full.write("x" * 100_000)
