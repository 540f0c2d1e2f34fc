"""The incidents of a partition, batch by batch: reduce, decide, render, publish what matters.

Over 500 lines, since the steps of a batch share its rows, parts and plans.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from agents.domain.knowledge import Knowledge
from agents.domain.organisations import Register
from agents.messages import INCIDENTS, operator_message
from agents.ports import Delivery, Message, Publish, Rows
from agents.triage.correlation import PRIVATE_TENANTS
from agents.triage.incidents import exposures, known_good, reducers
from agents.triage.incidents.adoption import adopt, known_answers
from agents.triage.incidents.command_deadlines import next_due, on_time
from agents.triage.incidents.commands import planned, update_commands
from agents.triage.incidents.deadlines import Deadlines
from agents.triage.incidents.document import LISTED_TENANTS, incident_document
from agents.triage.incidents.documents import Documents
from agents.triage.incidents.escalation import escalation_alert
from agents.triage.incidents.hold_batch import HoldBatch
from agents.triage.incidents.hold_notices import on_notice
from agents.triage.incidents.hold_reasons import leave_holds
from agents.triage.incidents.incident_rows import IncidentRows
from agents.triage.incidents.ledger_notices import ledger_notices
from agents.triage.incidents.revocations import note_published, with_generations
from agents.triage.incidents.tenant_state import (
    TenantState,
    contained,
    known_counts,
    knows_popular,
    tenant_state_of,
)
from agents.triage.incidents.views import activities, alert_view, significance
from agents.triage.ledger.rows import to_ms
from agents.triage.routing import incident_message
from agents.triage.store import Store
from schemas.canonical import stable_id
from schemas.channels import Channel
from schemas.decisions import Decision
from schemas.incidents.commands import CommandSpec
from schemas.incidents.holds import HoldNotice, HoldReason, Suspicion, hold_key
from schemas.incidents.states import IncidentStatus
from schemas.incidents.updates import (
    CAMPAIGN,
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
from schemas.ledger import OperatorAlert, Revision, Tick
from schemas.sharing import may_be_shared, shared_indicators

IncidentInput = IncidentMessage | Decision
_ENDED: Final = frozenset(status for status in IncidentStatus if status.ended)


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
            k: The smallest count of tenants that a tenant may read.
            register: The organisations of tenants; None: each tenant is one.
        """
        self._k = k
        self._register = register
        self._knowledge = knowledge
        self._documents = documents

    def process(
        self, deliveries: Iterable[Delivery[IncidentInput]], publish: Publish, rows: Rows
    ) -> None:
        """Apply a batch to the incidents' rows and publish the results.

        Args:
            deliveries: Records of a partition of `incident-updates` and `decisions`.
            publish: Publishes messages.
            rows: The partition's rows.
        """
        batch = _IncidentBatch(
            self._knowledge, self._documents, publish, rows, k=self._k, register=self._register
        )
        for delivery in deliveries:
            batch.take(delivery)
        batch.finish()


class _IncidentBatch:
    """One batch: the incidents it touches, and the results."""

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
        self._parts: dict[tuple[str, str], tuple[tuple[int, int, int], int, TenantState]] = {}
        """By incident and tenant: the rows' version and the time that a part was computed at."""
        self._rendered: dict[tuple[str, str], tuple[TenantState, tuple[CommandSpec, ...]]] = {}
        """By incident and tenant: the part, and its plan, whose alert was last examined."""
        self._touched: dict[str, dict[str, None]] = {}
        self._whole: set[str] = set()
        self._pending: dict[str, set[str]] = {}
        """Parts whose commands were not examined since a record was reduced into them."""
        self._at: dict[str, Revision] = {}
        self._entered: dict[str, int] = {}
        """When the first of the events that led to the batch entered Kafka, by incident."""
        self._deadlines = Deadlines(self.store)
        self._holds = HoldBatch(self.store, documents, publish, self._operator)

    def case(self, incident: str) -> IncidentRows:
        if incident not in self._cases:
            self._cases[incident] = IncidentRows(self.store, incident, self._k, self._register)
        return self._cases[incident]

    def take(self, delivery: Delivery[IncidentInput]) -> None:
        """Reduce one message."""
        record, message = delivery.record, delivery.value
        for incident in self._deadlines.to_adopt():
            self._adopt_all(self.case(incident), record.timestamp_ms)
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
        at_ms = record.timestamp_ms
        case.count_record(at_ms)
        if isinstance(message, HoldNotice):
            self._advance(case, at_ms)
            if not on_notice(case, message):
                self._deadlines.seen(case, at_ms)
                return
        self._at[case.incident] = max(
            self._at.get(case.incident, (0, 0)), (record.timestamp_ms, record.offset)
        )
        touched = self._touched.setdefault(case.incident, {})
        if record.entered_ms and not isinstance(
            message, Decision | DecisionUpdate | ResultUpdate | HoldNotice
        ):
            self._entered[case.incident] = min(
                record.entered_ms, self._entered.get(case.incident, record.entered_ms)
            )
        if isinstance(message, Decision | DecisionUpdate | Withdrawal) or _turns_popular(
            case, message
        ):
            # Earlier records are acted upon first: the outcome must not depend on whether the
            # records were read in one batch or in two.
            self._advance(case, at_ms)
        self._reduce(case, message, at_ms, touched)
        self._publish_turns(case, message, at_ms)

    def _reduce(
        self,
        case: IncidentRows,
        message: IncidentInput,
        at_ms: int,
        touched: dict[str, None],
    ) -> None:
        """Reduce a message into the incident's rows, and note the tenants it touches."""
        match message:
            case FindingUpdate():
                reducers.on_finding(case, message, at_ms)
                touched[message.finding.tenant] = None
                self._pending.setdefault(case.incident, set()).add(message.finding.tenant)
            case Exposure():
                exposures.on_exposure(case, message, at_ms)
                touched[message.tenant] = None
                self._pending.setdefault(case.incident, set()).add(message.tenant)
            case KnownGood():
                known_good.on_known_good(case, message)
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
                touched[message.tenant] = None
                self._pending.setdefault(case.incident, set()).add(message.tenant)
            case DecisionUpdate():
                self._decide(case, message.decision, at_ms)
            case Decision():
                self._decide(case, message, at_ms)
            case ForgedResult():
                self._forged(message)

    def _publish_turns(self, case: IncidentRows, message: IncidentInput, at_ms: int) -> None:
        """Publish at once that an alert opens, closes or reopens.

        The records that create and close an alert, and their ids, must not depend on how records
        are cut into batches: after a crash the batches may differ.
        """
        if not case.exists():
            return
        self._publish.caused_by(self._entered.get(case.incident, 0))
        for tenant in _tenants_of(case, message):
            row = case.actions(tenant)
            if _may_open(message) if not row.published else _may_end(message):
                part = self._part(case, tenant)
                if not row.published or part.ended != (row.published_status in _ENDED):
                    self._publish_alert(case, part, at_ms)
        self._publish.caused_by(0)

    def _adopt_all(self, case: IncidentRows, at_ms: int) -> None:
        """Move commands from before holds were kept into their holds, with their answers."""
        for tenant in case.tenants():
            adopted = adopt(case.actions(tenant))
            if not adopted:
                continue
            case.count_record(at_ms)
            case.save(case.actions(tenant))
            self._update_commands(case, self._part(case, tenant), at_ms)
            for result in known_answers(tenant, adopted):
                self._publish(incident_message(hold_key(tenant, result.hold), result))

    def _answered(self, case: IncidentRows, result: ResultUpdate) -> None:
        hold = reducers.hold_of(case, result)
        if hold is not None:
            # The responder's answer doesn't name the hold that issued the command.
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
        """Issue, approve and release what is due in the parts touched since the last time."""
        tenants = self._pending.pop(case.incident, set())
        for tenant in sorted(tenants & set(case.tenants())):
            self._update_commands(case, self._part(case, tenant), at_ms)

    def _update_commands(self, case: IncidentRows, part: TenantState, at_ms: int) -> bool:
        return update_commands(
            case,
            part,
            at_ms,
            lambda spec, proposal: self._command(spec, at_ms, proposal=proposal),
            self._ask,
        )

    def _ask(self, key: str, message: HoldReason | Suspicion) -> None:
        self._publish(incident_message(key, message))

    def _relate(self, case: IncidentRows, link: Related) -> None:
        before = case.core.campaign
        reducers.on_related(case, link)
        if link.tenant is not None:
            self._touched[case.incident][link.tenant] = None
        if case.core.campaign and (case.core.campaign != before or link.via != CAMPAIGN):
            for other, _, _ in case.core.related.values():
                if other != case.core.campaign:
                    self._notify_campaign(other, case.core.campaign)

    def _notify_campaign(self, incident: str, campaign: str) -> None:
        link = Related(incident=incident, other=campaign, via=CAMPAIGN)
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
        if not self._deadlines.advance(now_ms):
            return
        self._holds.tick(now_ms)
        for key, waiting in self._deadlines.due():
            case = self.case(waiting.incident)
            if not case.exists():
                self.store.delete(key)
                continue
            case.count_record(now_ms)
            part = self._part(case, waiting.tenant)
            changed = on_time(
                part,
                now_ms,
                lambda spec, proposal: self._command(spec, now_ms, proposal=proposal),
                lambda spec, why: self._escalate(spec, why, now_ms),
            )
            if changed:
                case.save(part.actions)
            changed = self._update_commands(case, part, now_ms) or changed
            if changed or part.status != part.actions.published_status:
                self._touched.setdefault(case.incident, {})[waiting.tenant] = None
                self._at.setdefault(case.incident, (now_ms, 0))
            self._wait(case, part)
        for incident in self._deadlines.to_look_at():
            self._forget(self.case(incident))

    def _wait(self, case: IncidentRows, part: TenantState) -> None:
        self._deadlines.wait(case.incident, part.tenant, next_due(part, self._deadlines.now_ms))

    def _forget(self, case: IncidentRows) -> None:
        """Forget an ended incident, `KEEP_DAYS` after the last record about it."""
        if self._deadlines.postpone(case):
            return
        for tenant in case.tenants():
            leave_holds(case, self._part(case, tenant), self._ask)
            self._parts.pop((case.incident, tenant), None)
        self._deadlines.forget(case.incident)
        self._cases.pop(case.incident, None)
        self._touched.pop(case.incident, None)
        self._publish(Message(channel=Channel.INCIDENTS, key=case.incident, value=None))

    def _escalate(self, spec: CommandSpec, why: str, now_ms: int) -> None:
        self._operator(escalation_alert(spec, why, now_ms))

    def _command(self, spec: CommandSpec, at_ms: int, *, proposal: bool) -> None:
        for message in self._documents.command(spec, at_ms, proposal=proposal):
            self._publish(message)

    # -- what follows ------------------------------------------------------------------------------

    def _part(self, case: IncidentRows, tenant: str) -> TenantState:
        """Return the state of a tenant's part, computed once per revision of its rows."""
        policy, now_ms = self._knowledge.policy(tenant), self._deadlines.now_ms
        known = self._parts.get((case.incident, tenant))
        version = case.version(tenant)
        same = None
        if known is not None and known[0][:2] == version[:2] and known[2].policy == policy:
            same = known[2]
            if known[:2] == (version, now_ms):
                return same
        part = tenant_state_of(case, tenant, policy, now_ms, same)
        self._parts[case.incident, tenant] = (version, now_ms, part)
        return part

    def finish(self) -> None:
        """Decide on and render the touched incidents, then write the rows."""
        for incident, touched in self._touched.items():
            case = self._cases[incident]
            if case.exists():
                self._publish.caused_by(self._entered.get(incident, 0))
                self._settle(case, touched)
        self._publish.caused_by(0)
        self._holds.finish()
        for case in self._cases.values():
            case.flush()
        self.store.flush()

    def _settle(self, case: IncidentRows, touched: Iterable[str]) -> None:
        at_ms, offset = self._at[case.incident]
        self._deadlines.seen(case, at_ms)
        everyone = case.tenants()
        if not everyone:
            return  # only tenants that suppress the finding are part of it so far
        # Every tenant reads that the threshold was reached.
        common = stable_id("common", *(str(count) for count in sorted(known_counts(case))))
        if common != case.core.common:
            case.core.common = common
            case.note_core()
            self._whole.add(case.incident)
        chosen = everyone if case.incident in self._whole else sorted(set(touched) & set(everyone))
        for tenant in chosen:
            self._settle_tenant(case, tenant, at_ms)
        parts = [self._part(case, tenant) for tenant in everyone[:LISTED_TENANTS]]
        document = with_generations(case, incident_document(case, parts))
        content = significance(document)
        if content != case.core.published:
            case.core.published = content
            # It is shared with partners if it holds anything they may read.
            if may_be_shared(document, self._k) and shared_indicators(document, self._k):
                case.core.shared = True
            note_published(case, document)
            case.note_core()
            for message in self._documents.incident(document, at_ms):
                self._publish(message)
        for message in ledger_notices(case, parts, (at_ms, offset)):
            self._publish(message)
        for part in sorted(case.reached):
            self._operator(
                OperatorAlert(
                    id=stable_id("opa", "bound", case.incident, part),
                    kind="bound-reached",
                    subject=case.incident,
                    detail=f"{part} of one incident: not all are kept",
                    runbook="The topics hold everything; look there for what is left out.",
                )
            )
        case.reached.clear()

    def _settle_tenant(self, case: IncidentRows, tenant: str, at_ms: int) -> None:
        part = self._part(case, tenant)
        self._update_commands(case, part, at_ms)
        row = part.actions
        if not row.contained_ms and contained(part):
            row.contained_ms = at_ms
            case.note_actions(row)
        part = self._part(case, tenant)
        self._wait(case, part)
        self._publish_alert(case, part, at_ms)

    def _publish_alert(self, case: IncidentRows, part: TenantState, at_ms: int) -> None:
        """Publish the alert of a tenant's part, if it says anything new."""
        row = part.actions
        rendered = (part, planned(case, part))
        known = self._rendered.get((case.incident, part.tenant))
        if known is not None and known[0] is part and known[1] is rendered[1]:
            return
        self._rendered[case.incident, part.tenant] = rendered
        view = alert_view(case, part)
        content = significance(view)
        if content == row.published or (
            view.status is IncidentStatus.SUPPRESSED
            and row.published_status == IncidentStatus.SUPPRESSED
        ):
            return
        if not row.published and (view.status is IncidentStatus.WITHDRAWN or not view.findings):
            # No alert was published, so there is none to close; or the finding is still in flight,
            # and its alert names the system as well.
            return
        for activity in activities(row, view.status):
            record = msgspec.structs.replace(view, activity=activity)
            for message in self._documents.alert(record, at_ms):
                self._publish(message)
        row.published, row.published_status = content, view.status
        case.note_actions(row)


def _tenants_of(case: IncidentRows, message: IncidentInput) -> Iterable[str]:
    """Return the tenants of the incident whose parts a message changes."""
    match message:
        case FindingUpdate():
            named: Iterable[str] = (message.finding.tenant,)
        case Decision(tenant=None) | DecisionUpdate(decision=Decision(tenant=None)):
            return case.tenants()
        case Decision(tenant=str(tenant)) | DecisionUpdate(decision=Decision(tenant=str(tenant))):
            named = (tenant,)
        case Exposure() | Withdrawal() | Proof() | KnownGood() | HoldNotice() | ResultUpdate():
            named = (message.tenant,)
        case _:
            return ()
    return set(named) & set(case.core.tenants.values())


def _turns_popular(case: IncidentRows, message: IncidentInput) -> bool:
    """Return whether a message is the first to report to a part that the bytes are popular.

    From then on a scan alone only proposes; commands issued before stay in force.
    """
    match message:
        case FindingUpdate(popular=True):
            tenant = message.finding.tenant
        case Exposure(popular=True):
            tenant = message.tenant
        case _:
            return False
    return not knows_popular(case, tenant)


def _may_open(message: IncidentInput) -> bool:
    """Return whether a message may be a tenant's first: whether it brings a finding."""
    return isinstance(message, FindingUpdate) or (
        isinstance(message, Exposure) and message.active and message.found is not None
    )


def _may_end(message: IncidentInput) -> bool:
    """Return whether a message may end a part or reopen it: whether it brings no finding."""
    if isinstance(message, Exposure):
        return not message.active
    return not isinstance(message, FindingUpdate)
