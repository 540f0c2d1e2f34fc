"""Write the report of an incident in Markdown and HTML from its record."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from datetime import datetime

from agents.domain.rules import rule_named
from schemas.atlas import attacks, mitigations
from schemas.cloudevents import format_time
from schemas.counting import counted
from schemas.incidents.states import CommandStatus
from schemas.incidents.views import FindingView, IncidentDocument, SystemView
from schemas.intel import IntelFact
from schemas.severity import Tlp
from streams.cli.output import plain
from streams.reports.impact import attribution, impact
from streams.reports.lessons import (
    failed_controls,
    learned_facts,
    policy_changes,
    rules_to_add,
)

_MARKDOWN_ACTIVE = str.maketrans({char: f"\\{char}" for char in "\\`*_[]<>|#&~$"})


_LINKED = re.compile(r"(?<=[A-Za-z]):(?=//)|(?<=\bwww)\.", re.IGNORECASE)
"""Where a renderer would make a link of bare text."""


def _cell(value: object) -> str:
    """Escape text from an event as a line of inert Markdown: no tag, image, link or code."""
    return _LINKED.sub(r"\\\g<0>", plain(str(value), 400).translate(_MARKDOWN_ACTIVE))


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines.extend(f"| {' | '.join(_cell(value) for value in row)} |" for row in rows)
    return [*lines, ""]


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "not yet"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min {rest} s" if hours else f"{minutes} min {rest} s"


def _path(system: SystemView) -> str:
    return " → ".join([*system.path, system.component]) if system.path else "holds it directly"


def _at(time: datetime) -> str:
    return format_time(time)


def _advice_explained(incident: IncidentDocument) -> tuple[str, ...]:
    """Return what `advised` means, where something is."""
    if not any(command.state == CommandStatus.ADVISED for command in incident.commands):
        return ()
    return (
        "Advised: nothing carries it out by itself. The policy says so, or it is not sure enough.",
        "Approve it to have it issued, or do it by hand.",
        "",
    )


def markdown(incident: IncidentDocument, tlp: Tlp = Tlp.AMBER_STRICT) -> str:
    """Return the report of an incident as Markdown.

    Args:
        incident: The operator's record. The report names tenants and is for the operator only.
        tlp: Its marking.
    """
    score = incident.score
    known_as = plain(incident.id).replace("`", "")
    lines = [
        f"# {_cell(incident.title)}",
        "",
        (
            f"Incident `{known_as}`, {incident.status}, phase {incident.phase}. "
            f"Severity **{score.band}** ({score.value} of 100). TLP:{tlp.upper()}."
        ),
        "",
        f"Root: {_cell(incident.root)}. {_cell(incident.pattern_why)}.",
        "",
        "## Times",
        "",
        *_table(
            ("what", "when or how long"),
            [
                ("first seen", _at(incident.first_seen)),
                (
                    "detected",
                    _at(incident.processing.detected_at)
                    if incident.processing.detected_at
                    else "not known",
                ),
                ("time to detect", _duration(incident.processing.seconds_to_detect)),
                ("time to contain", _duration(incident.processing.seconds_to_contain)),
            ],
        ),
        "## Severity, term by term",
        "",
        *_table(
            ("term", "value", "points", "why"),
            [(t.name, round(t.value, 3), round(t.points, 1), t.why) for t in score.terms],
        ),
        "## What was found",
        "",
        *_table(
            ("rule", "severity", "confidence", "component", "where", "what, and how it is known"),
            [
                (
                    f.rule_id,
                    f.severity,
                    f.confidence,
                    f.component,
                    ", ".join(
                        f"{name} {f.evidence[name]}"
                        for name in ("file", "member", "offset", "line", "global")
                        if name in f.evidence
                    ),
                    _finding_text(f),
                )
                for f in incident.findings
            ],
        ),
        (
            f"## Scope: {counted(incident.system_count, 'system')} of "
            f"{counted(incident.tenant_count, 'tenant')}"
        ),
        "",
        *_table(
            ("tenant", "system", "exposure", "since", "how it came there"),
            [(s.tenant, s.system, s.exposure, _at(s.since), _path(s)) for s in incident.systems],
        ),
        "## Impact: what it could have done",
        "",
        *_table(("what", "where"), impact(incident)),
        "## Timeline",
        "",
        *_table(
            ("when", "what", "tenant", "text"),
            [(_at(e.at), e.what, e.tenant or "", e.text) for e in incident.timeline],
        ),
        "## Containment",
        "",
        *_table(
            ("no.", "tenant", "action", "target", "mode", "state", "answer", "command"),
            [
                (
                    str(number),
                    c.spec.tenant,
                    c.spec.action,
                    c.spec.target,
                    c.spec.mode + (", dry run" if c.spec.dry_run else ""),
                    c.state,
                    c.status_text,
                    c.spec.command_id,
                )
                for number, c in enumerate(incident.commands, 1)
            ],
        ),
        *_advice_explained(incident),
        "## Recovery",
        "",
        *_table(
            ("no.", "tenant", "system", "task", "state", "shown by", "text"),
            [
                (str(number), t.tenant, t.system, t.kind, t.state, t.proof or "", t.text)
                for number, t in enumerate(incident.tasks, 1)
            ],
        ),
        "## Attribution",
        "",
        *_table(
            ("what", "value", "confidence"),
            [
                *attribution(incident),
                ("isolated or pattern", incident.pattern, incident.pattern_why),
            ],
        ),
        "## Techniques, mitigations and practices",
        "",
        *_controls(incident),
        "## Which controls failed",
        "",
        *_listed(f"{control.name}: {how}" for control, how in failed_controls(incident)),
        "## Policy changes proposed",
        "",
        *_listed(policy_changes(incident)),
        "## Rules to add",
        "",
        *_listed(rules_to_add(incident)),
        "## Fed back as intelligence",
        "",
        *_listed(_fact_line(fact) for fact in learned_facts(incident)),
    ]
    return "\n".join(lines)


def _finding_text(finding: FindingView) -> str:
    text = finding.description + ("" if finding.active else " (withdrawn)")
    if finding.known_by:
        text += f"; known by {finding.known_by}"
    return text + ("; advice only" if finding.advice else "")


def _listed(lines: Iterable[str]) -> list[str]:
    items = [f"- {_cell(line)}" for line in lines]
    return [*(items or ["None."]), ""]


def _fact_line(fact: IntelFact) -> str:
    versions = f" {', '.join(fact.versions)}" if fact.versions else ""
    return f"{fact.key}{versions}: {fact.kind}, {fact.summary}"


def _titled(rule_id: str) -> str:
    try:
        return f"{rule_id} ({rule_named(rule_id).title})"
    except KeyError:  # a record of another version may name a rule that this one does not have
        return rule_id


def _controls(incident: IncidentDocument) -> list[str]:
    kinds = sorted({finding.ioc_type for finding in incident.findings})
    techniques = [
        (a.sub_technique_id or a.technique_id, a.sub_technique or a.technique)
        for a in attacks(incident.techniques)
    ]
    return _table(
        ("what", "ids"),
        [
            ("ATLAS techniques", "; ".join(f"{uid} {name}" for uid, name in techniques)),
            (
                "ATLAS mitigations that would have helped",
                "; ".join(f"{uid} {name}" for uid, name in mitigations(kinds)),
            ),
            ("SSDF practices", ", ".join(incident.ssdf)),
            (
                "rules that fired",
                "; ".join(
                    _titled(rule_id) for rule_id in sorted({f.rule_id for f in incident.findings})
                ),
            ),
        ],
    )


def to_html(incident: IncidentDocument, tlp: Tlp = Tlp.AMBER_STRICT) -> str:
    """Return the report of an incident as an HTML page without scripts or external links.

    Converts the Markdown report: headings, tables, lists and paragraphs.

    Args:
        incident: The operator's record.
        tlp: The marking of the report.
    """
    body: list[str] = []
    rows: list[list[str]] = []
    items: list[str] = []

    def flush() -> None:
        if rows:
            head, *rest = rows
            body.append(
                "<table><tr>"
                + "".join(f"<th>{cell}</th>" for cell in head)
                + "</tr>"
                + "".join(
                    "<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rest
                )
                + "</table>"
            )
            rows.clear()
        if items:
            body.append("<ul>" + "".join(f"<li>{item}</li>" for item in items) + "</ul>")
            items.clear()

    for line in markdown(incident, tlp).splitlines():
        if line.startswith("|---"):
            continue
        if line.startswith("| "):
            rows.append([_inline(cell) for cell in _cells(line)])
        elif line.startswith("- "):
            items.append(_inline(line[2:]))
        else:
            flush()
            if line.startswith("## "):
                body.append(f"<h2>{_inline(line[3:])}</h2>")
            elif line.startswith("# "):
                body.append(f"<h1>{_inline(line[2:])}</h1>")
            elif line:
                body.append(f"<p>{_inline(line)}</p>")
    flush()
    title = html.escape(plain(incident.title))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{title}</title><style>{_STYLE}</style></head><body>"
        + "\n".join(body)
        + "</body></html>\n"
    )


_STYLE = (
    "body{font:15px/1.45 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%;margin:.6rem 0}"
    "td,th{border:1px solid #ccc;padding:.3rem .5rem;text-align:left;vertical-align:top;"
    "overflow-wrap:anywhere}th{background:#f2f2f2}"
)


def _cells(line: str) -> list[str]:
    """Split a Markdown table row into cells; an escaped bar is text."""
    cells: list[str] = [""]
    escaped = False
    for char in line.strip()[1:-1]:
        if char == "|" and not escaped:
            cells.append("")
        else:
            cells[-1] += char
        escaped = char == "\\" and not escaped
    return [cell.strip() for cell in cells]


def _inline(text: str) -> str:
    """Convert a line of the report's Markdown to escaped HTML."""
    out: list[str] = []
    escaped = False
    for char in text:
        if escaped:
            out.append(html.escape(char))
            escaped = False
        elif char == "\\":
            escaped = True
        elif char not in "`*":
            out.append(html.escape(char))
    return "".join(out)
