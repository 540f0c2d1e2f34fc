"""Writes messages: short, in plain English, without links from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agents.notification.plain_text import plain
from schemas.counting import counted
from schemas.incidents.states import Mode
from schemas.notifications import NotificationEvent
from schemas.severity import Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from schemas.notifications import NotificationThread, Proposed, Standing

TITLE: Final = 160
LINE: Final = 300
SHORT: Final = 100
LISTED: Final = 5
"""Proposals that a message lists; it counts the rest."""
_LEADS: Final = {
    NotificationEvent.REOPENED: "Reopened: ",
    NotificationEvent.CLOSED: "Closed: ",
    NotificationEvent.PROPOSED: "Decision needed: ",
    NotificationEvent.ESCALATED: "Not acknowledged: ",
}


def severity_of(thread: NotificationThread) -> Severity:
    """Return the severity of a thread; before its alert is read, that of its proposals."""
    if thread.now is not None:
        return thread.now.severity
    asks = any(proposal.mode == Mode.PROPOSAL for proposal in thread.proposals)
    return Severity.HIGH if asks else Severity.MEDIUM


def render(
    thread: NotificationThread, event: NotificationEvent, now_ms: int, link: str = ""
) -> tuple[str, str]:
    """Return the title and the body of a message.

    Args:
        thread: The state of the incident, and earlier messages.
        event: Why the message is written.
        now_ms: When it is written, milliseconds since the epoch.
        link: The address of the incident for a person; empty: none.
    """
    now = thread.now
    severity = severity_of(thread)
    what = now.title if now is not None else f"containment of incident {thread.incident}"
    title = f"[{severity.upper()}] {_LEADS.get(event, '')}{plain(what, TITLE)}"
    return title, "\n".join(_body(thread, event, now_ms, link))


def _body(
    thread: NotificationThread, event: NotificationEvent, now_ms: int, link: str
) -> Iterator[str]:
    now = thread.now
    if event is NotificationEvent.ESCALATED and thread.sent_ms is not None:
        yield f"Not acknowledged for {_length(now_ms - thread.sent_ms)}."
    if now is not None:
        yield plain(now.why, LINE)
        if thread.incident is not None:
            yield _standing(now)
        if thread.sent is not None and event is not NotificationEvent.ESCALATED:
            changes = list(_changes(thread.sent, now))
            if changes:
                yield f"Changed: {'; '.join(changes)}."
    yield from _proposals(thread)
    if now is not None and now.next_action:
        yield f"Next: {plain(now.next_action, LINE)}"
    if thread.incident is not None and thread.tenant is not None and not thread.folded:
        incident = plain(thread.incident, SHORT)
        yield f"Incident {incident} of tenant {plain(thread.tenant, SHORT)}."
        yield f"Details: {link or f'tidewatch incidents show {incident}'}"
    elif thread.tenant is not None:
        yield f"Tenant {plain(thread.tenant, SHORT)}."


def _standing(now: Standing) -> str:
    parts = [f"Status {plain(now.status, SHORT)}"]
    if now.score is not None:
        parts.append(f"score {now.score} of 100")
    if now.systems:
        parts.append(f"{counted(now.systems, 'system or component', 'systems or components')}")
    parts.append(f"assigned to {plain(now.assignee, SHORT)}" if now.assignee else "unassigned")
    return f"{', '.join(parts)}."


def _changes(sent: Standing, now: Standing) -> Iterator[str]:
    if sent.severity is not now.severity:
        yield f"severity from {sent.severity} to {now.severity}"
    if sent.status != now.status:
        yield f"status from {plain(sent.status, SHORT)} to {plain(now.status, SHORT)}"
    if sent.systems != now.systems:
        yield f"systems or components from {sent.systems} to {now.systems}"
    if sent.assignee != now.assignee:
        yield f"assigned to {plain(now.assignee, SHORT)}" if now.assignee else "no longer assigned"
    if sent.title != now.title or sent.why != now.why:
        yield "what was found"


def _proposals(thread: NotificationThread) -> Iterator[str]:
    listed = thread.proposals[:LISTED]
    rest = len(thread.proposals) - len(listed) + thread.more_proposals
    for proposal in listed:
        action, target = plain(proposal.action, SHORT), plain(proposal.target, SHORT)
        yield f"{_asks(proposal)}: {action} {target}{_until(proposal)}"
    if rest:
        yield f"and {counted(rest, 'further proposal')}"


def _asks(proposal: Proposed) -> str:
    return "Approval needed" if proposal.mode == Mode.PROPOSAL else "Advised"


def _until(proposal: Proposed) -> str:
    return f" (until {proposal.expires:%Y-%m-%d %H:%M} UTC)" if proposal.expires is not None else ""


def _length(milliseconds: int) -> str:
    minutes = max(0, milliseconds) // 60_000
    if minutes < 1:
        return counted(max(0, milliseconds) // 1000, "second")
    if minutes < 120:  # noqa: PLR2004 -- two hours
        return counted(minutes, "minute")
    return counted(minutes // 60, "hour")
