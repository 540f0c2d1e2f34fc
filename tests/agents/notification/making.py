"""Makes configurations, records and a notifier in memory for the tests of notifications."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec
import orjson

from agents.notification.book import Attempt, Book
from agents.notification.config import NotifyConfig, read_config
from agents.notification.notices import Notice, read_notice
from agents.notification.threads import DeliveryOutcome
from agents.ports import Record
from schemas.channels import Channel
from schemas.cloudevents import binary_headers
from schemas.documents import openc2
from schemas.incidents.commands import CommandSpec
from schemas.notifications import NotificationThread
from schemas.severity import Severity

NOW = 1_795_000_000_000
SECOND = 1000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
SEVERITIES = list(Severity)

CONFIG = """
[destinations.chat]
apprise = "json://localhost/chat"
[destinations.phone]
apprise = "json://localhost/phone"

[[routes]]
name = "soc"
tenants = ["acme"]
send_to = ["chat"]
min_severity = "medium"
group_wait_seconds = 30
group_interval_seconds = 300
"""


def config(more: str = "") -> NotifyConfig:
    """Return a configuration; `more` goes on with its route."""
    return read_config(CONFIG + more)


def alert_document(
    incident: str = "inc-1",
    tenant: str = "acme",
    severity: str = "high",
    status: str = "new",
    **more: Any,
) -> dict[str, Any]:
    """Return the part of an alert that notifications read."""
    return {
        "metadata": {"tenant_uid": tenant, "correlation_uid": incident},
        "finding_info": {"title": more.pop("title", "Malicious payload in acme/model")},
        "message": more.pop("message", "It runs code when it is loaded. Two systems hold it."),
        "severity_id": SEVERITIES.index(Severity(severity)) + 1,
        "status_detail": status,
        "risk_score": more.pop("score", 71),
        **({"assignee": {"name": more.pop("assignee")}} if "assignee" in more else {}),
        "unmapped": {"affected_systems": 2, "next_action": "Investigate.", **more},
    }


_offsets = itertools.count(1)


def record(
    document: dict[str, Any], tenant: str, at_ms: int = NOW, offset: int | None = None
) -> Record:
    """Return a record on the broker."""
    return Record(
        topic="t",
        partition=0,
        offset=next(_offsets) if offset is None else offset,
        timestamp_ms=at_ms,
        key=b"k",
        value=orjson.dumps(document),
        headers=tuple(
            binary_headers(
                id="evt",
                type="t",
                source="//tidewatch/incidents",
                time=datetime.fromtimestamp(at_ms / 1000, UTC),
                tenant=tenant,
            )
        ),
    )


def alert(at_ms: int = NOW, tenant: str = "acme", **more: Any) -> Notice:
    """Return what an alert says."""
    made = record(alert_document(tenant=tenant, **more), tenant, at_ms)
    return read_notice(Channel.ALERTS, made, 1_000_000)


def proposal(incident: str = "inc-1", tenant: str = "acme", **more: Any) -> Notice:
    """Return what a proposal says."""
    spec = CommandSpec(
        **{
            "command_id": "cmd-1",
            "incident": incident,
            "tenant": tenant,
            "action": "quarantine",
            "target": "model:huggingface/acme/m",
            "target_type": "component",
            "reason": "malicious payload",
            "mode": "proposal",
            **more,
        }
    )
    return read_notice(
        Channel.CONTAINMENT_PROPOSALS,
        record(openc2.command_document(spec), tenant),
        1_000_000,
    )


def operator_alert(kind: str = "topic-paused", subject: str = "t-0", **more: Any) -> Notice:
    """Return what an operator alert says."""
    document = {"id": more.pop("id", "opa-1"), "kind": kind, "subject": subject, "detail": "why"}
    made = record({**document, **more}, "operator")
    return read_notice(Channel.OPERATOR_ALERTS, made, 1_000_000)


Answer = Callable[[Attempt], DeliveryOutcome]
TAKEN = DeliveryOutcome(taken=True)
DOWN = DeliveryOutcome(taken=False, detail="no answer")


class Desk:
    """A notifier without Kafka: its rows are durable, its memory is not."""

    def __init__(self, chosen: NotifyConfig, now_ms: int = NOW) -> None:
        self.config = chosen
        self.now_ms = now_ms
        self.rows: dict[str, bytes] = {}
        self.letters: dict[str, bytes] = {}
        self.got: list[Attempt] = []
        self.answer: Answer = lambda _: TAKEN
        self.book = Book(chosen)

    def take(self, *notices: Notice, at_ms: int | None = None) -> None:
        """Read records, and keep what follows from them."""
        for notice in notices:
            self.book.take(notice, self.now_ms if at_ms is None else at_ms, self.now_ms)
        self.keep()

    def keep(self) -> None:
        """Make all changes durable."""
        for key, thread in self.book.changes().items():
            if thread is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = msgspec.json.encode(thread)
        for lost in self.book.lost():
            self.letters[lost.key] = msgspec.json.encode(lost.row)

    def restart(self, *, replayed: Iterable[tuple[str, bytes]] = ()) -> None:
        """Forget everything but the rows."""
        self.book = Book(self.config)
        for key, raw in self.rows.items():
            self.book.load(key, msgspec.json.decode(raw, type=NotificationThread), self.now_ms)
        for key, raw in replayed:
            self.book.adopt(key, msgspec.json.decode(raw, type=NotificationThread), self.now_ms)
        self.keep()

    def deliver(self, *, crash: bool = False) -> int:
        """Make one attempt at each destination; a crash forgets what came of them."""
        self.book.act(self.now_ms)
        self.keep()
        made = list(self.book.ready((), self.now_ms))
        for delivery in made:
            outcome = self.answer(delivery)
            if outcome.taken:
                self.got.append(delivery)
            if not crash:
                self.book.settle(delivery, outcome, self.now_ms)
        if crash:
            self.restart()
        else:
            self.keep()
        return len(made)

    def pass_time(self, ms: int, *, step: int = 10 * SECOND) -> None:
        """Let time pass, delivering all that becomes due."""
        end = self.now_ms + ms
        while True:
            while self.deliver():
                pass
            if self.now_ms >= end:
                return
            self.now_ms = min(end, self.now_ms + step)

    def events(self, destination: str = "chat") -> list[str]:
        """Return what a destination took, as events."""
        return [
            delivery.message.event for delivery in self.got if delivery.destination == destination
        ]
