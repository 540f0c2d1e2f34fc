"""The installed gateway on a real broker, spoken to over HTTP.

Over 500 lines, since its tests share one gateway and one broker.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest
from jsonschema import Draft202012Validator

from schemas import dead_letters as reasons
from schemas.channels import Channel
from schemas.cloudevents import read_event
from schemas.severity import Severity, Status
from streams.broker import EmbeddedBroker
from streams.broker import status as broker_status
from streams.cli import main
from streams.gateway.config import read_config
from streams.gateway.delivery import RecordWriter
from streams.gateway.handlers import Gateway
from streams.kafka.dead_letters import DeadLetter, read_dead_letter, replay_dead_letters
from streams.kafka.reader import read_topic
from streams.kafka.topics import topic_name
from streams.settings import Settings, load_settings
from tests.installed import TIDEWATCH
from tests.samples import sample
from tests.streams.cli.test_gate import publish
from tests.streams.gateway.requests import (
    FOREIGN,
    SECRET,
    TENANT,
    event,
    hub_signature,
    mlflow_headers,
)
from tests.streams.test_gates import assessment

pytestmark = [pytest.mark.kafka]

SECONDS = 60.0
CONFIG = """
[listen]
port = 0
[limits]
body_bytes = 200000
[pressure]
deliver_seconds = {deliver}

[endpoints.ci]
tenant = "acme"
producer = "cloudevents"
secret = "file:{secret}"
[endpoints.globex-ci]
tenant = "globex"
producer = "cloudevents"
secret = "file:{foreign}"
[endpoints.hub]
tenant = "acme"
producer = "huggingface"
secret = "file:{secret}"
[endpoints.mlflow]
tenant = "acme"
producer = "mlflow"
secret = "file:{secret}"
[endpoints.github]
tenant = "acme"
producer = "github"
secret = "file:{secret}"
[endpoints.docker]
tenant = "acme"
producer = "docker-hub"
proof = "path"
secret = "file:{secret}"
"""
STRUCTURED = {
    "Content-Type": "application/cloudevents+json",
    "Authorization": f"Bearer {SECRET}",
}


class Answer(NamedTuple):
    """An answer, its document read."""

    status: int
    headers: dict[str, str]
    document: Any


class Running:
    """A gateway as a process of its own."""

    def __init__(self, kafka: str, folder: Path, *, deliver: float = 10) -> None:
        prefix = f"g{uuid.uuid4().hex[:8]}"
        options = {
            "kafka": kafka,
            "topic_prefix": f"{prefix}.",
            "group_prefix": prefix,
            "state_dir": str(folder / "state"),
            "partitions": 2,
        }
        environment = {
            **{name: text for name, text in os.environ.items() if "TIDEWATCH" not in name},
            **{f"TIDEWATCH_{name.upper()}": str(value) for name, value in options.items()},
        }
        self.settings: Settings = load_settings(**options)
        for name, secret in {"secret": SECRET, "foreign": FOREIGN}.items():
            (folder / name).write_text(secret)
        config = folder / "gateway.toml"
        config.write_text(
            CONFIG.format(deliver=deliver, secret=folder / "secret", foreign=folder / "foreign")
        )
        self.log = folder / "gateway.log"
        with self.log.open("wb") as opened:
            self.process = subprocess.Popen(
                [TIDEWATCH, "gateway", "--config", str(config)],
                env=environment,
                stdout=opened,
                stderr=opened,
            )
        self.port = int(self.logged("gateway-started")["url"].rpartition(":")[2])
        self.health = int(self.logged("health-listening")["url"].split(":")[2].split("/")[0])

    def logged(self, what: str) -> dict[str, Any]:
        """Return the first log line of an event, once it is there."""
        found: list[dict[str, Any]] = []

        def look() -> bool:
            lines = self.log.read_text().splitlines()
            found[:] = [
                json.loads(line) for line in lines if line.startswith("{") and f'"{what}"' in line
            ]
            assert self.process.poll() is None or found, self.log.read_text()
            return bool(found)

        until(look, f"no {what}")
        return found[0]

    def post(self, path: str, body: Any, headers: dict[str, str]) -> Answer:
        """Send a request of its own connection."""
        return self.ask("POST", path, body, headers)

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Answer:
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        raw = body if body is None or isinstance(body, bytes) else orjson.dumps(body)
        try:
            link.request(method, path, raw, headers or {})
            got = link.getresponse()
            text = got.read()
        finally:
            link.close()
        headers = {name.lower(): value for name, value in got.getheaders()}
        return Answer(got.status, headers, json.loads(text))

    def ready(self) -> bool:
        """Tell whether the gateway says that it is ready."""
        link = http.client.HTTPConnection("127.0.0.1", self.health, timeout=SECONDS)
        link.request("GET", "/readyz")
        status = link.getresponse().status
        link.close()
        return status == 200

    def records(self, channel: Channel) -> list[Any]:
        """Return the records of a topic."""

        async def read() -> list[Any]:
            topic = topic_name(self.settings, channel)
            return [
                record
                async for record in read_topic(self.settings, topic, from_start=True, follow=False)
            ]

        return asyncio.run(read())

    def ids(self, channel: Channel) -> list[str]:
        """Return the ids of a topic's events."""
        return [json.loads(record.value)["id"] for record in self.records(channel)]

    def letters(self) -> list[DeadLetter]:
        return [read_dead_letter(record) for record in self.records(Channel.DEAD_LETTER)]

    def end(self) -> int:
        """Ask it to stop, and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(SECONDS)


def until(what: Callable[[], object], why: str) -> None:
    """Wait for something to be so."""
    deadline = time.monotonic() + SECONDS
    while not what():
        assert time.monotonic() < deadline, why
        time.sleep(0.05)


@pytest.fixture(scope="module")
def gateway(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One gateway for the module; each test sends ids of its own."""
    running = Running(kafka, tmp_path_factory.mktemp("gateway"))
    yield running
    assert running.end() == 0, running.log.read_text()
    text = running.log.read_text()
    assert "Traceback" not in text
    assert SECRET not in text
    assert FOREIGN not in text


def test_an_event_is_on_its_topic_when_it_is_acknowledged(gateway: Running) -> None:
    sent = event(id="one", tenantid=None, theirs="kept")
    answer = gateway.post("/v1/events", sent, STRUCTURED)
    assert answer.status == 202
    assert [event["id"] for event in answer.document["events"]] == ["one"]
    (record,) = [
        record for record in gateway.records(Channel.PACKAGE_INSTALL) if b'"one"' in record.value
    ]
    read = read_event(
        record.value, record.headers, timestamp_ms=record.timestamp, max_bytes=1 << 20
    )
    assert (read.id, read.tenantid) == ("one", TENANT)
    assert record.key == f"{TENANT}|{read.subject}".encode()
    assert json.loads(record.value)["theirs"] == "kept"


def test_a_batch_and_binary_mode_are_taken(gateway: Running) -> None:
    batch = {**STRUCTURED, "Content-Type": "application/cloudevents-batch+json"}
    many = [event(id=f"batch-{number}") for number in range(50)]
    assert gateway.post("/v1/events", many, batch).status == 202
    made = event(id="bin%22ary")
    headers = {
        "Content-Type": "application/json",
        "Authorization": f"Bearer {SECRET}",
        **{f"ce-{name}": made[name] for name in ("specversion", "id", "source", "type", "time")},
    }
    assert gateway.post("/v1/events", made["data"], headers).status == 202
    found = gateway.ids(Channel.PACKAGE_INSTALL)
    assert {entry["id"] for entry in many} | {'bin"ary'} <= set(found)


def test_nothing_of_a_batch_is_written_if_one_can_not_be_read(gateway: Running) -> None:
    batch = {**STRUCTURED, "Content-Type": "application/cloudevents-batch+json"}
    many = [event(id="half-1"), event(id="half-2", time=None)]
    answer = gateway.post("/v1/events", many, batch)
    assert answer.status == 400
    assert answer.document["reason"] == reasons.MISSING_IDENTITY
    assert "[1]" in answer.document["detail"]
    assert not {"half-1", "half-2"} & set(gateway.ids(Channel.PACKAGE_INSTALL))
    (letter,) = [
        letter for letter in gateway.letters() if letter.key == answer.document["dead_letter"]
    ]
    assert (letter.app, letter.reason) == ("gateway", reasons.MISSING_IDENTITY)
    assert letter.value == orjson.dumps(many)
    assert [name for name, _ in letter.original_headers] == ["content-type"]


def test_a_tenant_is_its_token_and_nothing_else(gateway: Running) -> None:
    for path, body, headers in (
        ("/v1/events", event(id="x", tenantid="globex"), STRUCTURED),
        (
            "/v1/events",
            event(id="x", tenantid="acme"),
            {**STRUCTURED, "Authorization": f"Bearer {FOREIGN}"},
        ),
    ):
        answer = gateway.post(path, body, headers)
        assert (answer.status, answer.document["reason"]) == (403, reasons.TENANT_MISMATCH)
    assert "x" not in gateway.ids(Channel.PACKAGE_INSTALL)
    # a payload that names a tenant is still of its endpoint's
    push = {**orjson.loads(sample("in", "huggingface.repo_content.json")), "tenantid": "globex"}
    answer = gateway.post("/v1/hooks/hub", push, {"X-Webhook-Secret": SECRET})
    assert answer.status == 202
    written = [json.loads(record.value) for record in gateway.records(Channel.REGISTRY_PUSH)]
    sent = {event["id"] for event in answer.document["events"]}
    assert {entry["tenantid"] for entry in written if entry["id"] in sent} == {TENANT}


UNPROVED = {
    "no token": ("/v1/events", {"Content-Type": "application/cloudevents+json"}),
    "a wrong token": ("/v1/events", {**STRUCTURED, "Authorization": "Bearer " + "x" * 20}),
    "another scheme": ("/v1/events", {**STRUCTURED, "Authorization": f"Basic {SECRET}"}),
    "no secret": ("/v1/hooks/hub", {}),
    "another's secret": ("/v1/hooks/hub", {"X-Webhook-Secret": FOREIGN}),
    "the secret elsewhere": ("/v1/hooks/hub", {"Authorization": f"Bearer {SECRET}"}),
    "the secret in the path": (f"/v1/hooks/hub/{SECRET}", {"X-Webhook-Secret": SECRET}),
    "no such endpoint": ("/v1/hooks/nowhere", {"X-Webhook-Secret": SECRET}),
    "events are no hook": ("/v1/hooks/ci", {"Authorization": f"Bearer {SECRET}"}),
    "a path beside it": ("/v1/hooks/%2e%2e%2fhub", {"X-Webhook-Secret": SECRET}),
    "a path above it": ("/v1/hooks/../hooks/hub", {"X-Webhook-Secret": SECRET}),
    "a null byte": ("/v1/hooks/hub%00", {"X-Webhook-Secret": SECRET}),
    "a wrong signature": ("/v1/hooks/github", {"X-Hub-Signature-256": hub_signature(b"other")}),
    "a wrong address": ("/v1/hooks/docker/" + "x" * 20, {}),
    "an address without it": ("/v1/hooks/docker", {}),
}


def test_unauthenticated_client_writes_nothing(gateway: Running) -> None:
    before = len(gateway.records(Channel.DEAD_LETTER))
    for name, (path, headers) in UNPROVED.items():
        answer = gateway.post(path, event(id="unproved"), headers)
        assert answer.status in {401, 404}, name
    assert "unproved" not in gateway.ids(Channel.PACKAGE_INSTALL)
    assert len(gateway.records(Channel.DEAD_LETTER)) == before


def test_each_proof_opens_its_endpoint_and_twice_is_the_same_event(gateway: Running) -> None:
    model = sample("in", "mlflow.model_version_created.json")
    run = sample("in", "github.workflow_run_completed.json")
    pushed = sample("in", "docker-hub.push.json")
    github = {"X-Hub-Signature-256": hub_signature(run), "X-GitHub-Event": "workflow_run"}
    for path, body, headers in (
        ("/v1/hooks/mlflow", model, mlflow_headers(model, delivery=uuid.uuid4().hex)),
        ("/v1/hooks/github", run, github),
        (f"/v1/hooks/docker/{SECRET}", pushed, {}),
    ):
        first = gateway.post(path, body, headers)
        assert first.status == 202, first
        again = gateway.post(path, body, headers)
        if "mlflow" in path:
            # what its signature says was accepted already is not written again
            assert (again.status, again.document["repeated"]) == (200, True)
        else:
            assert again.document == first.document


def test_an_irrelevant_payload_is_accepted_and_an_unreadable_one_is_kept(
    gateway: Running,
) -> None:
    ping = b'{"zen": "Keep it simple.", "hook_id": 1}'
    headers = {"X-Hub-Signature-256": hub_signature(ping), "X-GitHub-Event": "ping"}
    answer = gateway.post("/v1/hooks/github", ping, headers)
    reason = "nothing in it is about a supply chain"
    assert (answer.status, answer.document) == (200, {"events": [], "reason": reason})
    answer = gateway.post("/v1/hooks/hub", b"{broken", {"X-Webhook-Secret": SECRET})
    assert (answer.status, answer.document["reason"]) == (400, reasons.INVALID_JSON)
    (letter,) = [
        letter for letter in gateway.letters() if letter.key == answer.document["dead_letter"]
    ]
    assert letter.value == b"{broken"
    # it came by no topic, and goes back to none
    replayed = asyncio.run(replay_dead_letters(gateway.settings, keys=frozenset({letter.key})))
    assert replayed == 0


def test_the_description_is_true(gateway: Running) -> None:
    described = gateway.ask("GET", "/openapi.json").document
    folder = gateway.log.parent
    config = read_config((folder / "gateway.toml").read_text())
    served = Gateway(gateway.settings, config, RecordWriter(gateway.settings, (), 1)).routes()
    assert {
        (route.path.replace(":path}", "}"), method.lower())
        for route in served
        for method in (route.methods or set()) - {"HEAD"}
    } == {(path, method) for path, methods in described["paths"].items() for method in methods}
    schemas = described["components"]["schemas"]
    good, hub = event(id="described"), {"X-Webhook-Secret": SECRET}
    for path, body, headers, status in (
        ("/v1/events", good, STRUCTURED, 202),
        ("/v1/events", good, {}, 401),
        ("/v1/events", event(tenantid="globex"), STRUCTURED, 403),
        ("/v1/events", b"x", STRUCTURED, 400),
        ("/v1/events", good, {**STRUCTURED, "Content-Type": "text/plain"}, 415),
        ("/v1/events", good, {**STRUCTURED, "Content-Encoding": "gzip"}, 415),
        ("/v1/events", bytes(200_001), STRUCTURED, 413),
        ("/v1/hooks/hub", {"event": {"action": "create", "scope": "discussion"}}, hub, 200),
        ("/v1/hooks/hub", b"", hub, 400),
    ):
        answer = gateway.post(path, body, headers)
        assert answer.status == status, answer
        template = path.replace("/hub", "/{endpoint}")
        said = described["paths"][template]["post"]["responses"][str(status)]
        ((kind, content),) = said["content"].items()
        assert answer.headers["content-type"] == kind
        named = content["schema"]["$ref"].rpartition("/")[2]
        whole = {**schemas[named], "components": {"schemas": schemas}}
        Draft202012Validator(whole).validate(answer.document)
    Draft202012Validator(schemas["CloudEvent"]).validate(good)


def test_an_assessment_is_waited_for_by_its_tenant_alone(gateway: Running) -> None:
    mine = {"Authorization": f"Bearer {SECRET}"}
    theirs = {"Authorization": f"Bearer {FOREIGN}"}
    path = "/v1/assessments/waited/for"
    assert gateway.ask("GET", path).status == 401
    assert gateway.ask("GET", f"{path}?wait=x", headers=mine).status == 400
    answer = gateway.ask("GET", path, headers=mine)
    assert (answer.status, answer.document["final"]) == (202, False)
    made = assessment(Status.FAIL, event_id="waited/for", severity=Severity.HIGH)
    published = threading.Thread(target=lambda: asyncio.run(publish(gateway.settings, [made])))
    published.start()
    answer = gateway.ask("GET", f"{path}?wait=60", headers=mine)
    published.join(SECONDS)
    assert answer.status == 200
    assert answer.document["severity"] == "high"
    assert answer.document["assessment"]["event_id"] == "waited/for"
    assert gateway.ask("GET", path, headers=theirs).document["assessment"] is None
    other = assessment(Status.PASS, event_id="waited/for", source="//other")
    asyncio.run(publish(gateway.settings, [other]))
    until(lambda: gateway.ask("GET", path, headers=mine).status == 409, "one source alone")
    answer = gateway.ask("GET", f"{path}?source=//other", headers=mine)
    assert answer.document["status"] == "PASS"


def test_check_prints_the_addresses_to_paste(
    gateway: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    file = gateway.log.parent / "gateway.toml"
    assert main(["gateway", "--check", str(file), "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["endpoints"]["hub"]["url"].endswith("/v1/hooks/hub")
    assert document["endpoints"]["docker"]["url"].endswith("/v1/hooks/docker/SECRET")
    assert main(["gateway", "--check", str(file)]) == 0
    assert SECRET not in capsys.readouterr().out
    assert main(["gateway"]) == 2


@pytest.fixture(scope="module")
def one_to_kill(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(tmp_path_factory.mktemp("kafka")) as started:
        yield started


@pytest.fixture
def own_broker(one_to_kill: EmbeddedBroker) -> Iterator[EmbeddedBroker]:
    """A broker that tests kill; one that a failed test left dead is started again."""
    yield one_to_kill
    if not broker_status(one_to_kill.places.state_dir).ready:
        one_to_kill.restart()


@pytest.mark.fault
@pytest.mark.timeout(300)
def test_acknowledged_events_survive_and_others_get_503(
    own_broker: EmbeddedBroker, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    broker = own_broker
    gateway = Running(broker.bootstrap, tmp_path, deliver=1)
    request.addfinalizer(gateway.process.kill)  # also where the test fails before it ends it
    acknowledged: list[str] = []

    def send(name: str) -> Answer:
        answer = gateway.post("/v1/events", event(id=name), STRUCTURED)
        if answer.status == 202:
            acknowledged.append(name)
        return answer

    # a second is short for a busy machine: what is late is sent again
    until(lambda: send("before").status == 202, "not taken at first")
    until(gateway.ready, "not ready")
    broker.kill()
    away = send("during")
    assert (away.status, away.document["reason"]) == (503, "broker-away")
    assert int(away.headers["retry-after"]) > 0
    until(lambda: not gateway.ready(), "ready without a broker")
    for number in range(20):
        assert send(f"refused-{number}").status == 503
    broker.start()
    until(lambda: send(f"after-{len(acknowledged)}").status == 202, "not taken again")
    assert gateway.end() == 0, gateway.log.read_text()
    assert set(acknowledged) <= set(gateway.ids(Channel.PACKAGE_INSTALL))
    assert not [
        identifier for identifier in gateway.ids(Channel.PACKAGE_INSTALL) if "refused" in identifier
    ]


class Crowd:
    """Connections that never finish a request, from addresses that the good clients do not use."""

    STARTS: tuple[bytes, ...] = (
        b"",
        b"POST /v1/events HTTP/1.1\r\nHost: gateway\r\nX-Slow: ",
        b"POST /v1/events HTTP/1.1\r\nHost: gateway\r\nContent-Length: 1000\r\n"
        b"Content-Type: application/cloudevents+json\r\n"
        b"Authorization: Bearer " + SECRET.encode() + b"\r\n\r\n"
        b'{"specversion": "1.0", "id": "half-open", ',
    )
    ADDRESSES = ("127.0.0.2", "127.0.0.3", "127.0.0.4")

    def __init__(self, port: int, each: int) -> None:
        self._links = [
            socket.create_connection(("127.0.0.1", port), SECONDS, (address, 0))
            for address in self.ADDRESSES
            for _ in range(each)
        ]
        for number, link in enumerate(self._links):
            link.sendall(self.STARTS[number % len(self.STARTS)])

    def trickle(self) -> None:
        """Send one byte more on each that has begun and is still open."""
        for number, link in enumerate(self._links):
            if number % len(self.STARTS):
                with contextlib.suppress(OSError):
                    link.send(b"x")

    def close(self) -> None:
        for link in self._links:
            link.close()


class Senders:
    """Clients that send at the same time, until each has had its number of answers."""

    def __init__(self, gateway: Running) -> None:
        self._gateway = gateway
        self.acknowledged: dict[str, int] = {}
        """How often each event was sent until it was acknowledged."""
        self.letters: dict[str, bytes] = {}
        """By the key of a dead letter, what was sent."""
        self.refused: Counter[tuple[str, int]] = Counter()

    def good(self, name: str, number: int) -> None:
        """Send events, each until it is acknowledged."""
        for at in range(number):
            sent, tries = event(id=f"{name}-{at}"), 0
            deadline = time.monotonic() + 2 * SECONDS
            while sent["id"] not in self.acknowledged:
                assert time.monotonic() < deadline, sent["id"]
                tries += 1
                answer = self._gateway.post("/v1/events", sent, STRUCTURED)
                if answer.status == 202:
                    self.acknowledged[sent["id"]] = tries
                else:
                    assert answer.status == 503, answer
                    time.sleep(0.3)

    def bad(self, number: int) -> None:
        """Send what is too large, broken, without proof or of another tenant."""
        batch = {**STRUCTURED, "Content-Type": "application/cloudevents-batch+json"}
        wrong = {"X-Hub-Signature-256": hub_signature(b"other"), "X-GitHub-Event": "push"}
        for at in range(number):
            half = orjson.dumps([event(id=f"bad-half-{at}"), event(id=f"bad-{at}", time=None)])
            broken = orjson.dumps(event(id=f"bad-broken-{at}"))[:-1]
            foreign = event(id=f"bad-foreign-{at}", tenantid="globex")
            for path, body, headers in (
                ("/v1/events", half, batch),
                ("/v1/events", broken, STRUCTURED),
                ("/v1/events", bytes(200_001), STRUCTURED),
                ("/v1/events", orjson.dumps(foreign), STRUCTURED),
                ("/v1/events", orjson.dumps(event(id=f"bad-bare-{at}")), {}),
                ("/v1/hooks/github", b'{"ref": "bad"}', wrong),
            ):
                answer = self._gateway.post(path, body, headers)
                self.refused[path, answer.status] += 1
                if key := answer.document.get("dead_letter"):
                    self.letters[key] = body


@pytest.mark.fault
@pytest.mark.timeout(300)
def test_slow_and_bad_clients_and_a_restart_lose_and_add_nothing(
    own_broker: EmbeddedBroker, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    broker = own_broker
    gateway = Running(broker.bootstrap, tmp_path, deliver=2)
    request.addfinalizer(gateway.process.kill)
    until(gateway.ready, "not ready")
    crowd = Crowd(gateway.port, each=100)
    request.addfinalizer(crowd.close)
    senders = Senders(gateway)
    with ThreadPoolExecutor(6) as pool:
        jobs = [pool.submit(senders.good, f"good-{number}", 25) for number in range(4)]
        jobs += [pool.submit(senders.bad, 6) for _ in range(2)]
        until(lambda: len(senders.acknowledged) >= 20, "nothing is taken beside the crowd")
        crowd.trickle()
        broker.kill()
        until(lambda: not gateway.ready(), "ready without a broker")
        crowd.trickle()
        broker.start()
        for job in jobs:
            job.result(3 * SECONDS)
    assert gateway.end() == 0, gateway.log.read_text()
    assert len(senders.acknowledged) == 100
    assert {status for _, status in senders.refused} <= {400, 401, 403, 413, 503}
    written = Counter(gateway.ids(Channel.PACKAGE_INSTALL))
    # an answer of 503 leaves open whether the broker has the event: sent again, it is the same one
    assert set(written) == set(senders.acknowledged)
    assert all(written[name] == 1 for name, tries in senders.acknowledged.items() if tries == 1)
    assert all(written[name] <= tries for name, tries in senders.acknowledged.items())
    assert gateway.ids(Channel.PIPELINE_RUN) == []
    letters = {letter.key: letter for letter in gateway.letters()}
    assert senders.letters
    assert senders.letters.items() <= {key: letter.value for key, letter in letters.items()}.items()
    text = gateway.log.read_text()
    assert "Traceback" not in text
    assert SECRET not in text
