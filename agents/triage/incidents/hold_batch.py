"""The holds that one batch touches: reads and writes their rows, publishes what follows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Protocol

import msgspec

from agents.ports import Message, Publish
from agents.triage.bounded_sets import stable_rank
from agents.triage.containment import held_component
from agents.triage.holds.goals import is_stuck
from agents.triage.holds.intake import on_answer, on_reason, on_suspicion
from agents.triage.holds.repetition import NOTHING_LEFT, next_due, on_time
from agents.triage.holds.rows import THINGS, Effects, Hold, HoldRow, Thing
from agents.triage.holds.settling import settle
from agents.triage.incidents.escalation import escalation_alert
from agents.triage.incidents.rows import NEVER_MS, answered_state
from agents.triage.ledger.batch import content_hash
from agents.triage.ledger.rows import from_ms, to_ms
from agents.triage.routing import incident_message
from agents.triage.store import Store, row_key
from schemas.canonical import stable_id
from schemas.incidents.commands import CommandSpec, CommandView
from schemas.incidents.holds import (
    HoldNotice,
    HoldReason,
    HoldState,
    HoldView,
    ReasonState,
    ReasonView,
    Suspicion,
    ThingView,
    hold_key,
)
from schemas.incidents.updates import ResultUpdate
from schemas.ledger import OperatorAlert

HOLD: Final = "hc"
THING: Final = "ht"
DUE: Final = "hd"
DUE_AT_ONCE: Final = 10_000
"""Holds that one tick looks at."""
CURSOR: Final = "hz"
_NOT_FOUND: Final = 404
HoldInput = HoldReason | Suspicion | ResultUpdate


class HoldDocuments(Protocol):
    """Makes records out of commands, answers and holds."""

    def command(self, spec: CommandSpec, at_ms: int, *, proposal: bool) -> Iterable[Message]:
        """Return the records of a command, or of a proposal that no one carries out."""

    def audit(self, view: CommandView, at_ms: int) -> Iterable[Message]:
        """Return the audit records of a result, answered at `at_ms`."""

    def hold(self, view: HoldView, at_ms: int) -> Iterable[Message]:
        """Return the record of all holds of a component."""


class DueRow(msgspec.Struct, array_like=True):
    """When time next matters to a hold."""

    tenant: str
    component: str
    due_ms: int


class CursorRow(msgspec.Struct, array_like=True):
    """The hold after which the next tick continues."""

    after: str = ""
    earliest_ms: int = 0
    """No hold waits for a time before this one; 0: not known."""
    round_ms: int = NEVER_MS
    """The same of the holds that were looked at since a tick began with the first."""


class HoldBatch:
    """The holds of one partition, as one batch reads and writes them.

    Each record is acted upon separately, so that the result does not depend on how records were cut
    into batches.
    """

    def __init__(
        self,
        store: Store,
        documents: HoldDocuments,
        publish: Publish,
        operator: Callable[[OperatorAlert], None],
    ) -> None:
        """Start a batch.

        Args:
            store: The batch's rows.
            documents: Makes records.
            publish: Publishes records.
            operator: Alerts the operator.
        """
        self._store = store
        self._documents = documents
        self._publish = publish
        self._operator = operator
        self._holds: dict[str, Hold] = {}
        self._at: dict[str, int] = {}

    def take(self, message: HoldInput, at_ms: int) -> None:
        """Apply one record that is keyed to a hold, and act on it.

        Args:
            message: A reason, a suspicion or an answer.
            at_ms: The broker's timestamp of the record.
        """
        match message:
            case HoldReason():
                hold = self._hold(message.spec.tenant, held_component(message.spec.target))
                changed, asking = on_reason(hold, message), message.incident
            case Suspicion():
                hold = self._hold(message.tenant, message.component)
                changed, asking = on_suspicion(hold, message), ""
            case ResultUpdate():
                hold = self._hold(message.tenant, message.hold)
                changed, asking = self._answered(hold, message), ""
        hold.row.revision += 1
        if changed:
            had_overflowed = hold.row.things_overflowed
            self._follow(hold, settle(hold, at_ms), at_ms, asking)
            if hold.row.things_overflowed and not had_overflowed:
                self._bound_reached(hold, at_ms)
        self._save(hold, at_ms)

    def _answered(self, hold: Hold, result: ResultUpdate) -> bool:
        spec = on_answer(hold, result)
        if spec is None:
            return False
        view = CommandView(
            spec=spec,
            state=answered_state(result.status),
            status=result.status,
            status_text=result.status_text,
        )
        for message in self._documents.audit(view, to_ms(result.at)):
            self._publish(message)
        return True

    def tick(self, now_ms: int) -> None:
        """Repeat unanswered commands, and expire old ones.

        The rows are only read once the earliest time that a hold waits for has come.
        """
        cursor = self._cursor()
        if cursor.earliest_ms > now_ms:
            return
        if not cursor.after:
            cursor.round_ms = NEVER_MS
        page = list(self._store.scan(DUE, row_type=DueRow, limit=DUE_AT_ONCE, after=cursor.after))
        # The next tick continues after these, so that no tenant's holds starve another's.
        cursor.after = page[-1][0] if len(page) == DUE_AT_ONCE else ""
        cursor.round_ms = min((cursor.round_ms, *(due.due_ms for _, due in page)))
        cursor.earliest_ms = 0 if cursor.after else cursor.round_ms
        self._store.save(row_key(CURSOR), cursor)
        for _, due in page:
            if due.due_ms > now_ms:
                continue
            hold = self._hold(due.tenant, due.component)
            hold.row.revision += 1
            self._follow(hold, on_time(hold, now_ms), now_ms, "")
            self._save(hold, now_ms)

    def finish(self) -> None:
        """Publish the holds of the components that changed."""
        for key, hold in self._holds.items():
            view = hold_view(hold)
            content = content_hash(view)
            if content == hold.row.published or not (view.things or hold.row.published):
                continue
            hold.row.published = content if view.things else ""
            self._save(hold, self._at[key])
            for message in self._documents.hold(view, self._at[key]):
                self._publish(message)

    def _hold(self, tenant: str, component: str) -> Hold:
        key = hold_key(tenant, component)
        if key not in self._holds:
            row = self._store.load(row_key(HOLD, tenant, component), HoldRow)
            things = self._store.scan(THING, tenant, component, row_type=Thing, limit=THINGS)
            self._holds[key] = Hold(
                row=row or HoldRow(tenant=tenant, component=component),
                things={thing.key: thing for _, thing in things},
            )
        return self._holds[key]

    def _save(self, hold: Hold, at_ms: int) -> None:
        tenant, component = hold.row.tenant, hold.row.component
        self._at[hold_key(tenant, component)] = at_ms
        for thing in list(hold.things.values()):
            key = row_key(THING, tenant, component, stable_rank(thing.action, thing.target))
            if thing.is_forgettable:
                del hold.things[thing.key]
                self._store.delete(key)
            else:
                self._store.save(key, thing)
        if hold.is_forgettable:
            self._store.delete(row_key(HOLD, tenant, component))
        else:
            self._store.save(row_key(HOLD, tenant, component), hold.row)
        key = row_key(DUE, tenant, component)
        due, known = next_due(hold), self._store.load(key, DueRow)
        if due is None:
            if known is not None:
                self._store.delete(key)
            return
        if known is None or known.due_ms != due:
            self._store.save(key, DueRow(tenant=tenant, component=component, due_ms=due))
        cursor = self._cursor()
        if due < max(cursor.earliest_ms, cursor.round_ms):
            cursor.earliest_ms = min(cursor.earliest_ms, due)
            cursor.round_ms = min(cursor.round_ms, due)
            self._store.save(row_key(CURSOR), cursor)

    def _cursor(self) -> CursorRow:
        return self._store.load(row_key(CURSOR), CursorRow) or CursorRow()

    # -- publishing --------------------------------------------------------------------------------

    def _follow(self, hold: Hold, effects: Effects, at_ms: int, asking: str) -> None:
        for spec, proposal in effects.commands:
            for message in self._documents.command(spec, at_ms, proposal=proposal):
                self._publish(message)
        for spec, why in effects.escalations:
            self._escalate(spec, why, at_ms)
        for _, thing in sorted(hold.things.items()):
            content = content_hash(_notice(hold, thing, ""))
            for incident in sorted(thing.reasons):
                # The incident that gave the reason is answered, even if nothing changed for others.
                if content != thing.published or incident == asking:
                    notice = _notice(hold, thing, incident)
                    self._publish(incident_message(incident, notice))
            thing.published = content

    def _escalate(self, spec: CommandSpec, why: str, at_ms: int) -> None:
        self._operator(escalation_alert(spec, why, at_ms))

    def _bound_reached(self, hold: Hold, at_ms: int) -> None:
        self._operator(
            OperatorAlert(
                id=stable_id("opa", "bound", hold.row.tenant, hold.row.component),
                kind="bound-reached",
                subject=hold_key(hold.row.tenant, hold.row.component),
                tenant=hold.row.tenant,
                detail=f"more than {THINGS} actions on one component: not all are kept",
                figures={"at_ms": float(at_ms)},
                runbook="See tidewatch holds show, and contain the rest manually.",
            )
        )


def _notice(hold: Hold, thing: Thing, incident: str) -> HoldNotice:
    answer = thing.answer()
    command = thing.release if thing.state is HoldState.RELEASED else thing.command
    status, text = (answer[1], answer[2]) if answer else (None, "")
    if is_stuck(hold, thing):
        status, text = _NOT_FOUND, NOTHING_LEFT
    return HoldNotice(
        incident=incident,
        # It is sent if the hash of its content changed, which leaves counters out.
        revision=hold.row.revision if incident else 0,
        action=thing.action,
        target=thing.target,
        tenant=hold.row.tenant,
        state=thing.state,
        generation=thing.generation,
        command=command,
        status=status,
        status_text=text,
        answered_at=from_ms(answer[0]) if answer else None,
        expired=thing.expired and thing.in_force is not None,
        superseded=thing.superseded,
        asks_again=bool(incident) and thing.reasons[incident].void,
        answers=thing.reasons[incident].revision if incident else 0,
    )


def hold_view(hold: Hold) -> HoldView:
    """Return all holds of a component, as the operator reads it."""
    things = []
    for _, thing in sorted(hold.things.items()):
        notice = _notice(hold, thing, "")
        things.append(
            ThingView(
                action=thing.action,
                target=thing.target,
                state=thing.state,
                generation=thing.generation,
                reasons=tuple(
                    ReasonView(
                        incident=reason.incident,
                        state=ReasonState.ASKED if reason.void else reason.state,
                        closed=reason.closed,
                        dry_run=reason.spec.dry_run,
                        why=reason.why,
                        findings=reason.findings,
                    )
                    for _, reason in sorted(thing.reasons.items())
                ),
                command=notice.command,
                status=notice.status,
                status_text=notice.status_text,
                overflowed=thing.overflowed,
            )
        )
    suspected = {name for suspects in hold.row.suspicions.values() for name in suspects.names}
    return HoldView(
        tenant=hold.row.tenant,
        component=hold.row.component,
        things=tuple(things),
        suspected=tuple(sorted(suspected)),
        truncated=hold.row.things_overflowed or hold.suspects_everything,
    )
