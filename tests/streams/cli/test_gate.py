"""`tidewatch gate` and `send --wait` on a real broker, with assessments as workers write them."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from agents.messages import assessment_message
from schemas.assessments import Assessment
from schemas.channels import Channel
from schemas.severity import Severity, Status
from streams.cli import main
from streams.kafka.publisher import delivering
from streams.kafka.reader import read_topic
from streams.kafka.topics import ensure_topics, topic_name
from streams.settings import Settings, load_settings
from tests.streams.cli.test_with_broker import EVENT
from tests.streams.test_gates import assessment

pytestmark = [pytest.mark.kafka]


@pytest.fixture
def settings(kafka: str, prefix: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings of a user with topics of this test's own."""
    monkeypatch.setenv("TIDEWATCH_KAFKA", kafka)
    monkeypatch.setenv("TIDEWATCH_TOPIC_PREFIX", f"{prefix}.")
    monkeypatch.setenv("TIDEWATCH_PARTITIONS", "2")
    return load_settings()


async def publish(settings: Settings, assessments: Sequence[Assessment]) -> None:
    """Write assessments as the checks do."""
    await ensure_topics(settings, channels=[Channel.ASSESSMENTS])
    async with delivering(settings) as publisher:
        for assessment in assessments:
            message = assessment_message(assessment, datetime.now(UTC))
            topic = topic_name(settings, Channel.ASSESSMENTS)
            await publisher.put(topic, message.key.encode(), message.value, message.headers)


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any]:
    """Run a command with JSON output; return its exit code and document."""
    capsys.readouterr()
    code = main([*words, "--format", "json"])
    out = capsys.readouterr().out
    return code, json.loads(out) if out else None


def test_an_event_passes_fails_or_is_undecided(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    asyncio.run(
        publish(
            settings,
            [
                assessment(Status.PASS, event_id="good", subject="model:one"),
                assessment(Status.PASS, event_id="first", subject="model:two"),
                assessment(
                    Status.FAIL, event_id="bad", subject="model:two", severity=Severity.HIGH
                ),
                assessment(Status.PASS, event_id="half", final=False),
                assessment(Status.PASS, event_id="twice"),
                assessment(Status.PASS, event_id="twice", tenant="globex"),
                assessment(Status.PASS, event_id="forked"),
                assessment(Status.PASS, event_id="forked", source="//other"),
            ],
        )
    )
    code, document = run(capsys, "gate", "good", "--timeout", "20s")
    assert (code, document["status"], document["final"]) == (0, "PASS", True)
    code, document = run(capsys, "gate", "model:two", "--fail-on", "high", "--timeout", "20s")
    assert (code, document["assessment"]["event_id"]) == (1, "bad")
    assert main(["gate", "bad", "--fail-on", "critical", "--timeout", "20s"]) == 0
    assert "FAIL  model:two" in capsys.readouterr().out
    code, document = run(capsys, "gate", "half", "--timeout", "1s")
    assert (code, document["final"]) == (2, False)
    assert run(capsys, "gate", "nothing", "--timeout", "1s")[0] == 2
    for name, option in {"twice": "--tenant", "forked": "--source"}.items():
        assert main(["gate", name, "--timeout", "20s"]) == 2
        assert option in capsys.readouterr().err
    assert run(capsys, "gate", "twice", "--tenant", "globex", "--timeout", "20s")[0] == 0
    assert run(capsys, "gate", "forked", "--source", "//other", "--timeout", "20s")[0] == 0


@pytest.mark.parametrize(("status", "code"), [(Status.PASS, 0), (Status.FAIL, 1)])
def test_send_waits_for_what_its_events_are_assessed_as(
    settings: Settings,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    status: Status,
    code: int,
) -> None:
    name = f"waits-{status}"
    file = tmp_path / "event.json"
    file.write_bytes(orjson.dumps(EVENT | {"id": name}))
    one = assessment(
        status, event_id=name, source=EVENT["source"], subject=EVENT["subject"], tenant="acme"
    )

    async def check() -> None:
        """Assess the event once it is sent, as a worker does."""
        await ensure_topics(settings, channels=[Channel.PACKAGE_INSTALL])
        topic = topic_name(settings, Channel.PACKAGE_INSTALL)
        async for record in read_topic(settings, topic, from_start=True, follow=True):
            if name.encode() in record.value:
                break
        await publish(settings, [one])

    worker = threading.Thread(target=lambda: asyncio.run(check()))
    worker.start()
    done, document = run(capsys, "send", str(file), "--wait", "--timeout", "60s")
    worker.join(60)
    assert done == code
    assert document["events"] == [
        {
            "id": name,
            "source": EVENT["source"],
            "tenant": "acme",
            "type": EVENT["type"],
            "subject": EVENT["subject"],
        }
    ]
    assert [(found["event_id"], found["code"]) for found in document["assessed"]] == [(name, code)]


def test_send_says_what_was_not_assessed_in_time(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert settings.kafka
    file = tmp_path / "event.json"
    file.write_bytes(orjson.dumps(EVENT))
    assert main(["send", str(file), "--wait", "--timeout", "1s"]) == 2
    assert "no assessment in time" in capsys.readouterr().out
    assert main(["send", str(file), "--wait", "--check"]) == 2
    assert main(["send", str(file), "--wait", "--timeout", "soon"]) == 2
