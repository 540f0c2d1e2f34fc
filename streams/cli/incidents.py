"""`tidewatch incidents`: lists, shows and exports incidents."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from schemas.channels import Channel
from schemas.cloudevents import format_time
from schemas.errors import TidewatchError
from schemas.incidents.views import IncidentDocument
from schemas.severity import Tlp
from streams.cli.frame import connected_settings, example, new_app
from streams.cli.incident_decisions import add_decisions
from streams.cli.incident_records import IncidentArgument, all_incidents, one_incident
from streams.cli.output import Format, FormatOption, print_json, print_line, print_table

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


class ExportFormat(StrEnum):
    """What an incident is exported as."""

    MARKDOWN = "md"
    HTML = "html"
    JSON = "json"
    STIX = "stix"
    MISP = "misp"


@app.command("list", epilog=example("tidewatch incidents list --open --format json"))
def list_incidents(
    *,
    only_open: Annotated[bool, typer.Option("--open", help="leave out what is closed")] = False,
    form: FormatOption = Format.TEXT,
) -> None:
    """List incidents, the worst first."""
    incidents = sorted(
        (doc for doc in all_incidents().values() if not (only_open and doc.status.ended)),
        key=lambda doc: (-doc.score.value, doc.id),
    )
    if form is Format.JSON:
        print_json([msgspec.to_builtins(incident) for incident in incidents])
        return
    print_table(
        ("incident", "severity", "score", "status", "phase", "tenants", "systems", "what"),
        [
            (
                doc.id,
                doc.score.band,
                doc.score.value,
                doc.status,
                doc.phase,
                doc.tenant_count,
                doc.system_count,
                doc.title,
            )
            for doc in incidents
        ],
    )


@app.command(epilog=example("tidewatch incidents show inc-3f2a"))
def show(incident: IncidentArgument, *, form: FormatOption = Format.TEXT) -> None:
    """Show one incident: findings, scope, severity, commands, tasks, next action."""
    document = one_incident(incident)
    if form is Format.JSON:
        print_json(msgspec.to_builtins(document))
        return
    from streams.reports.incident import markdown  # noqa: PLC0415 -- only for people

    for line in markdown(document).splitlines():
        print_line(line.replace("\\", ""))
    print_line(f"next: {document.next_action}")


@app.command(epilog=example("tidewatch incidents timeline inc-3f2a"))
def timeline(incident: IncidentArgument, *, form: FormatOption = Format.TEXT) -> None:
    """Show what happened when: occurrence, detection, decisions, containment."""
    document = one_incident(incident)
    if form is Format.JSON:
        print_json([msgspec.to_builtins(entry) for entry in document.timeline])
        return
    print_table(
        ("when", "what", "tenant", "text"),
        [(format_time(e.at), e.what, e.tenant or "", e.text) for e in document.timeline],
    )


@app.command(epilog=example("tidewatch incidents graph inc-3f2a --format svg > incident.svg"))
def graph(
    incident: IncidentArgument,
    *,
    form: Annotated[GraphFormat, typer.Option("--format", help="how to draw")] = GraphFormat.TREE,
) -> None:
    """Draw how it spread: from the root over what was built from it to the systems."""
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


@app.command(epilog=example("tidewatch incidents export inc-3f2a --as html > report.html"))
def export(
    incident: IncidentArgument,
    *,
    kind: Annotated[ExportFormat, typer.Option("--as", help="what to write")],
    tlp: Annotated[Tlp, typer.Option(help="the marking of what is shared")] = Tlp.AMBER,
    output: Annotated[Path | None, typer.Option(help="a file; the screen by default")] = None,
) -> None:
    """Write a report (md, html), the record (json), or what partners read (stix, misp)."""
    text = _exported(one_incident(incident), kind, tlp)
    if output is None:
        print_line(text)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise TidewatchError(
            f"can't write ({error.strerror})", where=str(output), remedy="name another file"
        ) from error


def _exported(document: IncidentDocument, kind: ExportFormat, tlp: Tlp) -> str:
    from schemas.documents.misp import misp_event  # noqa: PLC0415 -- only what is asked for
    from schemas.documents.stix import indicator_bundle  # noqa: PLC0415 -- the same
    from schemas.sharing import shared_indicators, shared_title  # noqa: PLC0415 -- the same
    from streams.reports.incident import markdown, to_html  # noqa: PLC0415 -- the same

    if kind is ExportFormat.MARKDOWN:
        return markdown(document)
    if kind is ExportFormat.HTML:
        return to_html(document)
    if kind is ExportFormat.STIX:
        return indicator_bundle(shared_indicators(document), tlp=tlp).decode()
    if kind is ExportFormat.MISP:
        event = misp_event(
            document.id,
            shared_title(document),
            document.first_seen,
            document.score.band,
            shared_indicators(document),
            tlp=tlp,
            status=document.status,
        )
        return msgspec.json.encode(event).decode()
    return msgspec.json.encode(document).decode()


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

    Every tenant's checks then know it at once. A key about which something is known already is left
    as it is. `tidewatch intel withdraw` takes a fact back.
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
        print_line("nothing: it is not contained, or nothing in it is confirmed by a check of ours")


async def _feed_back(
    settings: Settings, facts: list[IntelFact], *, publish: bool
) -> frozenset[str]:
    """Publish the facts whose keys nothing is known of; return the keys of the others."""
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
    """Show times to detect and to contain, and how many were closed as false positives."""
    from streams.cli.incident_metrics import incident_metrics  # noqa: PLC0415 -- only here

    figures = incident_metrics(list(all_incidents().values()))
    if form is Format.JSON:
        print_json(figures)
        return
    print_table(("figure", "value"), [(name, value) for name, value in figures.items()])


add_decisions(app)
