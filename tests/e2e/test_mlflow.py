"""A real MLflow: a version's webhook arrives, the model is fetched, scanned and gated."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import orjson
import pytest

from schemas.channels import Channel
from schemas.policy import Policy
from streams.kafka.compacted import publish_values
from streams.settings import load_settings
from tests.agents.response.mlflow_server import COMMAND, MlflowServer
from tests.e2e.command import tidewatch
from tests.installed import TIDEWATCH

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.slow,
    pytest.mark.skipif(
        COMMAND is None, reason="needs MLflow: `make mlflow`, or MLFLOW_COMMAND naming its program"
    ),
]

SECONDS = 120.0
SECRET = "a-secret-of-acme-0001"
EVIL = b"cos\nsystem\n(S'id'\ntR."


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    server = MlflowServer(
        tmp_path_factory.mktemp("mlflow"),
        # the gateway of this test is on this machine, without TLS
        MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS="true",
        MLFLOW_WEBHOOK_ALLOWED_SCHEMES="http",
        MLFLOW_WEBHOOK_CACHE_TTL="0",
    )
    yield server
    server.stop()


def logged(file: Path, what: str) -> dict[str, str]:
    """Return the first line of a log that says something, once it is there."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        for line in file.read_bytes().splitlines():
            if line.startswith(b"{") and f'"{what}"'.encode() in line:
                found: dict[str, str] = orjson.loads(line)
                return found
        time.sleep(0.1)
    raise AssertionError(file.read_text())


def test_a_version_of_mlflow_is_fetched_scanned_and_gated(
    kafka: str, server: MlflowServer, tmp_path: Path
) -> None:
    registry = server.url.removeprefix("http://")
    options = {
        "kafka": kafka,
        "topic_prefix": "mlflow.",
        "group_prefix": "mlflow",
        "state_dir": tmp_path / "state",
        "partitions": 1,
        "log_format": "json",
        "fetch_schemes": '["http", "mlflow"]',
        "fetch_private_hosts": f'["{registry}"]',
    }
    environment = {
        **{name: text for name, text in os.environ.items() if "TIDEWATCH" not in name},
        **{f"TIDEWATCH_{name.upper()}": str(value) for name, value in options.items()},
    }
    settings = load_settings(
        kafka=kafka, topic_prefix="mlflow.", partitions=1, state_dir=tmp_path / "state"
    )
    policy = Policy(tenant="acme", roots=(f"mlflow://{registry}/",))
    rows = [("acme", msgspec.json.encode(policy))]
    asyncio.run(publish_values(settings, Channel.POLICY, rows))
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "gateway.toml").write_text(
        '[listen]\nport = 0\n[endpoints.mlflow]\ntenant = "acme"\nproducer = "mlflow"\n'
        f'secret = "file:{tmp_path}/secret"\nregistry = "{registry}"\n'
    )
    running: list[subprocess.Popen[bytes]] = []

    def start(name: str, *words: str) -> Path:
        log = tmp_path / f"{name}.log"
        with log.open("wb") as opened:
            running.append(
                subprocess.Popen([TIDEWATCH, *words], env=environment, stdout=opened, stderr=opened)
            )
        return log

    try:
        start("worker", "worker", "--agents", "checks,scan")
        log = start("gateway", "gateway", "--config", str(tmp_path / "gateway.toml"))
        url = logged(log, "gateway-started")["url"]
        server.call(
            "POST",
            "webhooks",
            name="tidewatch",
            url=f"{url}/v1/hooks/mlflow",
            events=[{"entity": "MODEL_VERSION", "action": "CREATED"}],
            secret=SECRET,
        )
        for name, raw, code in (("evil", EVIL, 1), ("fine", b"{}", 0)):
            server.call("POST", "registered-models/create", name=name)
            server.add(raw, name=name, file="model.pkl" if code else "config.json")
            said = tidewatch(
                *("gate", f"model:{registry}/{name}", "--tenant", "acme", "--format", "json"),
                *("--fail-on", "high", "--timeout", f"{SECONDS:g}s"),
                seconds=SECONDS + 30,
                **options,
            )
            assert said[0] == code, said[1]
            document = orjson.loads(said[1])
            checks = {check["name"]: check for check in document["assessment"]["checks"]}
            assert document["assessment"]["stage"] == "scan"
            assert ("scan_data/model.pkl" in checks) is bool(code), checks
    finally:
        for process in running:
            process.send_signal(signal.SIGTERM)
        for process in running:
            process.wait(SECONDS)
