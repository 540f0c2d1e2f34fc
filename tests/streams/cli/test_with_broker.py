"""Commands that speak to a broker, on a real one."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest

from schemas.channels import Channel
from schemas.intel import IntelFact
from streams.cli import main
from streams.cli.topics import access_rules
from streams.kafka.compacted import latest_values, publish_values
from streams.kafka.reader import read_topic
from streams.kafka.topics import topic_name
from streams.reports.lessons import learned_facts
from streams.settings import Settings, load_settings
from tests.streams.cli.test_commands import leaves
from tests.streams.reports.test_incident_report import incident

pytestmark = [pytest.mark.kafka]

LEAST_LISTS = 5
"""As many commands list something at least."""

EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "cli-1",
    "source": "//host/build-7",
    "type": "tidewatch.package.install.v1",
    "subject": "pypi:left-pad",
    "time": "2026-01-01T00:00:00Z",
    "tenantid": "acme",
    "data": {"packages": [{"name": "left-pad", "version": "1.0"}]},
}


@pytest.fixture
def cli(kafka: str, prefix: str, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The environment of a user with topics of this test's own."""
    monkeypatch.setenv("TIDEWATCH_KAFKA", kafka)
    monkeypatch.setenv("TIDEWATCH_TOPIC_PREFIX", f"{prefix}.")
    monkeypatch.setenv("TIDEWATCH_GROUP_PREFIX", prefix)
    monkeypatch.setenv("TIDEWATCH_PARTITIONS", "2")
    return monkeypatch


def run(capsys: pytest.CaptureFixture[str], *words: str) -> list[Any]:
    """Run a command with JSON output; return its documents."""
    capsys.readouterr()
    assert main([*words, "--format", "json"]) == 0, capsys.readouterr().err
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.usefixtures("cli")
def test_a_file_of_events_is_sent_and_seen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "events.jsonl"
    events = [EVENT | {"id": f"cli-{number}"} for number in range(3)]
    file.write_bytes(b"\n".join(map(orjson.dumps, events)) + b"\n")
    (sent,) = run(capsys, "send", str(file))
    assert sent["by_type"] == {"tidewatch.package.install.v1": 3}
    records = run(capsys, "watch", "package-install", "--from-start", "--no-follow")
    assert [record["value"]["id"] for record in records] == ["cli-0", "cli-1", "cli-2"]
    assert {record["key"] for record in records} == {"acme|pypi:left-pad"}
    assert main(["watch", "package-install", "--from-start", "--count", "1"]) == 0
    assert "pypi:left-pad" in capsys.readouterr().out


@pytest.mark.usefixtures("cli")
@pytest.mark.parametrize("shape", ["lines", "array", "document"])
def test_unknown_fields_of_a_producer_are_sent_unchanged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], shape: str
) -> None:
    data = {**EVENT["data"], "theirs": {"nested": [1, None]}}
    text = json.dumps({**EVENT, "id": f"cli-{shape}", "data": data, "theirs": 1.5})
    text = text.replace("1.5", "123456789012345678901234567890.10")  # more than a float holds
    file = tmp_path / "events.json"
    file.write_text(f"[{text}]" if shape == "array" else text + "\n")
    run(capsys, "send", str(file))
    settings = load_settings()
    records = asyncio.run(consumed(settings, topic_name(settings, Channel.PACKAGE_INSTALL)))
    assert records[-1].decode().strip() == text


async def consumed(settings: Settings, topic: str) -> list[bytes]:
    """Return the values of a topic, as they are."""
    records = read_topic(settings, topic, from_start=True, follow=False)
    return [record.value async for record in records]


@pytest.mark.usefixtures("cli")
def test_nothing_is_sent_if_one_event_can_not_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "events.json"
    file.write_bytes(orjson.dumps([EVENT, EVENT | {"tenantid": ""}]))
    run(capsys, "topics", "create")
    assert main(["send", str(file)]) == 2
    assert "events.json[1]" in capsys.readouterr().err
    assert run(capsys, "watch", "package-install", "--from-start", "--no-follow") == []


@pytest.mark.usefixtures("cli")
def test_topics_are_missing_then_created(capsys: pytest.CaptureFixture[str]) -> None:
    (before,) = run(capsys, "topics", "list")
    assert {row["partitions"] for row in before} == {None}
    run(capsys, "topics", "create", "--tenant", "acme")
    (after,) = run(capsys, "topics", "list")
    assert {row["partitions"] for row in after} == {2}
    (checks,) = run(capsys, "doctor")
    found = {check["name"]: check["ok"] for check in checks}
    assert found.pop("sandbox") in {True, False}  # as far as this kernel can confine it
    assert found == {
        "settings": True,
        "disk": True,
        "broker": True,
        "topics": True,
    }


@pytest.mark.usefixtures("cli")
def test_a_topic_that_is_not_there_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", "nowhere"]) == 2
    assert "there is no topic nowhere" in capsys.readouterr().err


@pytest.mark.usefixtures("cli")
def test_a_list_is_one_array_for_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TIDEWATCH_STATE_DIR", str(tmp_path))
    run(capsys, "topics", "create")
    lists = [words for words in leaves() if words[-1] == "list"]
    assert len(lists) >= LEAST_LISTS
    for words in lists:
        (document,) = run(capsys, *words)
        assert isinstance(document, list), words


@pytest.mark.usefixtures("cli")
def test_without_dead_letters_the_list_is_empty(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "dead-letters", "list") == [[]]
    run(capsys, "topics", "create")
    assert run(capsys, "dead-letters", "list") == [[]]
    assert main(["dead-letters", "show", "x-0-0"]) == 2


@pytest.mark.usefixtures("cli")
def test_lessons_are_shown_and_fed_back_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    document = incident()
    settings = load_settings()
    record = [(document.id, msgspec.json.encode(document))]
    asyncio.run(publish_values(settings, Channel.INCIDENTS, record))
    (fact,) = learned_facts(document)
    learn = ("incidents", "learn", document.id)

    (rows,) = run(capsys, *learn)
    assert [(row["key"], row["state"]) for row in rows] == [(fact.key, "to be published")]
    assert asyncio.run(latest_values(settings, Channel.INTEL)) == {}

    (rows,) = run(capsys, *learn, "--publish")
    assert [(row["key"], row["state"]) for row in rows] == [(fact.key, "published")]
    reported = asyncio.run(latest_values(settings, Channel.INTEL))
    assert {key: msgspec.json.decode(value, type=IntelFact) for key, value in reported.items()} == {
        fact.key: fact
    }
    assert run(capsys, "watch", "intel", "--from-start", "--no-follow")[0]["key"] == fact.key

    (rows,) = run(capsys, *learn, "--publish")
    assert [(row["key"], row["state"]) for row in rows] == [(fact.key, "known already")]
    assert len(asyncio.run(consumed(settings, topic_name(settings, Channel.INTEL)))) == 1


@pytest.mark.usefixtures("cli")
def test_an_incident_that_is_not_contained_teaches_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    document = incident(id="inc-open", status="new")
    settings = load_settings()
    record = [(document.id, msgspec.json.encode(document))]
    asyncio.run(publish_values(settings, Channel.INCIDENTS, record))
    assert run(capsys, "incidents", "learn", "inc-open", "--publish") == [[]]
    assert asyncio.run(latest_values(settings, Channel.INTEL)) == {}
    assert main(["incidents", "learn", "inc-none", "--publish"]) == 2
    assert "no incident begins with 'inc-none'" in capsys.readouterr().err


def test_access_rules_give_a_tenant_its_own_topics_alone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    (rules,) = run(capsys, "topics", "acls", "--tenant", "acme")
    own = [rule for rule in rules if rule["principal"] == "acme"]
    assert {rule["operation"] for rule in own} == {"Read"}
    # no other tenant's groups start so, whatever its name
    assert [rule["name"] for rule in own if rule["resource"] == "group"] == ["tenant.acme."]
    assert {rule["name"] for rule in own if rule["resource"] == "topic"} == {
        "tenant.acme.alerts",
        "tenant.acme.assessments",
        "tenant.acme.containment-commands",
        "tenant.acme.hygiene",
        "tenant.acme.iocs",
    }


@pytest.mark.parametrize("bound", [True, False])
def test_a_tenants_responder_may_write_its_answers_and_nothing_else(bound: bool) -> None:
    settings = load_settings(
        bound_topics={
            "acme.results": {"channel": "containment-results", "tenant": "acme"},
            "acme.pushes": {"channel": "registry-push", "tenant": "acme"},
        }
        if bound
        else {}
    )
    rules = access_rules(settings, ["acme", "acme.eu"], responders=True)
    mine = [
        rule["name"]
        for rule in rules
        if (rule["principal"], rule["operation"]) == ("acme", "Write")
    ]
    shared = topic_name(settings, Channel.CONTAINMENT_RESULTS)
    assert mine == (["acme.results"] if bound else [shared])
    reads = {
        rule["name"] for rule in rules if (rule["principal"], rule["operation"]) == ("acme", "Read")
    }
    assert not any("acme.eu" in name or shared == name for name in reads)
