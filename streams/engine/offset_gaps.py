"""Reports records that were deleted from a topic before an application read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agents.logs import Logger
from agents.messages import operator_message
from agents.ports import Message
from schemas.canonical import stable_id
from schemas.counting import counted
from schemas.ledger import OperatorAlert
from schemas.version import SOURCE
from streams import metrics
from streams.engine.crash import crash
from streams.engine.delivery import Outgoing

if TYPE_CHECKING:
    from aiokafka import TopicPartition
    from faust.types import TP

    from streams.engine.context import RunnerContext

log = Logger()

KIND: Final = "records-gone"
_RUNBOOK: Final = (
    "Find out why the worker was so far behind, or who cut the topic; have the producers send "
    "the events of that time again: a repeated event counts once."
)


def gap_alert(
    group: str, tp: TP | TopicPartition, reached: int | None, begins: int
) -> OperatorAlert:
    """Return the operator's alert of a gap.

    Args:
        group: The consumer group that reads.
        tp: The topic and partition.
        reached: The offset it would have read next; None if no progress is stored.
        begins: The offset of the oldest record, at which reading continues.
    """
    place = f"{tp.topic}-{tp.partition}"
    figures = {"begins": float(begins)}
    if reached is None:
        detail = (
            f"{group} has no stored progress, and records before offset {begins} of {place} are "
            f"deleted, read or not"
        )
    elif begins > reached:
        figures |= {"reached": float(reached), "records": float(begins - reached)}
        detail = (
            f"{group} missed {counted(begins - reached, 'record')} of {place}, from offset "
            f"{reached} on: deleted before they were read"
        )
    else:
        figures |= {"reached": float(reached)}
        detail = (
            f"{place} ends before offset {reached}, where {group} had got to: it was recreated or "
            f"cut off, and is read from offset {begins} on"
        )
    return OperatorAlert(
        id=stable_id("opa", KIND, group, place, str(reached), str(begins)),
        kind=KIND,
        subject=place,
        detail=detail,
        runbook=_RUNBOOK,
        figures=figures,
    )


def note_gap(
    app: str, group: str, tp: TP | TopicPartition, reached: int | None, begins: int
) -> Message:
    """Log and count a gap, and return the record that reports it to the operator.

    Args:
        app: The application that met the gap.
        group: Its consumer group.
        tp: The topic and partition.
        reached: The offset it would have read next; None if no progress is stored.
        begins: The offset of the oldest record.
    """
    log.error(
        "records-gone",
        app=app,
        topic=tp.topic,
        partition=tp.partition,
        reached=reached,
        begins=begins,
    )
    metrics.GAPS.labels(app).inc()
    return operator_message(gap_alert(group, tp, reached, begins), f"{SOURCE}/{app}")


async def report_gap(context: RunnerContext, tp: TP, reached: int | None, begins: int) -> None:
    """Report a gap to the operator, durably; only then may reading continue after it.

    If that fails, the process ends: the next one meets the gap again.
    """
    message = note_gap(context.name, context.group, tp, reached, begins)
    outgoing: list[Outgoing] = []
    try:
        await context.addresses.address(message, outgoing)
        batch_delivery = await context.shipper.ship(outgoing)
        await batch_delivery.delivered()
    except Exception as error:  # noqa: BLE001 -- nothing lost: a gap must not go unreported
        crash("gap-not-reported", error, app=context.name, topic=tp.topic)
