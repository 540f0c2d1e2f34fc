"""Writes an incident as plain text for a terminal: 80 columns are enough."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from schemas.counting import counted
from schemas.incidents.states import TaskState
from schemas.incidents.views import IncidentDocument
from streams.cli.output import plain
from streams.reports.incident_words import (
    Defanging,
    assignees,
    duration,
    farthest,
    how_far,
    moment,
    next_steps,
    summary,
    systems_of,
    where,
)

SHOWN: Final = 15
"""Most findings, systems, commands and tasks that are listed each; the report has all."""
KEPT: Final = 400
"""Most characters of a text from an event."""
_Shown = Callable[[object], str]
"""Returns a text on one line, defanged and without control characters."""


def incident_text(incident: IncidentDocument, columns: int = 80) -> Iterator[str]:
    """Yield the lines of an incident, none wider than `columns`.

    Args:
        incident: The operator's record: it names tenants.
        columns: How wide the terminal is.
    """
    for line in _lines(incident):
        yield from _fitted(line, columns)


def _fitted(line: str, columns: int) -> Iterator[str]:
    """Yield a line wrapped below its start; what follows a tab begins in one column."""
    text = line.lstrip(" ")
    indent = len(line) - len(text)
    head, mark, rest = text.partition("\t")
    start = " " * indent + head
    if mark:
        start = start.ljust(indent + 12)
    wrapped = textwrap.wrap(
        rest if mark else text,
        max(columns, 40),
        initial_indent=start if mark else " " * indent,
        subsequent_indent=" " * (indent + 12 if mark else indent + 2),
        break_on_hyphens=False,
    )
    yield from wrapped or [start.rstrip()]


def _lines(incident: IncidentDocument) -> Iterator[str]:
    defanged = Defanging(incident)

    def shown(text: object) -> str:
        return " ".join(defanged(plain(str(text), KEPT)).split())

    sentences = summary(incident)
    yield from _head(incident, shown)
    yield ""
    for text in (sentences.happened, sentences.to_whom, sentences.known, sentences.done):
        yield shown(text)
    yield ""
    yield from _findings(incident, shown)
    yield ""
    yield from _scope(incident, shown)
    yield ""
    yield from _commands(incident, shown)
    if incident.tasks:
        yield ""
        yield from _tasks(incident, shown)
    yield ""
    yield "Score, term by term"
    for term in incident.score.terms:
        yield f"  {shown(term.name):<15} {term.points:>5.1f}  {shown(term.why)}"
    if incident.truncated:
        yield ""
        yield f"Truncated: {', '.join(incident.truncated)} reached a limit."
    yield ""
    yield f"Next: {shown(sentences.now)}"
    for step in next_steps(incident):
        yield f"  {shown(step.text)}"
        if step.command:
            yield f"      {shown(step.command)}"
    yield "  Write the full report"
    yield f"      tidewatch incidents report {shown(incident.id[:16])}"


def _head(incident: IncidentDocument, shown: _Shown) -> Iterator[str]:
    yield shown(incident.title)
    yield ""
    yield f"  incident\t{shown(incident.id)}"
    yield f"  severity\t{incident.score.band}, {incident.score.value} of 100"
    who = shown(assignees(incident))
    yield f"  status\t{incident.status}, phase {incident.phase}, {who}"
    yield f"  seen\t{moment(incident.first_seen)}"
    if incident.processing.detected_at is not None:
        yield f"  detected\t{moment(incident.processing.detected_at)}"
    yield f"  contained\t{_contained(incident)}"
    yield f"  spread\t{shown(incident.pattern_why)}"
    if incident.related:
        yield f"  related\t{shown(', '.join(incident.related[:SHOWN]))}"
    yield "  root"
    yield f"      {shown(incident.root)}"


def _findings(incident: IncidentDocument, shown: _Shown) -> Iterator[str]:
    yield f"Found: {counted(len(incident.findings), 'finding')}"
    for finding in incident.findings[:SHOWN]:
        note = "" if finding.active else ", withdrawn"
        note += ", advice only" if finding.advice else ""
        yield f"  {finding.severity} {finding.confidence:.2f}  {shown(finding.rule_id)}{note}"
        yield f"      {shown(finding.description)}"
        yield f"      {shown(finding.component)}"
        if place := where(finding):
            yield f"      {shown(place)}"
        if finding.known_by:
            yield f"      known by {shown(finding.known_by)}"
    yield from _rest(len(incident.findings))


def _scope(incident: IncidentDocument, shown: _Shown) -> Iterator[str]:
    systems = systems_of(incident)
    yield (
        f"Scope: {counted(incident.system_count, 'system')} of "
        f"{counted(incident.tenant_count, 'tenant')}"
    )
    for (tenant, name), views in list(systems.items())[:SHOWN]:
        since = min(view.since for view in views)
        yield f"  {shown(f'{tenant} / {name}')}  {farthest(views)} since {since:%Y-%m-%d %H:%M}"
        for component in dict.fromkeys(view.component for view in views):
            yield f"      {shown(component)}"
    yield from _rest(len(systems))


def _commands(incident: IncidentDocument, shown: _Shown) -> Iterator[str]:
    yield f"Containment: {counted(len(incident.commands), 'command')}"
    for number, view in enumerate(incident.commands[:SHOWN], 1):
        spec = view.spec
        answer = f": {view.status_text}" if view.status_text else ""
        yield f"  {number:>2}  {spec.action}, {how_far(view)}, {shown(spec.tenant)}{shown(answer)}"
        yield f"      {shown(spec.target)}"
        yield f"      {shown(spec.command_id)}"
    yield from _rest(len(incident.commands))


def _tasks(incident: IncidentDocument, shown: _Shown) -> Iterator[str]:
    left = sum(task.state is not TaskState.DONE for task in incident.tasks)
    yield f"Tasks: {counted(len(incident.tasks), 'task')}, {left} open"
    for number, task in enumerate(incident.tasks[:SHOWN], 1):
        proof = f", evidence {shown(task.proof)}" if task.proof else ""
        yield f"  {number:>2}  {task.kind}, {task.state}{proof}, {shown(task.tenant)}"
        yield f"      {shown(task.text)}"
    yield from _rest(len(incident.tasks))


def _rest(count: int) -> Iterable[str]:
    return [f"  {count - SHOWN:,} more: see the report, or --format json"] if count > SHOWN else []


def _contained(incident: IncidentDocument) -> str:
    times = incident.processing
    if times.contained_at is None and times.seconds_to_contain is None:
        return "not yet"
    at = f"{moment(times.contained_at)}, " if times.contained_at is not None else ""
    return f"{at}{duration(times.seconds_to_contain)} after it was detected"
