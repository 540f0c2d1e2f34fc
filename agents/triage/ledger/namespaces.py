"""Refuses messages about another tenant's private names, and reports them."""

from __future__ import annotations

from typing import Final

import msgspec

from agents.domain.component_keys import is_foreign
from agents.triage.bounded_sets import clip
from agents.triage.ledger.batch import LedgerBatch
from agents.triage.ledger.rows import NAME_BYTES
from schemas.canonical import stable_id
from schemas.ledger import Derived, FindingSeen, LedgerMessage, OperatorAlert, Taint
from schemas.observations import Sighting

_MARK: Final = ":@"


def admitted(batch: LedgerBatch, message: LedgerMessage) -> LedgerMessage | None:
    """Return a message without the names its claimant may not use; None if nothing is left.

    The checks confine every name to its event's tenant, so a refused message was written by
    something else, or by a fault: the operator is alerted.
    """
    match message:
        case Sighting():
            return _sighting(batch, message)
        case FindingSeen():
            finding = message.finding
            keys = (message.key, finding.indicator.key, finding.component, finding.publisher or "")
            return _whole(batch, message, finding.tenant, keys)
        case Derived():
            return _whole(batch, message, message.tenant, (message.key, message.child))
        case Taint() if message.tenant:
            return _whole(batch, message, message.tenant, (message.key,))
        case _:
            return message


def _whole(
    batch: LedgerBatch, message: LedgerMessage, tenant: str, keys: tuple[str, ...]
) -> LedgerMessage | None:
    foreign = next((key for key in keys if _MARK in key and is_foreign(key, tenant)), None)
    if foreign is None:
        return message
    _report(batch, tenant, foreign)
    return None


def _sighting(batch: LedgerBatch, seen: Sighting) -> Sighting | None:
    keys = (seen.component, seen.name or "", seen.publisher or "")
    if _whole(batch, seen, seen.tenant, keys) is None:
        return None
    if not any(_MARK in key and is_foreign(key, seen.tenant) for key in seen.made_from):
        return seen
    kept = []
    for key in seen.made_from:
        if is_foreign(key, seen.tenant):
            _report(batch, seen.tenant, key)
        else:
            kept.append(key)
    return msgspec.structs.replace(seen, made_from=tuple(kept))


def _report(batch: LedgerBatch, tenant: str, key: str) -> None:
    batch.send_to_operator(
        OperatorAlert(
            id=stable_id("opa", "foreign-key", tenant, key),
            kind="foreign-key",
            subject=clip(key, NAME_BYTES),
            tenant=tenant,
            detail=f"{clip(tenant, NAME_BYTES)} reported another tenant's private component",
            runbook="It was refused. Find who can write to the observations topic.",
        )
    )
