"""Taint messages out of marks, and marks out of taint messages."""

from __future__ import annotations

from agents.triage.ledger.rows import Mark
from schemas.ledger import Taint


def taint_of(mark: Mark, component: str, key: str) -> Taint:
    """Return the message that marks `key` as `mark` marks `component`.

    Args:
        mark: The mark.
        component: The component that has it.
        key: The component to mark.
    """
    return Taint(
        key=key,
        incident=mark.incident,
        root=mark.root,
        cause=mark.cause,
        origin=mark.path[0] if mark.path else component,
        path=tuple(mark.path),
        version=mark.version,
        digest=mark.digest,
        active=mark.active,
        revision=mark.revision,
        tenant=mark.tenant,
        basis=mark.basis,
        found=mark.found,
        advice=mark.advice,
        appended=mark.appended,
        roots=tuple(mark.roots),
        turns=mark.turns if key == component else 0,
    )


def mark_of(taint: Taint) -> Mark:
    """Return the mark that a taint message asks for."""
    return Mark(
        incident=taint.incident,
        root=taint.root,
        cause=taint.cause,
        version=taint.version,
        digest=taint.digest,
        path=list(taint.path),
        active=taint.active,
        revision=taint.revision,
        tenant=taint.tenant,
        advice=taint.advice,
        basis=taint.basis,
        found=taint.found,
        appended=taint.appended,
        roots=list(taint.roots),
        turns=taint.turns,
    )
