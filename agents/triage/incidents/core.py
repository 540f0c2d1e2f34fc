"""What incidents do with each batch: fold, decide, render, and tell what a person would act on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

import msgspec

from agents.domain.knowledge import Knowledge
from agents.domain.organisations import Register
from agents.messages import INCIDENTS, operator_message
from agents.ports import Delivery, Message, Publish, Rows
from agents.triage.correlation import PRIVATE_TENANTS
from agents.triage.incidents import reducers
from agents.triage.incidents.asking import leave_holds, on_notice
from agents.triage.incidents.commands import next_due, on_time, update_commands
from agents.triage.incidents.document import LISTED_TENANTS, incident_document
from agents.triage.incidents.escalation import escalation_alert
from agents.triage.incidents.hold_batch import HoldBatch
from agents.triage.incidents.incident_rows import IncidentRows
from agents.triage.incidents.revocations import note_told, with_generations
from agents.triage.incidents.rows import (
    ACTIONS,
    ASKED,
    CLOCK,
    COMMANDS,
    CORE,
    EXPIRY,
    FINDINGS,
    KEEP_DAYS,
    SEEN,
    SYSTEMS,
    TENANTS,
    WAITING,
    ClockRow,
    ExpiryRow,
    WaitingRow,
)
from agents.triage.incidents.tenant_state import (
    STATES,
    TenantState,
    contained,
    known_counts,
    tenant_state_of,
)
from agents.triage.incidents.views import alert_view, significance
from agents.triage.ledger.rows import DAY_MS, to_ms
from agents.triage.routing import incident_message, ledger_message
from agents.triage.store import SEPARATOR, Store, row_key
from schemas.canonical import stable_id
from schemas.channels import Channel
from schemas.decisions import Decision, DecisionKind
from schemas.incidents.commands import CommandSpec, CommandView
from schemas.incidents.holds import HoldNotice, HoldReason, HoldView, Suspicion, hold_key
from schemas.incidents.updates import (
    DecisionUpdate,
    Exposure,
    FindingUpdate,
    ForgedResult,
    IncidentMessage,
    KnownGood,
    Prevalence,
    Proof,
    Related,
    ResultUpdate,
    Withdrawal,
)
from schemas.incidents.views import AlertView, IncidentDocument
from schemas.ledger import CaseState, OperatorAlert, Revision, Tick
from schemas.sharing import may_be_shared, shared_indicators

IncidentInput = IncidentMessage | Decision
WAITING_AT_ONCE: Final = 10_000


class Documents(Protocol):
    """Makes records out of views: the standards' documents, or the views themselves."""

    def alert(self, view: AlertView, at_ms: int) -> Iterable[Message]:
        """Return the records of a tenant's alert; `at_ms` is the broker's time that led to it."""

    def incident(self, document: IncidentDocument, at_ms: int) -> Iterable[Message]:
        """Return the records of the operator's document."""

    def command(self, spec: CommandSpec, at_ms: int, *, proposal: bool) -> Iterable[Message]:
        """Return the records of a command, or of a proposal that no one carries out."""

    def audit(self, view: CommandView, at_ms: int) -> Iterable[Message]:
        """Return the audit records of a result, answered at `at_ms`."""

    def hold(self, view: HoldView, at_ms: int) -> Iterable[Message]:
        """Return the record of all that is held of a component."""


class Incidents:
    """The incidents of all partitions of this worker; all state is in the rows."""

    def __init__(
        self,
        knowledge: Knowledge,
        documents: Documents,
        k: int = PRIVATE_TENANTS,
        register: Register | None = None,
    ) -> None:
        """Keep what every batch needs.

        Args:
            knowledge: Where policies come from.
            documents: What makes documents.
            k: Fewer tenants are never counted in what a tenant reads.
            register: Which organisations tenants belong to; None: each is one.
        """
        self._k = k
        self._register = register
        self._knowledge = knowledge
        self._documents = documents

    def process(
        self, deliveries: Iterable[Delivery[IncidentInput]], publish: Publish, rows: Rows
    ) -> None:
        """Take a batch into the incidents' rows and tell what follows.

        Args:
            deliveries: Records of one partition of `incident-updates` and `decisions`.
            publish: Where messages go.
            rows: The partition's rows.
        """
        batch = _IncidentBatch(
            self._knowledge, self._documents, publish, rows, k=self._k, register=self._register
        )
        for delivery in deliveries:
            batch.take(delivery)
        batch.finish()


class _IncidentBatch:
    """One batch: what it touched, and what follows."""

    def __init__(
        self,
        knowledge: Knowledge,
        documents: Documents,
        publish: Publish,
        rows: Rows,
        *,
        k: int,
        register: Register | None,
    ) -> None:
        self._k = k
        self._register = register
        self._knowledge = knowledge
        self._documents = documents
        self._publish = publish
        self.store = Store(rows)
        self._cases: dict[str, IncidentRows] = {}
        self._touched: dict[str, dict[str, None]] = {}
        self._whole: set[str] = set()
        self._pending: dict[str, set[str]] = {}
        """Parts whose commands were not looked at since something was folded into them."""
        self._at: dict[str, Revision] = {}
        self._entered: dict[str, int] = {}
        """When the first of the events that led to what is taken entered Kafka, by incident."""
        self._clock = self.store.load(row_key(CLOCK, "incidents"), ClockRow) or ClockRow()
        self._holds = HoldBatch(self.store, documents, publish, self._operator)

    def case(self, incident: str) -> IncidentRows:
        if incident not in self._cases:
            self._cases[incident] = IncidentRows(self.store, incident, self._k, self._register)
        return self._cases[incident]

    def take(self, delivery: Delivery[IncidentInput]) -> None:
        """Fold one message."""
        record, message = delivery.record, delivery.value
        if isinstance(message, Tick):
            self._tick(message.time_ms)
            return
        if isinstance(message, HoldReason | Suspicion) or (
            isinstance(message, ResultUpdate) and message.hold
        ):
            self._publish.caused_by(record.entered_ms)
            self._holds.take(message, record.timestamp_ms)
            return
        case = self.case(message.incident)
        if isinstance(message, HoldNotice) and not case.exists():
            return
        case.count_record(record.timestamp_ms)
        self._at[case.incident] = max(
            self._at.get(case.incident, (0, 0)), (record.timestamp_ms, record.offset)
        )
        touched = self._touched.setdefault(case.incident, {})
        at_ms = record.timestamp_ms
        if record.entered_ms and not isinstance(
            message, Decision | DecisionUpdate | ResultUpdate | HoldNotice
        ):
            self._entered[case.incident] = min(
                record.entered_ms, self._entered.get(case.incident, record.entered_ms)
            )
        if isinstance(message, Decision | DecisionUpdate | Withdrawal | HoldNotice):
            # What came before is acted upon first: what follows must not depend on whether the
            # records were read in one batch or in two.
            self._advance(case, at_ms)
        match message:
            case FindingUpdate():
                reducers.on_finding(case, message, at_ms)
                touched[message.finding.tenant] = None
                self._pending.setdefault(case.incident, set()).add(message.finding.tenant)
            case Exposure():
                reducers.on_exposure(case, message, at_ms)
                touched[message.tenant] = None
                self._pending.setdefault(case.incident, set()).add(message.tenant)
            case KnownGood():
                reducers.on_known_good(case, message)
                touched[message.tenant] = None
                if not message.active:
                    self._pending.setdefault(case.incident, set()).add(message.tenant)
            case Proof():
                reducers.on_proof(case, message)
                touched[message.tenant] = None
            case Withdrawal():
                reducers.on_withdrawal(case, message)
                touched[message.tenant] = None
            case Prevalence():
                reducers.on_prevalence(case, message)
            case Related():
                self._relate(case, message)
            case ResultUpdate():
                self._answered(case, message)
                touched[message.tenant] = None
            case HoldNotice():
                if on_notice(case, message):
                    touched[message.tenant] = None
                    self._pending.setdefault(case.incident, set()).add(message.tenant)
            case DecisionUpdate():
                self._decide(case, message.decision, at_ms)
            case Decision():
                self._decide(case, message, at_ms)
            case ForgedResult():
                self._forged(message)

    def _answered(self, case: IncidentRows, result: ResultUpdate) -> None:
        hold = reducers.hold_of(case, result)
        if hold is not None:
            # A responder that does not repeat whose command it was: the hold is its writer.
            self._publish(
                incident_message(
                    hold_key(result.tenant, hold), msgspec.structs.replace(result, hold=hold)
                )
            )
            return
        view = reducers.on_result(case, result)
        if view is not None:
            for message in self._documents.audit(view, to_ms(result.at)):
                self._publish(message)

    def _decide(self, case: IncidentRows, decision: Decision, at_ms: int) -> None:
        reducers.on_decision(case, decision, at_ms)
        if decision.tenant is None:
            self._whole.add(case.incident)
            self._pending.setdefault(case.incident, set()).update(case.tenants())
        else:
            self._touched[case.incident][decision.tenant] = None
            self._pending.setdefault(case.incident, set()).add(decision.tenant)
        self._advance(case, at_ms)

    def _advance(self, case: IncidentRows, at_ms: int) -> None:
        """Issue, approve and take back what is due in the parts touched since the last time."""
        tenants = self._pending.pop(case.incident, set())
        for tenant in sorted(tenants & set(case.tenants())):
            self._update_commands(case, self._tenant_state(case, tenant), at_ms)

    def _update_commands(self, case: IncidentRows, tenant_state: TenantState, at_ms: int) -> bool:
        return update_commands(
            case,
            tenant_state,
            at_ms,
            lambda spec, proposal: self._command(spec, at_ms, proposal=proposal),
            self._ask,
        )

    def _ask(self, key: str, said: HoldReason | Suspicion) -> None:
        self._publish(incident_message(key, said))

    def _relate(self, case: IncidentRows, link: Related) -> None:
        before = case.core.campaign
        reducers.on_related(case, link)
        if link.tenant is not None:
            self._touched[case.incident][link.tenant] = None
        if case.core.campaign and (case.core.campaign != before or link.via != "campaign"):
            for other, _, _ in case.core.related.values():
                if other != case.core.campaign:
                    self._tell_campaign(other, case.core.campaign)

    def _tell_campaign(self, incident: str, campaign: str) -> None:
        link = Related(incident=incident, other=campaign, via="campaign")
        self._publish(
            Message(channel=Channel.INCIDENT_UPDATES, key=incident, value=msgspec.json.encode(link))
        )

    def _forged(self, message: ForgedResult) -> None:
        self._operator(
            OperatorAlert(
                id=stable_id("opa", "forged", message.id),
                kind="forged-result",
                subject=message.incident,
                tenant=message.tenant,
                detail=message.detail or "a result's signature did not verify",
                since=message.at,
                runbook="Find who can write to the results topic; rotate the responder's key.",
            )
        )

    def _operator(self, alert: OperatorAlert) -> None:
        self._publish(operator_message(alert, INCIDENTS))

    # -- time --------------------------------------------------------------------------------------

    def _tick(self, now_ms: int) -> None:
        if now_ms <= self._clock.time_ms:
            return
        self._clock.time_ms = now_ms
        self.store.save(row_key(CLOCK, "incidents"), self._clock)
        self._holds.tick(now_ms)
        page = list(
            self.store.scan(
                WAITING,
                row_type=WaitingRow,
                limit=WAITING_AT_ONCE,
                after=self._clock.waiting_after,
            )
        )
        # However many wait, the next tick goes on behind them: none is left out for ever.
        self._clock.waiting_after = page[-1][0] if len(page) == WAITING_AT_ONCE else ""
        for key, waiting in page:
            if waiting.due_ms > now_ms:
                continue
            case = self.case(waiting.incident)
            if not case.exists():
                self.store.delete(key)
                continue
            case.count_record(now_ms)
            tenant_state = self._tenant_state(case, waiting.tenant)
            changed = on_time(
                tenant_state,
                now_ms,
                lambda spec, proposal: self._command(spec, now_ms, proposal=proposal),
                lambda spec, why: self._escalate(spec, why, now_ms),
            )
            if changed:
                case.save(tenant_state.actions)
            changed = self._update_commands(case, tenant_state, now_ms) or changed
            if changed or tenant_state.status != tenant_state.actions.told_status:
                self._touched.setdefault(case.incident, {})[waiting.tenant] = None
                self._at.setdefault(case.incident, (now_ms, 0))
            self._wait(case, tenant_state)
        self._forget(now_ms)

    def _wait(self, case: IncidentRows, tenant_state: TenantState) -> None:
        """Note when time next matters to a tenant's part."""
        key = row_key(WAITING, case.incident, tenant_state.tenant)
        known = self.store.load(key, WaitingRow)
        due = next_due(tenant_state, self._clock.time_ms)
        if due is None:
            if known is not None:
                self.store.delete(key)
        elif known is None or known.due_ms != due:
            row = WaitingRow(incident=case.incident, tenant=tenant_state.tenant, due_ms=due)
            self.store.save(key, row)

    def _forget(self, now_ms: int) -> None:
        """Once a day: forget ended incidents 400 days after the last record about them."""
        today = now_ms // DAY_MS
        if today <= self._clock.day:
            return
        self._clock.day = today
        for key, pointer in self.store.scan(EXPIRY, row_type=ExpiryRow, limit=WAITING_AT_ONCE):
            if int(key.split(SEPARATOR)[1]) > today:
                break
            self.store.delete(key)
            core = self.case(pointer.incident).core
            due = core.last_ms // DAY_MS + KEEP_DAYS
            if core.case == "open" or due > today:
                self._expect_end(pointer.incident, max(due, today + 30))
                continue
            case = self.case(pointer.incident)
            for tenant in case.tenants():
                leave_holds(case, self._tenant_state(case, tenant), self._ask)
            self.store.delete(row_key(CORE, pointer.incident))
            self.store.delete(row_key(SEEN, pointer.incident))
            for kind in (FINDINGS, SYSTEMS, ACTIONS, ASKED, WAITING):
                prefix = row_key(kind, pointer.incident) + SEPARATOR
                for extra in self.store.scan_keys(prefix, TENANTS * COMMANDS):
                    self.store.delete(extra)
            self._cases.pop(pointer.incident, None)
            self._touched.pop(pointer.incident, None)
            self._publish(Message(channel=Channel.INCIDENTS, key=pointer.incident, value=None))

    def _expect_end(self, incident: str, day: int) -> None:
        self.store.save(row_key(EXPIRY, f"{day:08d}", incident), ExpiryRow(incident=incident))

    def _escalate(self, spec: CommandSpec, why: str, now_ms: int) -> None:
        self._operator(escalation_alert(spec, why, now_ms))

    def _command(self, spec: CommandSpec, at_ms: int, *, proposal: bool) -> None:
        for message in self._documents.command(spec, at_ms, proposal=proposal):
            self._publish(message)

    # -- what follows ------------------------------------------------------------------------------

    def _tenant_state(self, case: IncidentRows, tenant: str) -> TenantState:
        return tenant_state_of(case, tenant, self._knowledge.policy(tenant), self._clock.time_ms)

    def finish(self) -> None:
        """Decide and render what was touched, then write the rows."""
        for incident, touched in self._touched.items():
            case = self._cases[incident]
            if case.exists():
                self._publish.caused_by(self._entered.get(incident, 0))
                self._settle(case, touched)
        self._publish.caused_by(0)
        self._holds.finish()
        self.store.flush()

    def _settle(self, case: IncidentRows, touched: Iterable[str]) -> None:
        at_ms, offset = self._at[case.incident]
        if at_ms // DAY_MS > case.core.last_ms // DAY_MS:
            if not case.core.last_ms:
                self._expect_end(case.incident, at_ms // DAY_MS + KEEP_DAYS)
            case.core.last_ms = at_ms
            case.save_core()
        everyone = case.tenants()
        if not everyone:
            return  # only tenants that suppress what was found know of it so far
        # Others read of the threshold reached.
        common = stable_id("common", *(str(count) for count in sorted(known_counts(case))))
        if common != case.core.common:
            case.core.common = common
            case.save_core()
            self._whole.add(case.incident)
        chosen = everyone if case.incident in self._whole else sorted(set(touched) & set(everyone))
        for tenant in chosen:
            self._settle_tenant(case, tenant, at_ms)
        tenant_states = [self._tenant_state(case, tenant) for tenant in everyone[:LISTED_TENANTS]]
        document = with_generations(case, incident_document(case, tenant_states))
        told = significance(document)
        if told != case.core.told:
            case.core.told = told
            # Partners were told of it if there was something that they may be told.
            if may_be_shared(document, self._k) and shared_indicators(document, self._k):
                case.core.shared = True
            note_told(case, document)
            case.save_core()
            for message in self._documents.incident(document, at_ms):
                self._publish(message)
        self._tell_ledger(case, tenant_states, (at_ms, offset))
        for part in sorted(case.reached):
            self._operator(
                OperatorAlert(
                    id=stable_id("opa", "bound", case.incident, part),
                    kind="bound-reached",
                    subject=case.incident,
                    detail=f"{part} of one incident: not all are kept",
                    runbook="Nothing is lost on the topics; look there for what is left out.",
                )
            )
        case.reached.clear()

    def _settle_tenant(self, case: IncidentRows, tenant: str, at_ms: int) -> None:
        tenant_state = self._tenant_state(case, tenant)
        changed = self._update_commands(case, tenant_state, at_ms)
        row = tenant_state.actions
        if not row.contained_ms and contained(tenant_state):
            row.contained_ms = at_ms
            case.save(row)
        if changed:
            tenant_state = self._tenant_state(case, tenant)
        self._wait(case, tenant_state)
        view = alert_view(case, tenant_state)
        told = significance(view)
        if told == row.told or (view.status == "suppressed" and row.told_status == "suppressed"):
            return
        if not row.told and (view.status == "withdrawn" or not view.findings):
            # Nobody was told of it, so there is nothing to take back; or what was found is still
            # under way, and will be told with it.
            return
        row.told, row.told_status = told, view.status
        case.save(row)
        for message in self._documents.alert(view, at_ms):
            self._publish(message)

    def _tell_ledger(
        self, case: IncidentRows, tenant_states: list[TenantState], revision: Revision
    ) -> None:
        """Tell the ledger's rows when the incident closed, was dismissed or reopened.

        The operator's dismissal is told for the whole, a tenant's for its own part.
        """
        parts = [one for one in tenant_states if not one.advisory]
        for one in parts:
            own = "dismissed" if _is_dismissed_by_itself(one) else "open"
            if own != (one.actions.case or "open"):
                one.actions.case = own
                case.save(one.actions)
                self._tell_case(case, own, revision, one.tenant)
        if not parts:
            return
        state = "open"
        if _is_dismissed(decision for decision, _ in case.core.decisions.values()):
            state = "dismissed"
        elif all(one.ended for one in parts):
            state = "closed"
        if state == case.core.case:
            return
        case.core.case = state
        case.save_core()
        self._tell_case(case, state, revision, "")

    def _tell_case(self, case: IncidentRows, state: str, revision: Revision, tenant: str) -> None:
        for key in case.keys_of(tenant):
            change = CaseState(
                key=key, incident=case.incident, state=state, revision=revision, tenant=tenant
            )
            self._publish(ledger_message(key, change))


def _is_dismissed_by_itself(part: TenantState) -> bool:
    """Tell whether a tenant dismissed its part, and nobody reopened it since.

    Decisions alone say so: what the ledger lifts because of it changes the status of the part.
    """
    own = (decision for decision, _ in part.actions.decisions.values())
    return _is_dismissed(own) and _is_dismissed(decision for decision, _ in part.decisions)


def _is_dismissed(decisions: Iterable[Decision]) -> bool:
    """Tell whether the last decision of those that open or end an incident dismisses it."""
    last = max(
        (one for one in decisions if one.decision in STATES),
        key=lambda one: (one.time, one.id),
        default=None,
    )
    return last is not None and last.decision is DecisionKind.FALSE_POSITIVE
