"""The records of assessments, indicators and operator alerts: bare documents in CloudEvents."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec

from agents.ports import Message
from schemas.assessments import Assessment
from schemas.canonical import stable_id
from schemas.channels import Channel
from schemas.cloudevents import binary_headers
from schemas.findings import SupplyChainIoC
from schemas.ledger import OperatorAlert
from schemas.version import SOURCE

ASSESSMENT_TYPE: Final = "tidewatch.assessment.v1"
IOC_TYPE: Final = "tidewatch.ioc.v1"
OPERATOR_TYPE: Final = "tidewatch.operator.v1"
OPERATOR: Final = "operator"
"""The tenant of what only the operator reads."""
CHECKS: Final = f"{SOURCE}/checks"
LEDGER: Final = f"{SOURCE}/ledger"
INCIDENTS: Final = f"{SOURCE}/incidents"
_ENCODER: Final = msgspec.json.Encoder()


def assessment_message(assessment: Assessment, time: datetime, source: str = CHECKS) -> Message:
    """Return the record of an assessment, keyed by tenant and subject.

    Args:
        assessment: What is told.
        time: When the event occurred.
        source: The part of Tidewatch that made it.
    """
    return Message(
        channel=Channel.ASSESSMENTS,
        key=f"{assessment.tenant}|{assessment.subject}",
        value=_ENCODER.encode(assessment),
        headers=binary_headers(
            id=assessment.id,
            type=ASSESSMENT_TYPE,
            source=source,
            time=time,
            tenant=assessment.tenant,
            subject=assessment.subject,
            causation=assessment.event_id,
        ),
        tenant=assessment.tenant,
    )


def indicator_message(ioc: SupplyChainIoC) -> Message:
    """Return the record of an indicator, keyed by it; the id is that of its content."""
    value = _ENCODER.encode(ioc)
    return Message(
        channel=Channel.IOCS,
        key=ioc.indicator.key,
        value=value,
        headers=binary_headers(
            id=stable_id("evt", value.decode()),
            type=IOC_TYPE,
            source=LEDGER,
            time=ioc.last_seen,
            tenant=ioc.tenant,
            subject=ioc.indicator.key,
            causation=ioc.event_id,
        ),
        tenant=ioc.tenant,
    )


def operator_message(alert: OperatorAlert, source: str) -> Message:
    """Return the record of what the operator must know, keyed by its subject.

    Args:
        alert: What is told; it names its tenant itself, if it is about one.
        source: The part of Tidewatch that made it.
    """
    return Message(
        channel=Channel.OPERATOR_ALERTS,
        key=alert.subject,
        value=_ENCODER.encode(alert),
        headers=binary_headers(
            id=alert.id,
            type=OPERATOR_TYPE,
            source=source,
            time=alert.since,
            tenant=OPERATOR,
            subject=alert.subject,
        ),
    )
