"""Counts what agents publish, for the metrics that tell what was found and done."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import orjson

from schemas.channels import Channel
from streams import metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agents.ports import Batch, Message, Publish, Record, Rows
    from streams.engine.runner import Agent

    _Counter = Callable[[dict[str, Any], int], None]


class _Measured:
    """A publish that notes what to count. Implements `agents.ports.Publish`."""

    def __init__(
        self, publish: Publish, since_ms: int, counters: Mapping[Channel, _Counter]
    ) -> None:
        self._publish = publish
        self._since_ms = since_ms
        self._counters = counters
        self._messages: list[Message] = []

    def __call__(self, message: Message) -> None:
        self._publish(message)
        if message.channel in self._counters and message.value is not None:
            self._messages.append(message)

    def refuse(self, record: Record, reason: str, error: str) -> None:
        self._publish.refuse(record, reason, error)

    def on_abandoned(self, undo: Callable[[], None]) -> None:
        self._publish.on_abandoned(undo)

    def count(self) -> None:
        """Count what was published; a batch that was too much at once never gets here."""
        for message in self._messages:
            self._counters[message.channel](orjson.loads(message.value or b""), self._since_ms)


def _finding(update: dict[str, Any], since_ms: int) -> None:
    del since_ms
    if update.get("type") == "finding-update":
        finding = update["finding"]
        metrics.FINDINGS.labels(finding["rule_id"], finding["severity"]).inc()


def _alert(document: dict[str, Any], since_ms: int) -> None:
    metrics.ALERT_SECONDS.labels(document["activity_name"]).observe(
        max(time.time() - since_ms / 1000, 0.0)
    )
    if document["status_detail"] == "false-positive":
        analytic = document["finding_info"].get("analytic", {})
        metrics.FALSE_POSITIVES.labels(analytic.get("uid", "")).inc()


def _command(document: dict[str, Any], since_ms: int) -> None:
    del since_ms
    extension = document["args"]["x-tidewatch"]
    metrics.COMMANDS.labels(extension["action"], extension["mode"]).inc()


def _assessment(document: dict[str, Any], since_ms: int) -> None:
    if document.get("stage") == "scan":
        metrics.SCANS.labels(document["overall_status"]).inc()
        metrics.SCAN_SECONDS.labels(document["overall_status"]).observe(
            max(time.time() - since_ms / 1000, 0.0)
        )


_FOUND: Final = {Channel.INCIDENT_UPDATES: _finding}
_SCANNED: Final = {Channel.INCIDENT_UPDATES: _finding, Channel.ASSESSMENTS: _assessment}
_DECIDED: Final = {
    Channel.ALERTS: _alert,
    Channel.CONTAINMENT_COMMANDS: _command,
    Channel.CONTAINMENT_PROPOSALS: _command,
}


def _since(batch: Batch[Any]) -> int:
    """Return the broker's timestamp of the chunk's first record."""
    return batch.deliveries[0].record.timestamp_ms


def counting_findings(agent: Agent) -> Agent:
    """Return a checking agent whose findings are counted."""

    async def counted(batch: Batch[Any], publish: Publish) -> None:
        measured = _Measured(publish, _since(batch), _FOUND)
        await agent(batch, measured)
        measured.count()

    return counted


def counting_scans(agent: Agent) -> Agent:
    """Return the scan agent whose findings and scans are counted, and the scans timed."""

    async def counted(batch: Batch[Any], publish: Publish) -> None:
        measured = _Measured(publish, _since(batch), _SCANNED)
        await agent(batch, measured)
        measured.count()

    return counted


def counting_ledger_findings(agent: Agent) -> Agent:
    """Return the ledger agent whose findings are counted."""

    async def counted(batch: Batch[Any], publish: Publish, rows: Rows) -> None:
        measured = _Measured(publish, _since(batch), _FOUND)
        await agent(batch, measured, rows)
        measured.count()

    return counted


def counting_decisions(agent: Agent) -> Agent:
    """Return the incidents agent whose alerts and commands are counted, and the alerts timed."""

    async def counted(batch: Batch[Any], publish: Publish, rows: Rows) -> None:
        measured = _Measured(publish, _since(batch), _DECIDED)
        await agent(batch, measured, rows)
        measured.count()

    return counted
