"""The notifier as a process on a real broker, with receivers that fail and come back."""

from __future__ import annotations

import asyncio
import base64
import http.client
import os
import re
import signal
import subprocess
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiokafka
import msgspec
import orjson
import pytest
import standardwebhooks
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from agents.notification.notices import READS
from schemas.channels import Channel
from schemas.cloudevents import binary_headers
from schemas.documents import openc2
from schemas.notifications import NotificationThread
from streams.cli import main
from streams.cli.topics import access_rules
from streams.kafka.topics import ensure_topics, topic_name
from streams.settings import Settings, load_settings
from tests.agents.notification.making import alert_document
from tests.agents.notification.web import Receiver, receiving
from tests.agents.response.bench import spec_of
from tests.command_here import command_here
from tests.e2e.guarded_kafka import GuardedKafka
from tests.installed import TIDEWATCH
from tests.streams.apps.topic_records import topic_records
from tests.waiting import wait_for

pytestmark = [pytest.mark.kafka]

DEADLINE = 120.0
CHANNELS = (*READS, Channel.NOTIFICATIONS, Channel.DEAD_LETTER)
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()

CONFIG = """
[retries]
first_seconds = 0.2
longest_seconds = 0.5
{retries}

[destinations.chat]
apprise = "json://{chat}/t0ken"
timeout_seconds = 3
[destinations.hook]
webhook = "http://{hook}/t0ken"
secret_file = "{secret}"
timeout_seconds = 3

[[routes]]
name = "soc"
tenants = ["acme"]
send_to = ["chat", "hook"]
group_wait_seconds = {wait}
group_interval_seconds = {wait}
{more}
"""


class Scene:
    """Topics, receivers and a configuration of one test's own."""

    def __init__(self, kafka: str, folder: Path, chat: Receiver, hook: Receiver) -> None:
        prefix = f"n{uuid.uuid4().hex[:8]}"
        options = {
            "kafka": kafka,
            "topic_prefix": f"{prefix}.",
            "group_prefix": prefix,
            "state_dir": str(folder / "state"),
            "partitions": 2,
            "log_level": "debug",
        }
        self.environment = {
            **{name: text for name, text in os.environ.items() if "TIDEWATCH" not in name},
            **{f"TIDEWATCH_{name.upper()}": str(value) for name, value in options.items()},
        }
        self.settings: Settings = load_settings(**options)
        asyncio.run(ensure_topics(self.settings, channels=CHANNELS))
        self.chat, self.hook = chat, hook
        self.log = folder / "notify.log"
        self.log.touch()
        self.config = folder / "notify.toml"
        self.secret = folder / "secret"
        self.secret.write_text(SECRET)
        self.running: list[subprocess.Popen[bytes]] = []
        self.write()

    def write(self, more: str = "", retries: str = "", wait: float = 0.3) -> None:
        self.config.write_text(
            CONFIG.format(
                chat=self.chat.host,
                hook=self.hook.host,
                secret=self.secret,
                more=more,
                retries=retries,
                wait=wait,
            )
        )

    def send(self, channel: Channel, *documents: tuple[str, Any]) -> None:
        """Publish documents, each with its tenant."""

        async def publish() -> None:
            producer = aiokafka.AIOKafkaProducer(bootstrap_servers=self.settings.kafka)
            await producer.start()
            for tenant, document in documents:
                headers = binary_headers(
                    id="evt",
                    type="t",
                    source="//tidewatch/incidents",
                    time=datetime.now(UTC),
                    tenant=tenant,
                )
                value = document if isinstance(document, bytes) else orjson.dumps(document)
                await producer.send_and_wait(
                    topic_name(self.settings, channel), key=b"k", value=value, headers=list(headers)
                )
            await producer.stop()

        asyncio.run(publish())

    def alert(self, **more: Any) -> None:
        """Publish an alert of tenant acme."""
        self.send(Channel.ALERTS, ("acme", alert_document(**more)))

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [TIDEWATCH, "notify", "--config", str(self.config), *options],
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        self.running.append(process)
        return process

    def once(self, code: int = 0) -> None:
        """Run `notify --once` in this process: it ends by itself."""
        with command_here(self.log, self.environment):
            ended = main(["notify", "--config", str(self.config), "--once"])
        assert ended == code, self.log.read_text()

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        assert process.wait(DEADLINE) == 0, self.log.read_text()

    def read(self, channel: Channel) -> list[Any]:
        return topic_records(self.settings, channel, "read_committed")

    def rows(self) -> dict[str, NotificationThread]:
        """The rows as they are kept."""
        rows: dict[str, NotificationThread] = {}
        for record in self.read(Channel.NOTIFICATIONS):
            key = record.key.decode()
            rows.pop(key, None)
            if record.value is not None:
                rows[key] = msgspec.json.decode(record.value, type=NotificationThread)
        return rows

    def verified(self) -> list[dict[str, Any]]:
        """The webhooks that were received, each verified as its receiver would."""
        key = standardwebhooks.Webhook(SECRET)
        return [key.verify(body, headers) for _, headers, body in self.hook.got]

    def ids(self) -> Counter[str]:
        return Counter(headers["webhook-id"] for _, headers, _ in self.hook.got)


@pytest.fixture
def scene(kafka: str, tmp_path: Path) -> Iterator[Scene]:
    with receiving() as chat, receiving() as hook:
        made = Scene(kafka, tmp_path, chat, hook)
        yield made
        for process in made.running:
            if process.poll() is None:
                process.kill()
                process.wait()
        # whatever happened, no token got into a log
        assert "t0ken" not in made.log.read_text()


def test_an_alert_and_its_proposal_are_one_message_to_each_destination(scene: Scene) -> None:
    scene.alert()
    spec = spec_of("quarantine", "model:huggingface/acme/m", mode="proposal", incident="inc-1")
    scene.send(Channel.CONTAINMENT_PROPOSALS, ("acme", openc2.command_document(spec)))
    scene.send(Channel.ALERTS, ("globex", alert_document(tenant="globex")))
    scene.once()
    (chat,) = scene.chat.documents()
    assert chat["title"] == "[HIGH] Malicious payload in acme/model"
    assert "Approval needed: quarantine model:huggingface/acme/m" in chat["message"]
    (hook,) = scene.verified()
    assert hook["type"] == "tidewatch.notification.opened"
    assert (hook["data"]["tenant"], hook["data"]["incident"]) == ("acme", "inc-1")
    # what was sent is not sent again
    scene.once()
    assert len(scene.chat.got) == len(scene.hook.got) == 1
    scene.alert(status="acknowledged", assignee="ann")
    scene.once()
    assert "status from new to acknowledged" in scene.chat.documents()[1]["message"]


def test_once_ends_at_what_was_there_while_more_and_more_comes(scene: Scene) -> None:
    reported, ended = threading.Event(), threading.Event()
    incidents = ["inc-0"]

    def answer(_: int) -> tuple[int, dict[str, str]]:
        # while one message is sent, more come than that
        reported.set()
        more = len(incidents) + 10
        wait_for(lambda: len(incidents) >= more or ended.is_set(), "more comes")
        return 200, {}

    def go_on() -> None:
        reported.wait(DEADLINE)
        while not ended.wait(0.01):
            incidents.append(f"inc-{len(incidents)}")
            scene.alert(incident=incidents[-1])

    scene.hook.answer = answer
    scene.alert(incident=incidents[0])
    publisher = threading.Thread(target=go_on)
    publisher.start()
    try:
        scene.once()
    finally:
        reported.set()
        ended.set()
        publisher.join()
    assert [message["data"]["incident"] for message in scene.verified()] == ["inc-0"]
    # what has come since is left to the next run
    scene.once()
    assert sorted(message["data"]["incident"] for message in scene.verified()) == sorted(incidents)
    assert len(incidents) > 1


def test_once_tries_each_destination_and_leaves_what_it_does_not_take(scene: Scene) -> None:
    scene.hook.answer = lambda _: (500, {})
    scene.alert()
    scene.once(2)
    assert "1 message could not be delivered" in scene.log.read_text()
    assert (len(scene.chat.got), len(scene.hook.got)) == (1, 1)
    # the message is kept, and becomes a dead letter with its destination's end
    assert [len(row.messages) for row in scene.rows().values()] == [1]
    scene.config.write_text(
        scene.config.read_text().replace("[destinations.hook]", "[destinations.other]")
        .replace('"hook"', '"other"')
    )  # fmt: skip
    scene.once(2)
    assert "1 message was given up" in scene.log.read_text()
    (letter,) = scene.read(Channel.DEAD_LETTER)
    assert dict(letter.headers)["reason"] == b"not-delivered"
    assert [len(row.messages) for row in scene.rows().values()] == [0]
    scene.once()


def test_a_receiver_that_fails_is_silent_asks_to_wait_and_comes_back_gets_it_once(
    scene: Scene,
) -> None:
    asked: list[float] = []

    def answer(number: int) -> tuple[int, dict[str, str]] | None:
        asked.append(time.monotonic())
        return {
            1: (500, {}),
            2: None,
            3: (429, {"Retry-After": "2"}),
            4: (503, {}),
        }.get(number, (200, {}))

    scene.hook.answer = answer
    process = scene.start()
    scene.alert()
    wait_for(lambda: len(scene.hook.got) >= 5, "the receiver is tried until it takes the message")
    wait_for(lambda: not any(row.messages for row in scene.rows().values()), "it is noted as taken")
    scene.stop(process)
    assert list(scene.ids().values()) == [5]
    assert len({body for _, _, body in scene.hook.got}) == 1
    assert asked[3] - asked[2] >= 2
    # the other destination was not kept back, and got it once
    assert len(scene.chat.got) == 1
    scene.once()
    assert len(scene.hook.got) == 5


def test_a_kill_between_sending_and_committing_sends_the_same_message_again(
    scene: Scene,
) -> None:
    process = scene.start()

    def answer(number: int) -> tuple[int, dict[str, str]]:
        if number == 1:
            # it has taken the message, and its sender never learns of it
            process.kill()
            process.wait()
        return 200, {}

    scene.hook.answer = answer
    scene.alert()
    assert process.wait(DEADLINE) == -signal.SIGKILL
    again = scene.start()
    wait_for(lambda: len(scene.hook.got) >= 2, "it is sent again")
    wait_for(lambda: not any(row.messages for row in scene.rows().values()), "it is noted as taken")
    scene.stop(again)
    assert list(scene.ids().values()) == [2]
    assert len({body for _, _, body in scene.hook.got}) == 1
    scene.once()
    assert len(scene.hook.got) == 2


def test_a_kill_before_anything_is_sent_loses_nothing(scene: Scene) -> None:
    scene.write(wait=3600)
    process = scene.start()
    scene.alert()
    wait_for(lambda: len(scene.rows()) >= 1, "what is to be sent is kept")
    process.kill()
    process.wait()
    assert scene.hook.got == []
    # the offset is committed: the row says what is to be sent
    scene.once()
    assert scene.hook.got == []
    scene.write(wait=0.1)
    scene.alert(severity="critical")
    scene.once()
    assert [message["data"]["severity"] for message in scene.verified()] == ["critical"]


def test_nobody_acknowledges_and_it_is_escalated_across_a_restart(scene: Scene) -> None:
    scene.write('[[routes.escalation]]\nafter_seconds = 8\nsend_to = ["hook"]\n')
    process = scene.start()
    scene.alert()
    scene.alert(incident="inc-2")
    wait_for(lambda: len(scene.hook.got) >= 2, "both are sent")
    scene.alert(incident="inc-2", status="acknowledged")
    wait_for(lambda: len(scene.hook.got) >= 3, "the acknowledgement is sent")
    scene.stop(process)
    again = scene.start()
    wait_for(
        lambda: [
            message for message in scene.verified() if message["data"]["event"] == "escalated"
        ],
        "it is escalated",
    )
    scene.stop(again)
    escalated = [
        message["data"] for message in scene.verified() if message["data"]["event"] == "escalated"
    ]
    assert [(message["incident"], message["step"]) for message in escalated] == [("inc-1", 1)]
    assert "Not acknowledged for" in escalated[0]["text"]


def test_undelivered_message_becomes_a_replayable_dead_letter(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.write(retries="give_up_seconds = 1")
    scene.hook.answer = lambda _: (500, {})
    process = scene.start()
    scene.alert()
    wait_for(lambda: scene.read(Channel.DEAD_LETTER), "it is given up")
    (letter,) = scene.read(Channel.DEAD_LETTER)
    headers = dict(letter.headers)
    assert headers["reason"] == b"not-delivered"
    assert b"answered 500" in headers["error"]
    assert len(scene.chat.got) == 1
    before = len(scene.hook.got)
    scene.hook.answer = lambda _: (200, {})
    for name, value in scene.environment.items():
        monkeypatch.setenv(name, value)
    assert main(["dead-letters", "replay", "--reason", "not-delivered"]) == 0
    wait_for(lambda: len(scene.hook.got) >= before + 1, "it is sent once more")
    wait_for(lambda: not any(row.messages for row in scene.rows().values()), "it is noted as taken")
    scene.stop(process)
    assert len(scene.ids()) == 1
    scene.once()
    assert len(scene.hook.got) == before + 1


def test_forged_and_unreadable_records_become_dead_letters_and_the_rest_goes_on(
    scene: Scene,
) -> None:
    scene.send(
        Channel.ALERTS,
        ("acme", b"{"),
        ("acme", alert_document(tenant="globex")),
        ("acme", alert_document()),
    )
    scene.once()
    wait_for(lambda: len(scene.read(Channel.DEAD_LETTER)) >= 2, "both are kept")
    reasons = [dict(letter.headers)["reason"] for letter in scene.read(Channel.DEAD_LETTER)]
    assert sorted(reasons) == [b"invalid-event", b"tenant-mismatch"]
    assert len(scene.verified()) == 1


def test_the_instance_that_starts_last_takes_over(scene: Scene) -> None:
    first = scene.start()
    scene.alert()
    wait_for(lambda: len(scene.hook.got) >= 1, "the first one sends")
    second = scene.start()
    wait_for(
        lambda: scene.log.read_text().count("notifier-started") == 2, "the second one is there"
    )
    scene.alert(incident="inc-2")
    assert first.wait(DEADLINE) == 2
    wait_for(lambda: len(scene.hook.got) >= 2, "the second one sends")
    wait_for(lambda: not any(row.messages for row in scene.rows().values()), "it is noted as taken")
    scene.stop(second)
    assert "another notifier of this name took over" in scene.log.read_text()
    assert len(scene.ids()) == 2


def test_records_that_are_gone_are_reported(scene: Scene) -> None:
    scene.alert()
    scene.once()
    scene.alert(incident="inc-2")
    admin = AdminClient({"bootstrap.servers": scene.settings.kafka})
    topic = topic_name(scene.settings, Channel.ALERTS)
    gone = [TopicPartition(topic, number, -1) for number in range(2)]
    for future in admin.delete_records(gone).values():
        future.result(DEADLINE)
    scene.once()
    wait_for(lambda: scene.read(Channel.OPERATOR_ALERTS), "it is reported")
    (alert,) = scene.read(Channel.OPERATOR_ALERTS)
    assert orjson.loads(alert.value)["kind"] == "records-gone"


def test_health_and_metrics_are_served(scene: Scene) -> None:
    process = scene.start()
    scene.alert()
    wait_for(lambda: len(scene.hook.got) >= 1, "it sends")
    found = re.search(r"http://127\.0\.0\.1:(\d+)/healthz", scene.log.read_text())
    assert found is not None

    def page(path: str) -> tuple[int, str]:
        link = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=5)
        link.request("GET", path)
        answer = link.getresponse()
        return answer.status, answer.read().decode()

    wait_for(lambda: page("/readyz")[0] == 200, "it is ready")
    assert page("/healthz")[0] == 200
    taken = 'tidewatch_notifications_total{destination="hook",outcome="taken"} 1.0'
    wait_for(lambda: taken in page("/metrics")[1], "what was taken is counted")
    scene.stop(process)


def test_the_printed_rules_are_all_the_rights_that_it_needs(tmp_path: Path) -> None:
    guarded = GuardedKafka(tmp_path / "kafka", ["notify"])
    with guarded.broker, receiving() as chat, receiving() as hook:
        scene = Scene(guarded.inner, tmp_path, chat, hook)
        rules = access_rules(scene.settings, [])
        guarded.allow(rule for rule in rules if rule["principal"] == "notify")
        given = {**guarded.settings_of("notify"), "create_topics": "false"}
        scene.environment |= {f"TIDEWATCH_{name.upper()}": item for name, item in given.items()}
        scene.alert()
        scene.send(Channel.ALERTS, ("acme", b"{"))
        scene.once()
        assert len(scene.verified()) == 1
        wait_for(lambda: len(scene.read(Channel.DEAD_LETTER)) >= 1, "what can't be read is kept")
        scene.once()
        assert len(scene.verified()) == 1
