"""rsyslog, kcat and Kafka Connect take the largest alerts off a real Kafka, whole."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from uuid import uuid4

import aiokafka
import aiokafka.admin
import pytest

from schemas.channels import Channel
from streams.reports.contract_samples import samples

ROOT = Path(__file__).resolve().parents[2]
TRANSPORT = ROOT / "deploy" / "siem" / "transport"
CONNECT_JARS = ROOT / ".venv" / "connect"
MODULE = Path("rsyslog") / "imkafka.so"
FOLDERS = (Path("/usr/lib/x86_64-linux-gnu"), Path("/usr/lib/aarch64-linux-gnu"), Path("/usr/lib"))
SECONDS = 90
LARGE = 1_000_000
pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]


@pytest.fixture
def topic(kafka):
    """A topic with a plain alert, and one that is nearly as large as they get."""
    name = f"siem-{uuid4().hex[:12]}"
    sample = samples()[Channel.ALERTS]
    large = json.loads(sample.value)
    large["unmapped"]["padding"] = "x" * LARGE
    values = [sample.value, json.dumps(large).encode()]

    async def send():
        admin = aiokafka.admin.AIOKafkaAdminClient(bootstrap_servers=kafka)
        await admin.start()
        config = {"max.message.bytes": "1114112"}
        await admin.create_topics([aiokafka.admin.NewTopic(name, 1, 1, topic_configs=config)])
        await admin.close()
        producer = aiokafka.AIOKafkaProducer(bootstrap_servers=kafka, max_request_size=1_114_112)
        await producer.start()
        for value in values:
            await producer.send_and_wait(
                name, value, key=sample.key.encode(), headers=list(sample.headers)
            )
        await producer.stop()

    asyncio.run(send())
    return name, [json.loads(value) for value in values]


def test_rsyslog_writes_each_alert_as_one_line(kafka, topic, tmp_path):
    rsyslogd = shutil.which("rsyslogd") or shutil.which("rsyslogd", path="/usr/sbin")
    if rsyslogd is None or not any((folder / MODULE).exists() for folder in FOLDERS):
        pytest.skip("no rsyslog with imkafka here (Debian: rsyslog-kafka)")
    probe = tmp_path / "probe.conf"
    probe.write_text('module(load="imkafka")\naction(type="omfile" file="/dev/null")\n')
    tried = subprocess.run(
        [rsyslogd, "-N1", "-f", str(probe)], capture_output=True, text=True, timeout=60, check=False
    )
    if tried.returncode != 0:
        # some distributions confine it to its own folders
        pytest.skip(f"rsyslog does not read a configuration of ours here: {tried.stderr.strip()}")
    name, sent = topic
    output = tmp_path / "alerts.jsonl"
    text = (TRANSPORT / "rsyslog.conf").read_text()
    for old, new in (
        ('"BROKER"', f'"{kafka}"'),
        ('"OUTPUT"', f'"{output}"'),
        ('"supplychain.alerts"', f'"{name}"'),
        ('"siem"', f'"{name}"'),
    ):
        assert old in text
        text = text.replace(old, new)
    configuration = tmp_path / "rsyslog.conf"
    configuration.write_text(text)
    command = [rsyslogd, "-n", "-f", str(configuration), "-i", str(tmp_path / "pid")]
    checked = subprocess.run(
        [*command, "-N1"], capture_output=True, text=True, timeout=60, check=False
    )
    assert checked.returncode == 0, checked.stderr
    log = tmp_path / "log"
    with log.open("wb") as written:
        daemon = subprocess.Popen(command, stdout=written, stderr=written)
    try:
        deadline = time.monotonic() + SECONDS
        while not output.exists() or output.read_bytes().count(b"\n") < len(sent):
            assert daemon.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(30)
    assert [json.loads(line) for line in output.read_text().splitlines()] == sent


def test_kcat_prints_each_alert_as_one_line(kafka, topic):
    kcat = shutil.which("kcat")
    if kcat is None:
        pytest.skip("no kcat here")
    name, sent = topic
    done = subprocess.run(
        [kcat, "-C", "-e", "-q", "-b", kafka, "-t", name, "-o", "beginning"],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env={"PATH": os.environ["PATH"]},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [json.loads(line) for line in done.stdout.splitlines()] == sent


def test_kafka_connect_writes_each_alert_as_one_line(kafka, topic, tmp_path):
    java = shutil.which("java")
    if java is None or not CONNECT_JARS.is_dir():
        pytest.skip("no Kafka Connect here: `make connect` brings it")
    name, sent = topic
    output = tmp_path / "siem.jsonl"
    worker = configured(
        TRANSPORT / "connect-standalone.properties",
        tmp_path,
        {
            "kafka.example:9092": kafka,
            "/var/lib/kafka-connect/offsets": str(tmp_path / "offsets"),
            "/opt/kafka/libs/": f"{CONNECT_JARS}/",
        },
        # any free port, not the one that everybody takes
        "listeners=http://127.0.0.1:0",
    )
    sink = configured(
        TRANSPORT / "connect-file-sink.properties",
        tmp_path,
        {
            "supplychain.alerts-ecs,supplychain.iocs-ecs": name,
            "/var/log/tidewatch/siem.jsonl": str(output),
        },
    )
    log = tmp_path / "log"
    with log.open("wb") as written:
        process = subprocess.Popen(
            [
                java,
                "-Xmx256m",
                "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
                "-cp",
                f"{CONNECT_JARS}/*",
                "org.apache.kafka.connect.cli.ConnectStandalone",
                str(worker),
                str(sink),
            ],
            stdout=written,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + SECONDS
        while not output.exists() or output.read_bytes().count(b"\n") < len(sent):
            assert process.poll() is None, log.read_text("utf-8", "replace")
            assert time.monotonic() < deadline, log.read_text("utf-8", "replace")
            time.sleep(0.2)
    finally:
        process.terminate()
        process.wait(30)
    assert [json.loads(line) for line in output.read_text().splitlines()] == sent


def configured(path, folder, replaced, *more):
    """Write a configuration of the kit with this machine's values, and return where it is."""
    text = path.read_text()
    for old, new in replaced.items():
        assert old in text
        text = text.replace(old, new)
    written = folder / path.name
    written.write_text("\n".join([text, *more, ""]))
    return written
