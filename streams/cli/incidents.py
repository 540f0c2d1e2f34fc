"""`tidewatch incidents`: lists, shows and exports incidents."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from schemas.channels import Channel
from schemas.cloudevents import format_time
from schemas.counting import counted
from schemas.errors import TidewatchError
from schemas.incidents.states import IncidentStatus
from schemas.severity import Severity, Tlp
from streams.cli.frame import connected_settings, example, new_app
from streams.cli.incident_decisions import add_decisions
from streams.cli.incident_list import (
    HEAD,
    IncidentFilter,
    SortKey,
    rows,
    selected,
    short_ids,
    since_when,
)
from streams.cli.incident_records import IncidentArgument, all_incidents, one_incident
from streams.cli.output import Format, FormatOption, columns, print_json, print_line, print_table
from streams.reports.incident_export import OF_PARTNERS, ExportFormat, exported
from streams.reports.incident_words import Defanging

if TYPE_CHECKING:
    from schemas.intel import IntelFact
    from streams.settings import Settings

app = new_app("List, explain, decide and export incidents.")


class GraphFormat(StrEnum):
    """How a graph is written."""

    TREE = "tree"
    DOT = "dot"
    SVG = "svg"
    JSON = "json"


class IncidentReportFormat(StrEnum):
    """How a report is written."""

    MARKDOWN = "md"
    HTML = "html"
    JSON = "json"


@app.command(
    "list",
    epilog=example(
        "tidewatch incidents list --open --severity high",
        "tidewatch incidents list --tenant acme --since 7d --sort changed",
        "tidewatch incidents list --text litellm --format json",
    ),
)
def list_incidents(
    *,
    only_open: Annotated[bool, typer.Option("--open", help="leave out closed incidents")] = False,
    status: Annotated[
        list[IncidentStatus] | None, typer.Option(help="only with this status; may be repeated")
    ] = None,
    severity: Annotated[Severity | None, typer.Option(help="the least severity")] = None,
    tenant: Annotated[str | None, typer.Option(help="only with this tenant's part in it")] = None,
    assignee: Annotated[
        str | None, typer.Option(help="only this assignee's; '' for unassigned")
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="changed since: a date, a time, or 90m, 12h, 7d")
    ] = None,
    text: Annotated[
        str, typer.Option(help="only with this in id, title, root, components or systems")
    ] = "",
    sort: Annotated[SortKey, typer.Option(help="the sort key")] = SortKey.SCORE,
    reverse: Annotated[bool, typer.Option("--reverse", help="reverse the order")] = False,
    form: FormatOption = Format.TEXT,
) -> None:
    """List incidents, the worst first.

    Ids are shortened to unique prefixes, which every command accepts. With --format json they are
    complete.
    """
    selection = IncidentFilter(
        only_open=only_open,
        statuses=frozenset(status or ()),
        severity=severity,
        tenant=tenant,
        assignee=assignee,
        since=since_when(since, datetime.now(UTC)) if since is not None else None,
        text=text,
    )
    known = all_incidents()
    incidents = selected(known.values(), selection, sort, reverse=reverse)
    if form is Format.JSON:
        print_json([msgspec.to_builtins(incident) for incident in incidents])
        return
    print_table(HEAD, rows(incidents, short_ids(known)), below=1)
    if len(incidents) < len(known):
        print_line(f"{len(incidents):,} of {counted(len(known), 'incident')}")


@app.command(epilog=example("tidewatch incidents show inc-3f2a"))
def show(incident: IncidentArgument, *, form: FormatOption = Format.TEXT) -> None:
    """Show one incident: findings, scope, severity, commands, tasks, next action."""
    document = one_incident(incident)
    if form is Format.JSON:
        print_json(msgspec.to_builtins(document))
        return
    from streams.reports.incident_text import incident_text  # noqa: PLC0415 -- only for people

    for line in incident_text(document, columns()):
        print_line(line)


@app.command(epilog=example("tidewatch incidents timeline inc-3f2a"))
def timeline(incident: IncidentArgument, *, form: FormatOption = Format.TEXT) -> None:
    """Show what happened when: occurrence, detection, decisions, containment."""
    document = one_incident(incident)
    if form is Format.JSON:
        print_json([msgspec.to_builtins(entry) for entry in document.timeline])
        return
    defanged = Defanging(document)
    print_table(
        ("time", "event", "tenant", "detail"),
        [(format_time(e.at), e.what, e.tenant or "", defanged(e.text)) for e in document.timeline],
    )


@app.command(epilog=example("tidewatch incidents graph inc-3f2a --format svg > incident.svg"))
def graph(
    incident: IncidentArgument,
    *,
    form: Annotated[GraphFormat, typer.Option("--format", help="how to draw")] = GraphFormat.TREE,
) -> None:
    """Draw how it spread: from the root through what was built from it to the systems."""
    from streams.reports import incident_graph  # noqa: PLC0415 -- only here

    made = incident_graph.incident_graph(one_incident(incident))
    if form is GraphFormat.JSON:
        print_json(msgspec.to_builtins(made))
        return
    draw = {
        GraphFormat.TREE: incident_graph.tree,
        GraphFormat.DOT: incident_graph.dot,
        GraphFormat.SVG: incident_graph.svg,
    }[form]
    print_line(draw(made))


@app.command(
    epilog=example(
        "tidewatch incidents report inc-3f2a",
        "tidewatch incidents report inc-3f2a --format html --output report.html",
    )
)
def report(
    incident: IncidentArgument,
    *,
    form: Annotated[
        IncidentReportFormat, typer.Option("--format", help="html has the graph, and prints well")
    ] = IncidentReportFormat.MARKDOWN,
    tlp: Annotated[Tlp, typer.Option(help="the marking of the report")] = Tlp.AMBER_STRICT,
    output: Annotated[
        Path | None, typer.Option(help="the output file; default: standard output")
    ] = None,
) -> None:
    """Write a report: what happened, to whom, how it is known, what to do now.

    It names tenants: by default it is marked for the operator's organisation only.
    """
    _write(exported(one_incident(incident), ExportFormat(form.value), tlp), output)


@app.command(epilog=example("tidewatch incidents export inc-3f2a --as html > report.html"))
def export(
    incident: IncidentArgument,
    *,
    kind: Annotated[ExportFormat, typer.Option("--as", help="what to write")],
    tlp: Annotated[
        Tlp | None,
        typer.Option(
            help="its marking; default: amber+strict if it names tenants, else amber",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="the output file; default: standard output")
    ] = None,
) -> None:
    """Write a report (md, html), the record (json), or what partners read (stix, misp)."""
    marking = tlp or (Tlp.AMBER if kind in OF_PARTNERS else Tlp.AMBER_STRICT)
    _write(exported(one_incident(incident), kind, marking), output)


def _write(text: str, output: Path | None) -> None:
    """Write a text to a file, or to the screen.

    Raises:
        TidewatchError: The file can't be written.
    """
    if output is None:
        print_line(text)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise TidewatchError(
            f"can't write ({error.strerror})", where=str(output), remedy="name another file"
        ) from error


@app.command(
    epilog=example(
        "tidewatch incidents learn inc-3f2a", "tidewatch incidents learn inc-3f2a --publish"
    )
)
def learn(
    incident: IncidentArgument,
    *,
    publish: Annotated[bool, typer.Option("--publish", help="write them to the topic")] = False,
    form: FormatOption = Format.TEXT,
) -> None:
    """Show what a contained incident adds to intelligence, and with --publish feed it back.

    It then applies to every tenant's checks at once. Keys with existing facts are left unchanged.
    `tidewatch intel withdraw` withdraws a fact.
    """
    from streams.reports.lessons import learned_facts  # noqa: PLC0415 -- only here

    facts = learned_facts(one_incident(incident))
    known = asyncio.run(_feed_back(connected_settings(), facts, publish=publish)) if facts else ()
    rows = [
        {
            "key": fact.key,
            "versions": list(fact.versions),
            "kind": fact.kind.value,
            "state": "known already"
            if fact.key in known
            else "published"
            if publish
            else "to be published",
            "summary": fact.summary,
        }
        for fact in facts
    ]
    if form is Format.JSON:
        print_json(rows)
    elif rows:
        print_table(list(rows[0]), [list(row.values()) for row in rows])
    else:
        print_line("nothing: it is not contained, or none of it is confirmed by a check")


async def _feed_back(
    settings: Settings, facts: list[IntelFact], *, publish: bool
) -> frozenset[str]:
    """Publish the facts whose keys have none yet; return the other keys."""
    from streams.kafka.compacted import latest_values, publish_values  # noqa: PLC0415 -- brings Kafka

    values = await latest_values(settings, Channel.INTEL)
    known = frozenset(fact.key for fact in facts if fact.key in values)
    if publish:
        await publish_values(
            settings,
            Channel.INTEL,
            [(fact.key, msgspec.json.encode(fact)) for fact in facts if fact.key not in known],
        )
    return known


@app.command(epilog=example("tidewatch incidents metrics --format json"))
def metrics(*, form: FormatOption = Format.TEXT) -> None:
    """Show times to detect and to contain, and the number of false positives."""
    from streams.cli.incident_metrics import (  # noqa: PLC0415 -- only here
        figure_rows,
        incident_metrics,
    )

    figures = incident_metrics(list(all_incidents().values()))
    if form is Format.JSON:
        print_json(figures)
        return
    print_table(("figure", "value"), figure_rows(figures))


add_decisions(app)
