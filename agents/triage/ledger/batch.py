"""One batch of the ledger: its typed rows and its outgoing messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final, NamedTuple

import msgspec

from agents.domain.basis import is_known_malicious
from agents.domain.organisations import Register
from agents.domain.rules import Rule
from agents.messages import LEDGER, RECORD_ALONE, assessment_message, operator_message
from agents.ports import Message, Publish, Rows
from agents.triage.bounded_sets import clip, keyed_order
from agents.triage.correlation import PRIVATE_TENANTS
from agents.triage.ledger.rows import COMPONENT, NAME_BYTES, ComponentRow
from agents.triage.routing import (
    finding_keys,
    finding_messages,
    incident_id,
    incident_message,
    incident_root,
    ledger_message,
)
from agents.triage.store import Store, row_key
from schemas.assessments import Assessment, AssessmentStage, Check
from schemas.canonical import canonical_json, stable_id
from schemas.components import ComponentKind
from schemas.findings import Finding, Indicator, IndicatorType, SupplyChainIoC
from schemas.incidents.updates import IncidentMessage, Withdrawal
from schemas.ledger import FindingSeen, LedgerMessage, OperatorAlert, Revision
from schemas.severity import Disposition, Severity, Status

NEVER: Final[Revision] = (0, 0)
POPULAR_HOLDERS: Final = 10
"""The default number of holding organisations beyond which a component is popular."""


Trusts = Callable[[str], bool]
"""Returns whether a trust root is in force, by its id."""


RenderIndicator = Callable[[SupplyChainIoC], Iterable[Message]]


def trust_all(root: str) -> bool:
    """Return that a trust root is in force, where none can be removed."""
    return bool(root)


class LedgerOptions(NamedTuple):
    """The operator's options of the ledger."""

    k: int = PRIVATE_TENANTS
    """The smallest count of organisations that a tenant may read."""
    popular_holders: int = POPULAR_HOLDERS
    """A component with more holders is not contained on a scan alone."""
    register: Register = Register()
    """The organisations of tenants; an empty one makes each tenant its own."""
    secret: bytes = b""
    """Keys the choice in full sets, so that no tenant can aim at what is dropped."""
    trusts: Trusts = trust_all
    """Returns whether a trust root is in force, by its id."""
    indicators: RenderIndicator = RECORD_ALONE
    """Renders an indicator."""


DEFAULT_OPTIONS: Final = LedgerOptions()


class LedgerBatch:
    """Rows and outgoing messages of one batch."""

    def __init__(
        self, rows: Rows, publish: Publish, options: LedgerOptions = DEFAULT_OPTIONS
    ) -> None:
        """Start a batch on the rows of a partition."""
        self.trusts = options.trusts
        self._indicators = options.indicators
        self._secret = options.secret
        self.register = options.register
        self.k = options.k
        self.popular_holders = options.popular_holders
        self.store = Store(rows)
        self._publish = publish
        self._reported: set[str] = set()
        self.baseline = False
        """Whether the message being processed is part of a baseline."""

    def order(self, rank: str) -> str:
        """Return the sort key of a rank in a full set that tenants share."""
        return keyed_order(self._secret, rank)

    def owner(self, tenant: str) -> str:
        """Return the owner of a tenant's share of a shared set.

        Each organisation has a share; unregistered tenants have one together.
        """
        return self.register.counted(tenant) or ""

    def component_row(self, component: str) -> ComponentRow:
        """Return the row of a component, a new one if there is none."""
        return self.store.load(row_key(COMPONENT, component), ComponentRow) or ComponentRow()

    def send_to_ledger(self, key: str, message: LedgerMessage) -> None:
        """Send a message to the rows of another component."""
        self._publish(ledger_message(key, message))

    def send_to_incident(self, incident: str, message: IncidentMessage) -> None:
        """Send a message to an incident."""
        self._publish(incident_message(incident, message))

    def found(self, finding: Finding, revision: Revision = NEVER) -> None:
        """Send a finding of the ledger's own to the ledger and to its incident.

        Of a baseline, only what is known to be malicious is sent: drift needs an observed past.
        """
        if self.baseline and not is_known_malicious(finding):
            return
        for message in finding_messages(finding, revision):
            self._publish(message)

    def report(self, finding: Finding, rule: Rule, revision: Revision) -> None:
        """Send a finding of the ledger with its baseline assessment."""
        self.found(finding, revision)
        self.assess(finding, rule)

    def take_back(self, finding: Finding, revision: Revision, reason: str, at: datetime) -> None:
        """Withdraw a finding of the ledger's own, wherever it was filed.

        Args:
            finding: As it was reported.
            revision: Later than the one it was reported with.
            reason: Why it no longer holds.
            at: When it ceased to hold.
        """
        incident = incident_id(incident_root(finding))
        self.send_to_incident(
            incident,
            Withdrawal(
                incident=incident,
                tenant=finding.tenant,
                finding=finding.id,
                reason=reason,
                at=at,
                revision=revision,
            ),
        )
        for key in finding_keys(finding):
            self.send_to_ledger(
                key,
                FindingSeen(
                    key=key, incident=incident, finding=finding, revision=revision, active=False
                ),
            )

    def assess(self, finding: Finding, rule: Rule) -> None:
        """Publish the baseline assessment of a finding of the ledger, if it is to be reported."""
        if self.baseline and not is_known_malicious(finding):
            return
        status = {Severity.HIGH: Status.FAIL, Severity.CRITICAL: Status.FAIL}.get(
            finding.severity, Status.WARN
        )
        if finding.severity is Severity.INFORMATIONAL:
            status = Status.PASS
        assessment = Assessment(
            id=stable_id("asm", finding.tenant, "baseline", finding.id),
            event_id=finding.event_id,
            tenant=finding.tenant,
            subject=finding.component,
            overall_status=status,
            checks=(
                Check(
                    name=rule.id,
                    status=status,
                    expected=finding.evidence.get("was"),
                    actual=finding.evidence.get("is"),
                    detail=rule.title,
                ),
            ),
            stage=AssessmentStage.BASELINE,
            source=finding.source,
            findings=(finding.id,),
            severity=finding.severity,
        )
        self._publish(assessment_message(assessment, finding.occurred_at, LEDGER))

    def indicator(self, ioc: SupplyChainIoC) -> None:
        """Publish an indicator record, and its siblings."""
        for message in self._indicators(ioc):
            self._publish(message)

    def send_to_operator(self, alert: OperatorAlert) -> None:
        """Publish an operator alert, at most once per batch."""
        if alert.id in self._reported:
            return
        self._reported.add(alert.id)
        self._publish(operator_message(alert, LEDGER))

    def bound_reached(self, what: str, subject: str, limit: int) -> None:
        """Report to the operator that a bound was reached; repetitions have the same id."""
        self.send_to_operator(
            OperatorAlert(
                id=stable_id("opa", "bound", what, subject),
                kind="bound-reached",
                subject=clip(subject, NAME_BYTES),
                detail=f"{what}: more than {limit}; the rest is estimated, not listed",
                figures={"limit": float(limit)},
                runbook="The topics hold everything; look there for what the row leaves out.",
            )
        )


_TYPES: Final = {
    "sha256": IndicatorType.FILE_DIGEST,
    "pypi": IndicatorType.PACKAGE_VERSION,
    "model": IndicatorType.MODEL_REVISION,
    "dataset": IndicatorType.DATASET,
    "domain": IndicatorType.DOMAIN,
    "publisher": IndicatorType.PUBLISHER,
    "pipeline": IndicatorType.CONFIG,
}


def indicator_of(
    key: str, version: str | None = None, disposition: Disposition = Disposition.DETECT
) -> Indicator:
    """Return the indicator of a component key, with the version if given."""
    prefix, _, name = key.partition(":")
    full = f"{key}@{version}" if version is not None and prefix != ComponentKind.SHA256 else key
    value = full.partition(":")[2] if prefix != ComponentKind.SHA256 else name
    return Indicator(
        key=full,
        type=_TYPES.get(prefix, IndicatorType.COMPONENT),
        value=value,
        disposition=disposition,
    )


def state_of(count: int) -> Revision:
    """Return the revision of a finding that the ledger repeats as more of its kind occur."""
    return (0, count)


def supersedes(new: Finding, revision: Revision, old: Finding, known: Revision) -> bool:
    """Return whether a finding represents its group instead of the current one.

    The worst wins, then the latest state of a fact, then the earliest event, so that the order of
    arrival does not matter and a repetition does not displace an earlier report. All reports of one
    finding come from one row, in order: there the last wins. Between findings that the ledger
    counts, the count only says when each was made.
    """
    counted = revision[0] == known[0] == 0 and revision[1]
    if new.id == old.id and (counted or _rests_on_roots(new) or _rests_on_roots(old)):
        return revision >= known
    order, other = (
        (
            -finding.severity.rank,
            -finding.confidence,
            (-state[0], -state[1] if state[0] else 0),
            finding.occurred_at,
            finding.event_id,
            finding.id,
        )
        for finding, state in ((new, revision), (old, known))
    )
    return order < other or (order == other and content_hash(new) < content_hash(old))


def _rests_on_roots(finding: Finding) -> bool:
    return finding.basis is not None and bool(finding.basis.roots)


def content_hash(document: msgspec.Struct) -> str:
    """Return an id of a document's content: equal content, equal id."""
    return stable_id("doc", canonical_json(msgspec.to_builtins(document)).decode())
