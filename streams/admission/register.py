"""The state of each content: results of its tenant's scans, holds, and intelligence."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

import msgspec

from agents.checks.provenance.contents import MANIFEST
from schemas.assessments import Assessment
from schemas.incidents.holds import HoldState, HoldView
from schemas.incidents.states import Action
from schemas.severity import Severity, Status
from streams import metrics
from streams.gates import FINDINGS, NOT_DONE, Assessed, verdict

_HOLDS: Final = msgspec.json.Decoder(HoldView)

PER_TENANT: Final = 100_000
"""Contents of a tenant that are kept, of those without findings; as many of those with."""
PER_CONTENT: Final = 16
"""Events of one content that are distinguished."""
SHOWN: Final = 300
STOPPING: Final = frozenset({Action.QUARANTINE, Action.ROLLBACK, Action.BLOCK})
"""Actions that keep a component from being used."""


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a scan of a content."""

    code: int
    """The verdict as a gate's exit code: 0, findings, or not completed."""
    signed: bool
    why: str


_Shelf = OrderedDict[str, dict[str, Judged]]
"""Judgements by content and then by event; the content that was judged last is last."""


class AssessedContents:
    """The contents that were assessed, by tenant."""

    def __init__(self, tenants: Iterable[str], fail_on: Severity) -> None:
        """Begin without any.

        Args:
            tenants: The tenants whose assessments count.
            fail_on: The least severe finding that refuses.
        """
        self._fail_on = fail_on
        self._fine: dict[str, _Shelf] = {tenant: OrderedDict() for tenant in tenants}
        self._bad: dict[str, _Shelf] = {tenant: OrderedDict() for tenant in self._fine}

    def take(self, assessment: Assessment) -> None:
        """Take an assessment; of the same event the last one counts."""
        if assessment.tenant not in self._fine or not assessment.contents:
            return
        judged = self._judged(assessment)
        event = f"{assessment.source}\n{assessment.event_id}"
        for content in assessment.contents:
            self._put(assessment.tenant, content, event, judged)

    def known(self, tenant: str, content: str) -> tuple[Judged, ...]:
        """Return the results of a tenant's scans of a content, none if it was not read."""
        if tenant not in self._fine:
            return ()
        found = self._bad[tenant].get(content) or self._fine[tenant].get(content) or {}
        return tuple(found.values())

    def _judged(self, assessment: Assessment) -> Judged:
        code = verdict(Assessed(stages={assessment.stage: assessment}, newest=0), self._fail_on)
        worst = [check for check in assessment.checks if check.status is assessment.overall_status]
        parts = [f"{check.name}: {check.detail or check.status}" for check in worst[:3]]
        severity = f"{assessment.severity} finding; " if assessment.severity else ""
        return Judged(
            code=code,
            signed=any(
                check.name.startswith("signature") and check.status is Status.PASS
                for check in assessment.checks
            ),
            why=f"event {assessment.event_id}: {severity}{'; '.join(parts)}"[:SHOWN]
            if code
            else f"event {assessment.event_id}"[:SHOWN],
        )

    def _put(self, tenant: str, content: str, event: str, judged: Judged) -> None:
        fine, bad = self._fine[tenant], self._bad[tenant]
        events = bad.pop(content, None) or fine.pop(content, None) or {}
        events.pop(event, None)
        events[event] = judged
        if len(events) > PER_CONTENT:
            # bad contents are evicted last
            oldest = next(
                (name for name, judgement in events.items() if judgement.code != FINDINGS), None
            )
            del events[oldest if oldest is not None else next(iter(events))]
        shelf = bad if any(judgement.code == FINDINGS for judgement in events.values()) else fine
        shelf[content] = events
        if len(shelf) > PER_TENANT:
            shelf.popitem(last=False)
            metrics.EVICTIONS.labels("admission-contents").inc()


class ContainedComponents:
    """Contained components by tenant, which are not admitted."""

    def __init__(self, tenants: Iterable[str]) -> None:
        """Begin with nothing."""
        self._tenants = frozenset(tenants)
        self._by_key: dict[str, tuple[str, ...]] = {}
        self._count: dict[tuple[str, str], int] = {}

    def set(self, key: str, value: bytes | None) -> None:
        """Take the record of a hold; None ends it. One that can't be read ends nothing."""
        try:
            view = None if value is None else _HOLDS.decode(value)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return
        tenant = key.partition("|")[0] if view is None else view.tenant
        if tenant not in self._tenants:
            return
        for content in self._by_key.pop(key, ()):
            self._count[tenant, content] -= 1
            if not self._count[tenant, content]:
                del self._count[tenant, content]
        contents = _held_contents(view) if view is not None else ()
        if contents:
            self._by_key[key] = contents
        for content in contents:
            self._count[tenant, content] = self._count.get((tenant, content), 0) + 1

    def holds(self, tenant: str, content: str) -> bool:
        """Return whether a tenant contains a content."""
        return (tenant, content) in self._count


_HUB_KEY: Final = "model:huggingface/"


def _held_contents(view: HoldView) -> tuple[str, ...]:
    found: list[str] = []
    for thing in view.things:
        spec = thing.command
        if (
            thing.state is not HoldState.HELD
            or thing.action not in STOPPING
            or spec is None
            or spec.dry_run
        ):
            continue
        if spec.digest:
            found.append(f"{MANIFEST}{spec.digest}")
        version = (spec.version or "").removeprefix("sha256:")
        if version != (spec.version or ""):
            found.append(f"{MANIFEST}{version}")
        elif version and view.component.startswith(_HUB_KEY):
            found.append(f"hf://{view.component.removeprefix(_HUB_KEY)}@{version}")
    return tuple(dict.fromkeys(found))


__all__ = ["FINDINGS", "NOT_DONE", "AssessedContents", "ContainedComponents", "Judged"]
