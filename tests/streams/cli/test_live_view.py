"""The live view tolerates any content, since topics have other writers."""

from __future__ import annotations

import asyncio
import io
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, NamedTuple

import orjson
import pytest
from aiokafka.errors import KafkaConnectionError
from rich.console import Console

from schemas.channels import Channel
from schemas.severity import Severity
from streams.cli import live_screen, live_view
from streams.cli.live_screen import render
from streams.cli.live_view import MAX_SHOWN, LiveAlert, LiveCommand, TopicFollower, View
from streams.cli.output import Format
from streams.cli.up import _summary
from streams.kafka import awaiting
from streams.settings import load_settings

ALERT: dict[str, Any] = {
    "metadata": {"uid": "al-1", "tenant_uid": "acme", "correlation_uid": "inc-1"},
    "severity": "High",
    "risk_score": 66,
    "finding_info": {"title": "Malicious payload"},
    "status_detail": "new",
    "unmapped": {"affected_systems": 3},
}
COMMAND: dict[str, Any] = {
    "command_id": "cmd-1",
    "args": {"x-tidewatch": {"tenant": "acme", "action": "quarantine", "target": "model:@acme/m"}},
}


class Consumed(NamedTuple):
    """As much of a record as the view looks at."""

    value: bytes | None
    key: bytes | None = b"key"


@pytest.fixture
def follower() -> TopicFollower:
    return TopicFollower(load_settings(kafka="127.0.0.1:1"))


def without(document: dict[str, Any], *path: str) -> bytes:
    """Return the document's bytes without one of its fields."""
    copy = orjson.loads(orjson.dumps(document))
    inner = copy
    for name in path[:-1]:
        inner = inner[name]
    del inner[path[-1]]
    return orjson.dumps(copy)


def test_hosts_that_an_alert_is_about_are_defanged() -> None:
    """Nobody opens them by a click in the terminal."""
    view = View()
    follower = TopicFollower(load_settings(kafka="127.0.0.1:1"))
    follower.view = view
    alert = orjson.loads(orjson.dumps(ALERT))
    alert["finding_info"]["title"] = "Source mismatch in domain data.acrne.example on ci-2"
    command = orjson.loads(orjson.dumps(COMMAND))
    command["args"]["x-tidewatch"]["target"] = "domain:data.acrne.example"
    follower.take(Channel.ALERTS, Consumed(orjson.dumps(alert)))
    follower.take(Channel.CONTAINMENT_COMMANDS, Consumed(orjson.dumps(command)))
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(render(view, time.monotonic(), size=(120, 40)))
    text = console.export_text()
    assert "domain data[.]acrne[.]example on ci-2" in text
    assert "domain:data[.]acrne[.]example" in text
    assert "acrne.example" not in text


def test_commands_and_proposals_are_counted_apart() -> None:
    follower = TopicFollower(load_settings(kafka="127.0.0.1:1"))
    proposal = orjson.loads(orjson.dumps(COMMAND)) | {"command_id": "cmd-2"}
    follower.take(Channel.CONTAINMENT_COMMANDS, Consumed(orjson.dumps(COMMAND)))
    follower.take(Channel.CONTAINMENT_PROPOSALS, Consumed(orjson.dumps(proposal)))
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(render(follower.view, time.monotonic(), size=(120, 40)))
    assert "commands 1  proposals 1" in console.export_text()


UNREADABLE = {
    "not JSON": b"{",
    "not UTF-8": b'{"metadata": {"uid": "\xff\xfe"}}',
    "a list": b"[]",
    "null": b"null",
    "empty": b"",
    "nested beyond all measure": b"[" * 100_000,
    "a field of its own that is nested": b'{"x":' + b"[" * 100_000,
}


@pytest.mark.parametrize("channel", [Channel.ALERTS, Channel.CONTAINMENT_COMMANDS])
@pytest.mark.parametrize("value", UNREADABLE.values(), ids=UNREADABLE)
def test_unreadable_record_is_counted_and_skipped(
    follower: TopicFollower, channel: Channel, value: bytes
) -> None:
    follower.take(channel, Consumed(value))
    follower.take(Channel.ALERTS, Consumed(orjson.dumps(ALERT)))
    assert follower.view.unreadable == 1
    assert list(follower.view.alerts) == ["al-1"]


@pytest.mark.parametrize(
    "path",
    [
        ("metadata",),
        ("metadata", "uid"),
        ("metadata", "tenant_uid"),
        ("metadata", "correlation_uid"),
        ("severity",),
        ("risk_score",),
        ("finding_info", "title"),
        ("status_detail",),
        ("unmapped",),
        ("unmapped", "affected_systems"),
    ],
    ids=".".join,
)
def test_an_alert_that_lacks_a_field_is_counted_and_passed_over(
    follower: TopicFollower, path: tuple[str, ...]
) -> None:
    follower.take(Channel.ALERTS, Consumed(without(ALERT, *path)))
    assert (follower.view.unreadable, follower.view.alerts) == (1, {})


@pytest.mark.parametrize(
    "path", [("command_id",), ("args",), ("args", "x-tidewatch"), ("args", "x-tidewatch", "tenant")]
)
def test_a_command_that_lacks_a_field_is_counted_and_passed_over(
    follower: TopicFollower, path: tuple[str, ...]
) -> None:
    follower.take(Channel.CONTAINMENT_COMMANDS, Consumed(without(COMMAND, *path)))
    assert (follower.view.unreadable, follower.view.commands) == (1, {})


def test_fields_of_another_type_are_not_taken(follower: TopicFollower) -> None:
    follower.take(Channel.ALERTS, Consumed(orjson.dumps({**ALERT, "risk_score": "high"})))
    assert (follower.view.unreadable, follower.view.alerts) == (1, {})


def test_an_alert_that_is_sent_again_is_an_update(follower: TopicFollower) -> None:
    for status in ("new", "recovering"):
        alert = {**ALERT, "status_detail": status}
        follower.take(Channel.ALERTS, Consumed(orjson.dumps(alert)))
    (alert,) = follower.view.alerts.values()
    assert (alert.status, alert.updates, follower.view.unreadable) == ("recovering", 1, 0)


def test_a_command_is_kept_with_what_it_acts_on(follower: TopicFollower) -> None:
    follower.take(Channel.CONTAINMENT_PROPOSALS, Consumed(orjson.dumps(COMMAND)))
    (command,) = follower.view.commands.values()
    assert (command.tenant, command.target, command.proposal) == ("acme", "model:@acme/m", True)


def test_the_summary_says_what_was_passed_over(capsys: pytest.CaptureFixture[str]) -> None:
    view = View(events=1, unreadable=1, dropped=2)
    _summary(view, Format.TEXT)
    printed = capsys.readouterr().out
    assert "1 record could not be read" in printed
    assert "2 older alerts and commands are left out" in printed
    _summary(view, Format.JSON)
    document = orjson.loads(capsys.readouterr().out)
    assert (document["unreadable"], document["dropped"]) == (1, 2)


def test_the_summary_of_nothing_special_says_nothing_of_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _summary(View(events=1), Format.TEXT)
    assert capsys.readouterr().out.splitlines()[-1] == (
        "1 event, 0 indicators, 0 alerts, 0 commands, 0 proposals"
    )


def test_the_screen_says_what_was_passed_over() -> None:
    console = Console(width=300)
    with console.capture() as captured:
        console.print(render(View(unreadable=3), time.monotonic()))
    assert "unreadable 3" in captured.get()


def test_no_more_is_kept_than_can_be_shown(follower: TopicFollower) -> None:
    for number in range(MAX_SHOWN + 2):
        metadata = {**ALERT["metadata"], "uid": f"al-{number}"}
        alert = {**ALERT, "metadata": metadata}
        follower.take(Channel.ALERTS, Consumed(orjson.dumps(alert)))
    assert (len(follower.view.alerts), follower.view.dropped) == (MAX_SHOWN, 2)


def crowded(alerts: int, commands: int) -> View:
    view = View(events=1000, lag={"checks": 12, "scan": 0}, measured=True)
    for number in range(alerts):
        view.alerts[f"al-{number}"] = LiveAlert(
            id=f"al-{number}",
            tenant="a-tenant-with-a-long-name",
            incident=f"inc-{number:032x}",
            severity="critical",
            score=80,
            title="Malicious payload in model huggingface/speedy-llm/chat-7b-turbo on inference-1",
            status="recovering",
            systems=3,
            updates=1,
            first_shown=1.0,
        )
    for number in range(commands):
        view.commands[f"cmd-{number}"] = LiveCommand(
            id=f"cmd-{number}",
            tenant="acme",
            action="quarantine",
            target="model:huggingface/" + "x" * 200,
            proposal=False,
            dry_run=True,
        )
    return view


def drawn(view: View, size: tuple[int, int]) -> list[str]:
    console = Console(width=size[0], height=size[1], color_system=None)
    with console.capture() as captured:
        console.print(render(view, time.monotonic(), broker="127.0.0.1:9192", size=size))
    return captured.get().splitlines()


def test_a_severity_is_written_as_everywhere_else(follower: TopicFollower) -> None:
    follower.take(Channel.ALERTS, Consumed(orjson.dumps(ALERT)))
    assert follower.view.alerts["al-1"].severity == Severity.HIGH


@pytest.mark.parametrize("size", [(80, 24), (160, 50), (80, 10)])
@pytest.mark.parametrize("counts", [(0, 0), (3, 1), (1, 40), (40, 1), (40, 40)])
def test_the_screen_fits_whatever_there_is_to_show(
    size: tuple[int, int], counts: tuple[int, int]
) -> None:
    lines = drawn(crowded(*counts), size)
    assert len(lines) < max(size[1], 16)
    assert max(map(len, lines)) <= size[0]
    assert "127.0.0.1:9192" in lines[0]
    assert lines[2] == "behind: checks 12  scan 0"
    text = "\n".join(lines)
    assert ("inc-00000000" in text) == (counts[0] > 0)
    for count, row in ((counts[0], "critical"), (counts[1], "quarantine")):
        shown = sum(line.startswith(row) for line in lines)
        more = [line for line in lines if line.rstrip().endswith(f"{count - shown:,} more")]
        assert bool(more) == (shown < count), text
    assert text.count("none yet") == counts.count(0)


def test_a_large_screen_is_used_and_says_more() -> None:
    few, many = (drawn(crowded(40, 40), size) for size in ((80, 24), (160, 50)))
    assert sum(line.startswith("critical") for line in many) > 15
    assert "updates" in "\n".join(many)
    assert "updates" not in "\n".join(few)


def test_before_anything_is_measured_the_screen_says_so() -> None:
    assert drawn(View(), (80, 24))[2] == "behind: not measured yet"


@pytest.mark.parametrize("columns", [40, 80, 160])
def test_the_link_to_the_console_is_shown_whole(columns: int) -> None:
    link = f"console: http://127.0.0.1:9420/enter?token={'t' * 43}"
    lines = drawn(replace(crowded(3, 3), console=link), (columns, 24))
    assert link in "".join(lines).replace(" ", "").replace("console:", "console: ")
    assert len(lines) < 24


def test_an_unchanged_view_is_not_drawn_again(
    follower: TopicFollower, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawings: list[int] = []
    looks = 0
    now = time.monotonic()

    def counted(*args: Any, **options: Any) -> Any:
        drawings.append(looks)
        return render(*args, **options)

    def check() -> None:
        nonlocal looks
        looks += 1
        if looks == 20:
            follower.take(Channel.ALERTS, Consumed(orjson.dumps(ALERT)))
        if looks == 40:
            stop.set()

    monkeypatch.setattr(live_screen, "render", counted)
    monkeypatch.setattr(live_screen, "REFRESH_SECONDS", 0.0)
    monkeypatch.setattr(live_screen, "time", SimpleNamespace(monotonic=lambda: now))
    stop = asyncio.Event()
    asyncio.run(live_screen.show(follower, stop, now, broker="b", check=check))
    assert drawings == [0, 1, 20]


def test_progress_is_measured_seldom_while_nothing_arrives_and_at_once_when_something_does(
    follower: TopicFollower, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        measured: asyncio.Queue[int] = asyncio.Queue()
        lags = iter((5, 5, 0, 0))

        async def measure(*_: object) -> None:
            follower.view.lag["checks"] = lag = next(lags)
            measured.put_nowait(lag)

        monkeypatch.setattr(live_view, "AIOKafkaAdminClient", _NoClient)
        monkeypatch.setattr(live_view.aiokafka, "AIOKafkaConsumer", _NoClient)
        monkeypatch.setattr(follower, "_measure", measure)
        sampling = asyncio.ensure_future(follower.sample(0.0, calm_seconds=3600.0))
        try:
            async with asyncio.timeout(10):
                assert [await measured.get() for _ in range(3)] == [5, 5, 0]
            for _ in range(20):
                await asyncio.sleep(0)
            assert measured.empty()
            follower.take(Channel.ASSESSMENTS, Consumed(b"{}"))
            async with asyncio.timeout(10):
                assert await measured.get() == 0
        finally:
            sampling.cancel()
            await asyncio.gather(sampling, return_exceptions=True)

    asyncio.run(run())


def test_a_broker_that_does_not_answer_at_first_is_waited_for(
    follower: TopicFollower, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals = [KafkaConnectionError("busy") for _ in range(3)]

    async def run() -> None:
        reads, measures = asyncio.Event(), asyncio.Event()

        class Busy(_NoClient):
            async def start(self) -> None:
                if refusals:
                    raise refusals.pop()

            async def getmany(self, **_: object) -> dict[str, list[Any]]:
                reads.set()
                return await asyncio.Future()

        async def measure(*_: object) -> None:
            measures.set()
            await asyncio.Future()

        monkeypatch.setattr(awaiting, "FIRST_SECONDS", 0.0)
        monkeypatch.setattr(live_view, "AIOKafkaAdminClient", Busy)
        monkeypatch.setattr(live_view.aiokafka, "AIOKafkaConsumer", Busy)
        monkeypatch.setattr(follower, "_measure", measure)
        tasks = [asyncio.ensure_future(work) for work in (follower.run(), follower.sample())]
        try:
            async with asyncio.timeout(10):
                await reads.wait()
                await measures.wait()
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ended), ended

    asyncio.run(run())
    assert not refusals


class _NoClient:
    """A Kafka client that connects to nothing."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    async def start(self) -> None:
        pass

    stop = close = start
