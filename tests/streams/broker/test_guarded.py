"""The embedded broker of a user: clients of the user find its password, nobody else gets in."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import aiokafka
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from streams.broker import EmbeddedBroker, status
from streams.broker.access import USER, password_file, with_password
from streams.broker.readiness import is_ready
from streams.cli.frame import connected_settings
from streams.kafka.client import client_options
from streams.kafka.connection_diagnosis import unreachable
from streams.logs import configure_logs
from streams.settings import Settings, load_settings

pytestmark = pytest.mark.kafka
NOBODY = 65534
ASK = """
    import socket, struct, sys
    def exchange(port, key, version):
        body = struct.pack(">hhih", key, version, 1, 1) + b"x" + struct.pack(">i", 0)
        with socket.create_connection(("127.0.0.1", port), 10) as kafka:
            kafka.sendall(struct.pack(">i", len(body)) + body)
            return kafka.recv(4)
    for port in map(int, sys.argv[2:]):
        answer = exchange(port, 3, 1)
        assert answer == b"", ("it answered an unknown client", port, answer)
    try:
        open(sys.argv[1]).read()
    except PermissionError:
        print("refused")
"""


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The state folder of a user whose broker runs."""
    folder = tmp_path_factory.mktemp("guarded")
    umask = os.umask(0o022)  # a careless user's
    try:
        with EmbeddedBroker(folder, guarded=True):
            yield folder
    finally:
        os.umask(umask)


@pytest.fixture
def settings(state: Path) -> Settings:
    bootstrap = status(state).bootstrap
    return with_password(load_settings(state_dir=state, kafka=bootstrap))


def test_commands_of_the_same_user_find_the_password(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDEWATCH_STATE_DIR", str(state))
    found = connected_settings()
    assert (found.kafka_username, found.kafka_sasl_mechanism) == (USER, "PLAIN")
    monkeypatch.setenv("TIDEWATCH_KAFKA", str(found.kafka))
    assert connected_settings() == found, "also where its address is named"
    monkeypatch.setenv("TIDEWATCH_KAFKA", "127.0.0.1:1")
    assert connected_settings().kafka_username is None, "no other broker gets it"


def test_client_with_the_password_reads_and_writes(settings: Settings) -> None:
    async def both() -> bytes:
        options = client_options(settings)
        async with aiokafka.AIOKafkaProducer(**options) as producer:
            await producer.send_and_wait("own", b"word")
        reader = aiokafka.AIOKafkaConsumer("own", auto_offset_reset="earliest", **options)
        await reader.start()
        try:
            async with asyncio.timeout(60):
                value: bytes = (await reader.getone()).value
                return value
        finally:
            await reader.stop()

    async def make() -> None:
        admin = AIOKafkaAdminClient(**client_options(settings))
        await admin.start()
        await admin.create_topics([NewTopic("own", 1, 1)])
        await admin.close()

    asyncio.run(make())
    assert asyncio.run(both()) == b"word"


def test_for_a_client_without_a_user_the_setting_is_named(settings: Settings) -> None:
    anonymous = load_settings(state_dir=settings.state_dir, kafka=settings.kafka)
    error = asyncio.run(unreachable(anonymous, OSError("closed")))
    assert "names no user" in str(error)
    assert "TIDEWATCH_KAFKA_USERNAME" in str(error)


@pytest.mark.parametrize("secret", [None, "guessed"])
def test_client_without_the_password_is_refused(settings: Settings, secret: str | None) -> None:
    guess = {} if secret is None else {"sasl_mechanism": "PLAIN", "sasl_plain_username": USER}
    if secret is not None:
        guess |= {"sasl_plain_password": secret, "security_protocol": "SASL_PLAINTEXT"}

    async def write() -> None:
        producer = aiokafka.AIOKafkaProducer(
            bootstrap_servers=settings.kafka, request_timeout_ms=5000, **guess
        )
        try:
            await producer.start()
            await producer.send_and_wait("own", b"word")
        finally:
            await producer.stop()

    with pytest.raises(KafkaError):
        asyncio.run(write())
    port = int(str(settings.kafka).rpartition(":")[2])
    assert not is_ready(port, USER, secret or "")


def test_workers_do_not_warn_of_its_password_and_do_of_others(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    handlers = logging.getLogger().handlers[:]
    level = logging.getLogger().level
    try:
        for kafka, shown in ((settings.kafka, False), ("kafka.example:9092", True)):
            configure_logs(settings.model_copy(update={"kafka": kafka, "log_format": "json"}))
            logging.getLogger("aiokafka.conn").warning("Sending username and password in the clear")
            assert ("in the clear" in capsys.readouterr().err) is shown
    finally:
        logging.getLogger().handlers[:] = handlers
        logging.getLogger().setLevel(level)


def test_all_that_it_keeps_is_private(state: Path) -> None:
    root = state / "kafka"
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    made = [root / name for name in ("password", "server.properties", "lock")]
    made += list((root / "data").rglob("*.log"))
    assert made
    open_to_others = [path for path in made if stat.S_IMODE(path.stat().st_mode) & 0o077]
    assert not open_to_others


def test_another_user_of_the_machine_reads_and_writes_nothing(state: Path) -> None:
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin:/bin")
    if os.geteuid() != 0 or shutil.which("setpriv") is None or python is None:
        pytest.skip("to be another user takes root, setpriv and a Python that others may run")
    for folder in (state, *state.parents):  # as in a home folder that others may pass
        if folder == Path("/tmp") or not str(folder).startswith("/tmp"):
            break
        folder.chmod(folder.stat().st_mode | 0o011)
    ports = json.loads((state / "kafka" / "broker.json").read_bytes())["ports"]
    done = subprocess.run(
        [
            *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
            *(python, "-I", "-S", "-c", textwrap.dedent(ASK), str(password_file(state))),
            *(str(ports["client"]), str(ports["controller"])),
        ],
        capture_output=True,
        text=True,
        cwd="/",
        check=False,
    )
    assert done.stdout.strip() == "refused", done.stderr


def test_a_command_leaves_state_private_and_output_as_the_user_has_it(tmp_path: Path) -> None:
    script = (
        "import os, sys; os.umask(0o022); from streams.cli import main; "
        "raise SystemExit(main(sys.argv[1:]))"
    )

    def run(*words: str) -> None:
        subprocess.run(
            [sys.executable, "-c", script, *words],
            env={**os.environ, "TIDEWATCH_STATE_DIR": str(tmp_path / "new")},
            check=True,
            capture_output=True,
        )

    run("keys", "create", "ann", "--actor", "ann")
    run("schema", "--directory", str(tmp_path / "schemas"))
    kept = [path for path in (tmp_path / "new").rglob("*") if path.is_file()]
    assert kept
    assert not [path for path in kept if path.stat().st_mode & 0o077]
    (shown, *_) = (tmp_path / "schemas").iterdir()
    assert stat.S_IMODE(shown.stat().st_mode) == 0o644
