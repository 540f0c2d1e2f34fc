"""Builds the report with which an incident is handed over, from its record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from agents.domain.rules import rule_named
from schemas.atlas import attacks, mitigations
from schemas.counting import counted
from schemas.incidents.states import Action, CommandStatus, Pattern
from schemas.incidents.views import FindingView, IncidentDocument, SystemView
from schemas.intel import IntelFact
from schemas.severity import Tlp
from streams.cli.output import plain
from streams.reports import blocks
from streams.reports.blocks import (
    Block,
    Bullets,
    Heading,
    Paragraph,
    Picture,
    Report,
    Steps,
    Table,
)
from streams.reports.fact_words import versions_of
from streams.reports.impact import attribution, impact
from streams.reports.incident_graph import incident_graph, strips, svg, tree
from streams.reports.incident_words import (
    Defanging,
    assignees,
    can_be_issued,
    duration,
    how_far,
    moment,
    next_steps,
    summary,
    unmarked,
    where,
)
from streams.reports.lessons import (
    failed_controls,
    learned_facts,
    policy_changes,
    rules_to_add,
)

_EVIDENCE_FIELDS = 12
"""The most fields of a finding's evidence that are shown."""
_PLACES = frozenset({"file", "member", "offset", "line", "global"})
"""Fields of evidence that locate it; `where` shows them."""


def markdown(incident: IncidentDocument, tlp: Tlp = Tlp.AMBER_STRICT) -> str:
    """Return the report of an incident as Markdown.

    Args:
        incident: The operator's record. The report names tenants and is for the operator only.
        tlp: Its marking.
    """
    return blocks.to_markdown(incident_report(incident, tlp))


def to_html(incident: IncidentDocument, tlp: Tlp = Tlp.AMBER_STRICT) -> str:
    """Return the report of an incident as an HTML page without scripts or links.

    Args:
        incident: The operator's record.
        tlp: The marking of the report.
    """
    return blocks.to_html(incident_report(incident, tlp))


def incident_report(incident: IncidentDocument, tlp: Tlp = Tlp.AMBER_STRICT) -> Report:
    """Return the report of an incident: a summary, then its parts.

    Args:
        incident: The operator's record.
        tlp: The marking of the report.
    """
    defanged = Defanging(incident)
    score = incident.score
    return Report(
        title=defanged(incident.title),
        marking=(
            f"TLP:{tlp.upper()}. Incident {incident.id}, {incident.status}, phase "
            f"{incident.phase}. Severity {score.band}, {score.value} of 100."
        ),
        blocks=tuple(_defanged(block, defanged) for block in _blocks(incident)),
    )


def _defanged(block: Block, defanged: Defanging) -> Block:
    """Return a block with its texts defanged."""

    def cell(value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        return defanged(value) if isinstance(value, str) else tuple(map(defanged, value))

    if isinstance(block, Paragraph):
        return Paragraph(defanged(block.text), block.label)
    if isinstance(block, Table):
        rows = tuple(tuple(map(cell, row)) for row in block.rows)
        return Table(block.head, rows, block.whole)
    if isinstance(block, Bullets):
        return Bullets(tuple(map(defanged, block.items)), block.ordered)
    if isinstance(block, Picture):
        return Picture(defanged(block.text), block.svg, block.strips)
    if isinstance(block, Steps):
        return Steps(tuple((defanged(text), command) for text, command in block.items))
    return block


def _table(head: str, rows: Iterable[tuple[Any, ...]], whole: str = "") -> Table:
    """Return a table; columns are separated by bars in `head`, and so are whole ones."""
    texts = tuple(
        tuple(cell if isinstance(cell, tuple) else str(cell) for cell in row) for row in rows
    )
    return Table(tuple(head.split("|")), texts, frozenset(whole.split("|")))


def _listed(lines: Iterable[str]) -> Block:
    items = tuple(lines)
    return Bullets(items) if items else Paragraph("None.")


def _blocks(incident: IncidentDocument) -> Iterator[Block]:
    yield from _summary(incident)
    yield from _scope(incident)
    yield from _course(incident)
    yield from _answers(incident)
    yield from _findings(incident)
    yield from _score(incident)
    yield from _runbook(incident)
    yield from _origin(incident)
    yield from _lessons(incident)


def _summary(incident: IncidentDocument) -> Iterator[Block]:
    sentences = summary(incident)
    yield Heading("Summary")
    yield Paragraph(sentences.happened, "What happened")
    yield Paragraph(sentences.to_whom, "To whom")
    yield Paragraph(sentences.known, "How it is known")
    yield Paragraph(f"{sentences.done} It is {assignees(incident)}.", "What was done")
    yield Paragraph(sentences.now, "What to do now")
    steps = next_steps(incident)
    if steps:
        yield Steps(tuple((step.text, step.command) for step in steps))
    if incident.truncated:
        yield Paragraph(
            f"{', '.join(incident.truncated)} reached a limit: the topics have the rest.",
            "Truncated",
        )


def _scope(incident: IncidentDocument) -> Iterator[Block]:
    yield Heading(
        f"Scope: {counted(incident.system_count, 'system')} of "
        f"{counted(incident.tenant_count, 'tenant')}"
    )
    alone = incident.pattern is Pattern.ISOLATED
    spread = "Isolated" if alone else "Part of a pattern"
    yield Paragraph(f"Root: {incident.root}. {spread}: {incident.pattern_why}.")
    if incident.systems:
        graph = incident_graph(incident)
        yield Picture(tree(graph), svg(graph), strips(graph))
        yield _table(
            "tenant|system|exposure|since|component and path",
            [
                (s.tenant, s.system, s.exposure, moment(s.since), (s.component, _path(s)))
                for s in incident.systems
            ],
            "exposure|since",
        )
    yield Heading("Possible impact", 3)
    rows = impact(incident)
    yield _table("impact|evidence", rows) if rows else Paragraph("None known.")


def _path(system: SystemView) -> str:
    return f"via {' → '.join(system.path)}" if system.path else ""


def _course(incident: IncidentDocument) -> Iterator[Block]:
    times = incident.processing
    yield Heading("Timeline")
    yield _table(
        "measure|value",
        [
            ("first seen", moment(incident.first_seen)),
            ("detected", moment(times.detected_at) if times.detected_at else "not known"),
            ("time to detect", duration(times.seconds_to_detect)),
            ("time to contain", duration(times.seconds_to_contain)),
        ],
        "measure",
    )
    yield _table(
        "time|event|tenant|detail",
        [(moment(e.at), e.what, e.tenant or "", e.text) for e in incident.timeline],
        "time|event",
    )


def _answers(incident: IncidentDocument) -> Iterator[Block]:
    yield Heading("Containment")
    if incident.commands:
        yield _table(
            "no.|tenant|action|target, command|state|answer",
            [
                (
                    number,
                    c.spec.tenant,
                    c.spec.action,
                    (c.spec.target, c.spec.command_id),
                    how_far(c),
                    c.status_text,
                )
                for number, c in enumerate(incident.commands, 1)
            ],
            "no.",
        )
    else:
        yield Paragraph("No containment was ordered.")
    advised = [view for view in incident.commands if view.state is CommandStatus.ADVISED]
    if any(map(can_be_issued, advised)):
        yield Paragraph(
            "These commands are not carried out automatically, because of the policy or "
            "because the confidence is too low. Approve one to have it issued, or do it by hand.",
            "Advised",
        )
    if not all(map(can_be_issued, advised)):
        yield Paragraph(
            "The tenant's history has no known-good version: choose one, verify it, and roll back "
            "by hand.",
            "Rollbacks without a version",
        )
    yield Heading("Tasks")
    if incident.tasks:
        yield _table(
            "no.|tenant|system|task|state|evidence|detail",
            [
                (number, t.tenant, t.system, t.kind, t.state, t.proof or "", t.text)
                for number, t in enumerate(incident.tasks, 1)
            ],
            "no.|task|state",
        )
    else:
        yield Paragraph("None.")


def _findings(incident: IncidentDocument) -> Iterator[Block]:
    yield Heading("Evidence")
    yield Heading("Findings", 3)
    yield _table(
        "rule|severity|confidence|component|location|description",
        [
            (f.rule_id, f.severity, f"{f.confidence:.2f}", f.component, where(f), _finding_text(f))
            for f in incident.findings
        ],
        "severity|confidence",
    )
    seen = [
        (finding.rule_id, name, value)
        for finding in incident.findings
        for name, value in list(finding.evidence.items())[:_EVIDENCE_FIELDS]
        if name not in _PLACES and value not in (None, "", [], {})
    ]
    if seen:
        yield Heading("Evidence of the findings", 3)
        yield _table("rule|field|value", dict.fromkeys((r, n, str(v)) for r, n, v in seen))
    captured = [
        (number, c.spec.tenant, c.spec.target, how_far(c), c.status_text)
        for number, c in enumerate(incident.commands, 1)
        if c.spec.action is Action.CAPTURE_EVIDENCE
    ]
    if captured:
        yield Heading("Evidence captures", 3)
        yield _table("no.|tenant|target|state|answer", captured, "no.")


def _finding_text(finding: FindingView) -> tuple[str, ...]:
    text = finding.description + ("" if finding.active else " (withdrawn)")
    known = f"known by {finding.known_by}" if finding.known_by else ""
    return (text, known + ("; advice only" if finding.advice else ""))


def _score(incident: IncidentDocument) -> Iterator[Block]:
    yield Heading("Severity, term by term")
    yield Paragraph(
        f"The score is {incident.score.value} of 100, which is {incident.score.band}: the sum of "
        "the points. A floor raises it to the least score of such a case."
    )
    yield _table(
        "term|points|why",
        [(t.name.replace("_", " "), f"{t.points:.1f}", t.why) for t in incident.score.terms],
        "term|points",
    )


def _runbook(incident: IncidentDocument) -> Iterator[Block]:
    yield Heading("Runbook")
    by_rule: dict[str, tuple[str, ...]] = {}
    for finding in incident.findings:
        if finding.active and finding.rule_id not in by_rule:
            by_rule[finding.rule_id] = _triage(finding)
    if not by_rule:
        yield Paragraph("None.")
    for rule_id, steps in by_rule.items():
        yield Heading(_titled(rule_id), 3)
        yield Bullets(steps, ordered=True)


def _triage(finding: FindingView) -> tuple[str, ...]:
    try:
        steps = tuple(rule_named(finding.rule_id).triage)
    except KeyError:  # of another version, or of the ledger
        steps = tuple(filter(None, [finding.remediation])) or ("Investigate.",)
    return tuple(map(unmarked, steps))


def _origin(incident: IncidentDocument) -> Iterator[Block]:
    yield Heading("Attribution")
    rows = attribution(incident)
    yield _table("kind|value|confidence", rows) if rows else Paragraph("None known.")
    yield Heading("Techniques, mitigations and practices")
    kinds = sorted({finding.ioc_type for finding in incident.findings})
    yield _table(
        "catalogue|entries",
        [
            (
                "ATLAS techniques",
                tuple(
                    f"{a.sub_technique_id or a.technique_id} {a.sub_technique or a.technique}"
                    for a in attacks(incident.techniques)
                ),
            ),
            (
                "ATLAS mitigations that apply",
                tuple(f"{uid} {name}" for uid, name in mitigations(kinds)),
            ),
            ("SSDF practices", ", ".join(incident.ssdf)),
            (
                "detection rules",
                tuple(_titled(rule) for rule in sorted({f.rule_id for f in incident.findings})),
            ),
        ],
    )


def _titled(rule_id: str) -> str:
    try:
        return f"{rule_id} ({rule_named(rule_id).title})"
    except KeyError:  # a record of another version may name a rule that this one does not have
        return rule_id


def _lessons(incident: IncidentDocument) -> Iterator[Block]:
    yield Heading("Lessons")
    yield Heading("Controls", 3)
    controls = [(control.name, how) for control, how in failed_controls(incident)]
    yield _table("control|result", controls) if controls else Paragraph("None.")
    yield Heading("Proposed policy changes", 3)
    yield _listed(policy_changes(incident))
    yield Heading("Proposed detection rules", 3)
    yield _listed(rules_to_add(incident))
    yield Heading("Published as intelligence", 3)
    yield _listed(_fact_line(fact) for fact in learned_facts(incident))


def _fact_line(fact: IntelFact) -> str:
    named = fact.versions or fact.ranges
    versions = f" {plain(versions_of(fact))}" if named else ""
    return f"{plain(fact.key)}{versions}: {fact.kind}, {fact.summary}"
