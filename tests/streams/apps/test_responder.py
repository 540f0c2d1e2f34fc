"""The responder as a process on a real broker: signed commands, real files, signed results.

Over 500 lines, since the tests share one broker and responder.
"""

from __future__ import annotations

import asyncio
import http.client
import io
import os
import random
import re
import signal
import subprocess
import uuid
from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import aiokafka
import msgspec
import orjson
import pytest
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from schemas.canonical import stable_id
from schemas.channels import Channel
from schemas.cloudevents import binary_headers, first_headers
from schemas.documents import openc2
from schemas.incidents.commands import CommandSpec
from schemas.incidents.updates import IncidentMessage, ResultUpdate
from schemas.signing import SigningKey, new_signing_key, verify_signature
from streams.cli import main
from streams.kafka.topics import ensure_topics, tenant_topic_name, topic_name
from streams.settings import Settings, load_settings
from streams.signing_keys import (
    COMMANDS,
    RESPONDER,
    keys_dir,
    load_or_create_signing_key,
    load_ring,
)
from streams.signing_keys import trusted_dir as trusted
from tests.agents.response.bench import MODEL, Bench, spec_of
from tests.command_here import command_here
from tests.installed import TIDEWATCH
from tests.streams.apps.topic_records import topic_records
from tests.waiting import wait_for

pytestmark = [pytest.mark.kafka]

DEADLINE = 120.0
CHANNELS = (
    Channel.CONTAINMENT_COMMANDS,
    Channel.CONTAINMENT_RESULTS,
    Channel.DEAD_LETTER,
    Channel.OPERATOR_ALERTS,
    Channel.INCIDENT_UPDATES,
)
"""What is looked at; the responder makes what it needs itself."""
GOOD = {"config.json": b"{}", "model.safetensors": b"good"}
BAD = {"config.json": b"{}", "pytorch_model.bin": b"\x80\x04evil"}

Result = tuple[dict[str, bytes], dict[str, Any], Any]
"""Headers by name, the OpenC2 response, and the record."""


class Scene:
    """Topics, keys and a store of one test's own."""

    def __init__(self, kafka: str, folder: Path) -> None:
        self.folder = folder
        self.bench = Bench(folder)
        self.bench.journal.close()
        prefix = f"r{uuid.uuid4().hex[:8]}"
        self.options: dict[str, Any] = {
            "kafka": kafka,
            "topic_prefix": f"{prefix}.",
            "group_prefix": prefix,
            "state_dir": str(folder / "state"),
            "partitions": 2,
            "session_seconds": 10,
        }
        self.environment = {
            **{name: text for name, text in os.environ.items() if "TIDEWATCH" not in name},
            **{f"TIDEWATCH_{name.upper()}": str(value) for name, value in self.options.items()},
        }
        self.settings: Settings = load_settings(**self.options)
        asyncio.run(ensure_topics(self.settings, channels=CHANNELS))
        self.key = load_or_create_signing_key(keys_dir(self.settings.state_dir), COMMANDS)
        self.config = folder / "state/responder.toml"
        self.log = folder / "state/respond.log"
        self.log.touch()
        self.config.write_text(
            f"""
            state_dir = "{folder}/state/responder"
            [tenants.acme.store]
            root = "{folder}/models"
            quarantine = "{folder}/quarantine"
            [tenants.acme.evidence]
            folder = "{folder}/evidence"
            roots = ["{folder}/logs"]
            [tenants.acme.evidence.systems]
            serving-1 = ["{folder}/logs"]
            [tenants.acme.blocklist]
            sources = "{folder}/etc/model-blocklist.txt"
            """
        )

    def send(
        self,
        *specs: CommandSpec,
        key: SigningKey | None = None,
        made: datetime | None = None,
        tenant: str | None = None,
        times: int = 1,
        topic: str | None = None,
    ) -> None:
        records = []
        for spec in specs:
            value = orjson.dumps(openc2.command_document(spec))
            headers = binary_headers(
                id=stable_id("cmd", spec.command_id, str(spec.attempt), spec.mode),
                type=openc2.COMMAND_TYPE,
                source="//tidewatch/incidents",
                time=made or datetime.now(UTC),
                tenant=tenant or spec.tenant,
                correlation=spec.incident,
            )
            signed = [*headers, (key or self.key).sign(headers, value)]
            records += [(f"{spec.incident}|{spec.tenant}".encode(), value, signed)] * times

        async def publish() -> None:
            producer = aiokafka.AIOKafkaProducer(bootstrap_servers=self.settings.kafka)
            await producer.start()
            to = topic or topic_name(self.settings, Channel.CONTAINMENT_COMMANDS)
            for name, value, headers in records:
                await producer.send_and_wait(to, key=name, value=value, headers=headers)
            await producer.stop()

        asyncio.run(publish())

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [
                    *(TIDEWATCH, "respond", "run", "--config", str(self.config)),
                    *options,
                ],
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=log,
            )

    def once(self, *options: str) -> str:
        """Run `respond run --once` in this process, and return what it printed."""
        words = ["respond", "run", "--config", str(self.config), "--once", *options]
        with command_here(self.log, self.environment), redirect_stdout(io.StringIO()) as printed:
            ended = main(words)
        assert ended == 0, self.log.read_text()
        return printed.getvalue()

    def read(self, channel: Channel) -> list[Any]:
        return topic_records(self.settings, channel, "read_uncommitted")

    def results(self) -> list[Result]:
        found = self.read(Channel.CONTAINMENT_RESULTS)
        return [
            (first_headers(record.headers), orjson.loads(record.value), record) for record in found
        ]

    def updates(self) -> list[ResultUpdate]:
        """Return the answers that reached their incidents."""
        read = [
            msgspec.json.decode(record.value, type=IncidentMessage)
            for record in self.read(Channel.INCIDENT_UPDATES)
        ]
        return [record for record in read if isinstance(record, ResultUpdate)]

    def statuses(self) -> dict[str, int]:
        """The last status of each command."""
        return {
            result[1]["results"][openc2.EXTENSION]["command_id"]: result[1]["status"]
            for result in self.results()
        }


@pytest.fixture
def scene(kafka: str, tmp_path: Path) -> Scene:
    return Scene(kafka, tmp_path)


def live(action: str, target: str = MODEL, **more: Any) -> CommandSpec:
    """A command that has not expired by the clock."""
    return spec_of(action, target, expires=datetime.now(UTC) + timedelta(days=1), **more)


def series(bench: Bench) -> list[CommandSpec]:
    """What an incident calls for: evidence, then quarantine, rollback and a block."""
    (bench.folder / "logs/server.log").write_bytes(b"line\n")
    os.utime(bench.folder / "logs/server.log", (0, 0))
    good = bench.version("r1", GOOD)
    bad = bench.version("r2", BAD, current=True)
    evidence = live("capture-evidence", "serving-1", system="serving-1")
    first = (evidence.command_id,)
    moved = live("quarantine", f"{MODEL}@r2", version="r2", digest=bad, after=first)
    back = live(
        "rollback",
        rollback_version="r1",
        rollback_digest=good,
        after=(*first, moved.command_id),
    )
    return [evidence, moved, back, live("block", "model:huggingface/evil/m", after=first)]


def test_signed_commands_are_carried_out_and_answered_signed(scene: Scene) -> None:
    specs = series(scene.bench)
    scene.send(*specs)
    scene.once()
    assert not (scene.bench.model / "versions/r2").exists()
    assert str((scene.bench.model / "current").readlink()) == "versions/r1"
    assert "evil/m" in (scene.folder / "etc/model-blocklist.txt").read_text().splitlines()
    ring = load_ring(trusted(keys_dir(scene.settings.state_dir), RESPONDER))
    results = scene.results()
    assert len(results) == len(specs)
    by_command = {spec.command_id: spec for spec in specs}
    for headers, document, record in results:
        signed = [(name, value) for name, value in record.headers]
        verify_signature(signed, record.value, ring, timestamp_ms=record.timestamp)
        spec = by_command[record.key.decode()]
        openc2.read_response(record.value)
        assert document["status"] == 200, document
        assert headers["ce_id"].decode() == stable_id("res", spec.command_id, "1", "200")
        assert headers["ce_type"].decode() == openc2.RESULT_TYPE
        assert headers["ce_correlationid"].decode() == spec.incident
        assert headers["ce_causationid"].decode() == spec.command_id
        assert headers["ce_tenantid"] == b"acme"
    moved = next(doc for _, doc, _ in results if "moved_to" in doc["results"][openc2.EXTENSION])
    assert Path(moved["results"][openc2.EXTENSION]["manifest"]).is_file()


def test_forged_replayed_and_misdirected_commands_touch_nothing(scene: Scene) -> None:
    spec = series(scene.bench)[3]
    spec = msgspec.structs.replace(spec, after=())
    before = scene.bench.tree()
    scene.send(spec, key=new_signing_key("stranger"))
    scene.send(spec, key=SigningKey(kid=COMMANDS, pem=new_signing_key("x").pem))
    scene.send(spec, made=datetime.now(UTC) - timedelta(days=8))
    scene.send(msgspec.structs.replace(spec, tenant="other"), tenant="acme")
    scene.send(msgspec.structs.replace(spec, tenant="other"))
    scene.once()
    assert scene.results() == []
    letters = scene.read(Channel.DEAD_LETTER)
    reasons = sorted(first_headers(letter.headers)["reason"].decode() for letter in letters)
    assert reasons == ["invalid-signature"] * 3 + ["tenant-mismatch"]
    assert scene.bench.tree() == before


def test_a_command_sent_again_is_answered_again_and_not_done_again(scene: Scene) -> None:
    spec = msgspec.structs.replace(series(scene.bench)[1], after=())
    scene.send(spec, times=2)
    scene.once()
    scene.bench.version("r2", GOOD)
    after = scene.bench.tree()
    scene.send(spec)
    scene.once()
    assert scene.bench.tree() == after
    results = scene.results()
    assert len(results) == 3
    assert len({(headers["ce_id"], record.value) for headers, _, record in results}) == 1


def test_a_tenant_runs_a_responder_on_its_own_topic(scene: Scene) -> None:
    text = scene.config.read_text()
    scene.config.write_text(f'name = "site-2"\ntopics = "tenant"\n{text}')
    asyncio.run(ensure_topics(scene.settings, channels=(), tenants=["acme"]))
    spec = live("block", "model:huggingface/evil/m")
    own = tenant_topic_name("acme", Channel.CONTAINMENT_COMMANDS)
    scene.send(spec, topic=own)
    scene.send(msgspec.structs.replace(spec, command_id="x", tenant="other"), topic=own)
    scene.send(msgspec.structs.replace(spec, command_id="y"))
    scene.once()
    ((headers, _, record),) = scene.results()
    assert record.key.decode() == spec.command_id
    assert headers["ce_signature"].startswith(b"ed25519;kid=site-2;")
    ring = load_ring(trusted(keys_dir(scene.settings.state_dir), RESPONDER))
    signed = [(name, value) for name, value in record.headers]
    assert verify_signature(signed, record.value, ring, timestamp_ms=record.timestamp) == "site-2"


def test_answer_on_a_bound_topic_counts_for_its_tenant_alone(
    scene: Scene,
) -> None:
    """The topic says whose the answers are, whatever key signs them: this one is for all."""
    bound = f"{scene.options['topic_prefix']}acme-results"
    names = {bound: {"channel": "containment-results", "tenant": "acme"}}
    scene.environment["TIDEWATCH_BOUND_TOPICS"] = orjson.dumps(names).decode()
    bound_settings = load_settings(**scene.options, bound_topics=names)
    asyncio.run(ensure_topics(bound_settings, channels=(Channel.CONTAINMENT_RESULTS,)))
    text = scene.config.read_text()
    other = f'[tenants.other.blocklist]\nsources = "{scene.folder}/etc/other.txt"\n'
    scene.config.write_text(f'results_topic = "{bound}"\n{text}\n{other}')
    spec = live("block", "model:huggingface/evil/m")
    strange = msgspec.structs.replace(spec, command_id=str(uuid.uuid4()), tenant="other")
    scene.send(spec, strange)
    scene.once()
    assert scene.results() == []
    with scene.log.open("ab") as log:
        worker = subprocess.Popen(
            [TIDEWATCH, "worker", "--agents", "incidents"],
            env=scene.environment,
            stdout=log,
            stderr=log,
        )
    try:
        wait_for(lambda: scene.updates() and scene.read(Channel.DEAD_LETTER), "both were read")
    finally:
        worker.terminate()
        worker.wait(30)
    assert [(update.command_id, update.tenant, update.status) for update in scene.updates()] == [
        (spec.command_id, "acme", 200)
    ]
    (letter,) = scene.read(Channel.DEAD_LETTER)
    assert first_headers(letter.headers)["reason"] == b"tenant-mismatch"
    refused = orjson.loads(letter.value)["results"][openc2.EXTENSION]
    assert refused["command_id"] == strange.command_id


async def delete_commands(scene: Scene) -> dict[int, int]:
    """Delete every command on the topic, as retention does; return where each partition begins."""
    topic = topic_name(scene.settings, Channel.CONTAINMENT_COMMANDS)
    admin = AIOKafkaAdminClient(bootstrap_servers=str(scene.settings.kafka))
    await admin.start()
    consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers=scene.settings.kafka)
    await consumer.start()
    try:
        partitions = [aiokafka.TopicPartition(topic, number) for number in range(2)]
        ends = await consumer.end_offsets(partitions)
        await admin.delete_records(
            {tp: RecordsToDelete(before_offset=end) for tp, end in ends.items() if end}
        )
        return {tp.partition: end for tp, end in ends.items()}
    finally:
        await consumer.stop()
        await admin.close()


def test_commands_that_were_gone_before_it_read_them_are_reported_before_it_continues(
    scene: Scene,
) -> None:
    def gone() -> list[dict[str, Any]]:
        reported = [orjson.loads(record.value) for record in scene.read(Channel.OPERATOR_ALERTS)]
        return [alert for alert in reported if alert["kind"] == "records-gone"]

    first = live("block", "model:huggingface/evil/m")
    scene.send(first)
    scene.once()
    assert gone() == []
    scene.send(*(msgspec.structs.replace(first, command_id=f"missed-{n}") for n in range(3)))
    begins = asyncio.run(delete_commands(scene))
    last = msgspec.structs.replace(first, command_id="last")
    scene.send(last)
    scene.once()
    assert set(scene.statuses()) == {first.command_id, "last"}
    (alert,) = gone()
    partition = int(alert["subject"].rpartition("-")[2])
    assert alert["figures"] == {"reached": 1, "begins": begins[partition], "records": 3}
    assert "records-gone" in scene.log.read_text()


def test_a_responder_that_starts_where_commands_are_gone_already_says_so(scene: Scene) -> None:
    scene.send(live("block", "model:huggingface/evil/m"))
    asyncio.run(delete_commands(scene))
    scene.once()
    (alert,) = [orjson.loads(record.value) for record in scene.read(Channel.OPERATOR_ALERTS)]
    assert (alert["kind"], alert["figures"]) == ("records-gone", {"begins": 1})


def test_an_expired_command_is_refused(scene: Scene) -> None:
    spec = live("block", "model:huggingface/evil/m")
    scene.send(msgspec.structs.replace(spec, expires=datetime.now(UTC) - timedelta(seconds=1)))
    scene.once()
    ((_, document, _),) = scene.results()
    assert document["status"] == 400
    assert "expired" in document["status_text"]


def test_a_command_that_came_too_early_waits_beyond_a_restart(scene: Scene) -> None:
    evidence, moved, *_ = series(scene.bench)
    scene.send(moved)
    scene.once()
    assert scene.statuses() == {moved.command_id: 102}
    assert (scene.bench.model / "versions/r2").exists()
    scene.send(evidence)
    scene.once()
    assert scene.statuses() == {moved.command_id: 200, evidence.command_id: 200}
    assert not (scene.bench.model / "versions/r2").exists()


def test_a_dry_run_says_what_would_be_done_and_leaves_it_to_be_done(scene: Scene) -> None:
    specs = series(scene.bench)
    scene.send(*specs)
    before = scene.bench.tree()
    said = scene.once("--dry-run")
    assert "would be moved to the quarantine" in said
    assert "would be rolled back to r1" in said
    assert scene.bench.tree() == before
    assert scene.results() == []
    scene.once()
    assert set(scene.statuses().values()) == {200}


def _reached(scene: Scene, goal: int, process: subprocess.Popen[bytes]) -> bool:
    return len(scene.statuses()) >= goal or process.poll() is not None


def asked(scene: Scene, page: str) -> tuple[int, str]:
    """Return the content of the responder's page, at the address in its log."""
    reported = re.findall(r"http://127\.0\.0\.1:(\d+)/healthz", scene.log.read_text())
    if not reported:
        return 0, ""
    link = http.client.HTTPConnection("127.0.0.1", int(reported[-1]), timeout=5)
    try:
        link.request("GET", page)
        answer = link.getresponse()
        return answer.status, answer.read().decode()
    finally:
        link.close()


def test_it_reports_its_health_and_is_ready_only_with_its_folders(scene: Scene) -> None:
    done, refused = series(scene.bench)[0], live("block", "model:huggingface/evil/m\n")
    process = scene.start()
    try:
        wait_for(lambda: asked(scene, "/readyz")[0] == 200, "it was ready")
        assert asked(scene, "/healthz")[0] == 200
        scene.send(done, refused)
        wait_for(lambda: len(scene.statuses()) == 2, "both were answered")
        wait_for(lambda: 'outcome="refused"' in asked(scene, "/metrics")[1], "both were counted")
        counted = asked(scene, "/metrics")[1]
        assert (
            'tidewatch_responder_answers_total{action="capture-evidence",outcome="done"} 1.0'
            in counted
        )
        assert 'tidewatch_responder_answers_total{action="block",outcome="refused"} 1.0' in counted
        assert re.search(r"tidewatch_responder_last_command_seconds 1\.\d+e\+09", counted)
        (scene.folder / "models").rename(scene.folder / "elsewhere")
        wait_for(lambda: asked(scene, "/readyz")[0] == 503, "it was not ready without its store")
        (scene.folder / "elsewhere").rename(scene.folder / "models")
        wait_for(lambda: asked(scene, "/readyz")[0] == 200, "it was ready again")
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=DEADLINE)
    assert process.returncode == 0


def test_responder_stops_on_request(scene: Scene) -> None:
    process = scene.start()
    wait_for(lambda: "responder-started" in scene.log.read_text(), "it started")
    second = scene.start()
    second.communicate(timeout=DEADLINE)
    assert second.returncode == 2
    assert "another responder runs" in scene.log.read_text()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=DEADLINE)
    assert process.returncode == 0


@pytest.mark.fault
def test_random_kills_give_the_same_result(kafka: str, tmp_path: Path) -> None:
    def made(name: str) -> tuple[Scene, list[CommandSpec]]:
        folder = tmp_path / name
        folder.mkdir()
        scene = Scene(kafka, folder)
        specs = series(scene.bench)
        for number in range(40):
            specs.append(live("block", f"domain:d{number}.example", after=specs[0].after))
        moved, back = specs[1], specs[2]
        specs += [
            live("restore", moved.target, undoes=moved.command_id, version="r2"),
            live("roll-forward", MODEL, undoes=back.command_id),
        ]
        scene.send(*specs)
        return scene, specs

    def end(scene: Scene) -> tuple[dict[str, str], set[bytes], dict[str, int]]:
        tree = {
            # an archive names its files in full, and so the folder of its test
            path: "" if path.endswith(".tar.gz") else what
            for path, what in scene.bench.tree().items()
            if not path.endswith((".json", "blocklist.txt"))
        }
        ids = {headers["ce_id"] for headers, _, _ in scene.results()}
        return tree, ids, scene.statuses()

    undisturbed, specs = made("undisturbed")
    undisturbed.once()
    expected = end(undisturbed)
    assert set(expected[2].values()) == {200}
    assert len(expected[2]) == len(specs)

    scene, _ = made("killed")
    chance = random.Random(7)
    for _ in range(6):
        answered = len(scene.statuses())
        process = scene.start()
        goal = min(answered + chance.randrange(1, 9), len(specs) - 1)
        wait_for(
            partial(_reached, scene, goal, process),
            "commands were answered",
        )
        process.kill()
        process.communicate()
    scene.once()
    assert end(scene) == expected
    lines = (scene.folder / "etc/model-blocklist.txt").read_text().splitlines()
    values = [line for line in lines if not line.startswith("#")]
    assert sorted(values) == sorted({*(f"domain:d{n}.example" for n in range(40)), "evil/m"})


def test_configuration_is_checked_before_reading(
    scene: Scene, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in scene.options.items():
        monkeypatch.setenv(f"TIDEWATCH_{name.upper()}", str(value))
    command = ["respond", "check", "--config", str(scene.config)]
    assert main(command) == 0
    assert "serves acme" in capsys.readouterr().out
    text = scene.config.read_text()
    scene.config.write_text(text.replace("/models", "/absent"))
    assert main(command) == 2
    assert "is not a folder" in capsys.readouterr().out
    for wrong, said in (
        (text.replace("quarantine =", "quarantaine ="), "quarantaine"),
        (text.replace("/quarantine", "/models/q"), "must be separate folders"),
        ("state_dir = 'x'", "not an absolute path"),
        ("state_dir = '/x'\n[tenants]", "serves no tenant"),
        ("= =", "not valid"),
    ):
        scene.config.write_text(wrong)
        assert main(["respond", "run", "--config", str(scene.config)]) == 2
        assert said in capsys.readouterr().err, said
    scene.config.write_text(text)
    assert main(["respond", "keygen", "--config", str(scene.config)]) == 0
    assert capsys.readouterr().out.startswith("-----BEGIN PUBLIC KEY-----")
