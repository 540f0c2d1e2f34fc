"""`tidewatch incidents`: cases as the stream knows them, and what a person decides about them."""

from __future__ import annotations

import asyncio
import math
import statistics
import time
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import typer

from schemas.canonical import stable_id
from schemas.channels import Channel
from schemas.cloudevents import format_time
from schemas.decisions import Decision, DecisionKind
from schemas.errors import TidewatchError
from schemas.incidents.views import IncidentDocument
from schemas.severity import Tlp
from streams.cli.choices import chosen_command, chosen_task
from streams.cli.frame import connected_settings, example, new_app
from streams.cli.output import Format, FormatOption, print_json, print_line, print_table

if TYPE_CHECKING:
    from schemas.incidents.commands import CommandView
    from schemas.intel import IntelFact
    from streams.settings import Settings
    from streams.signing_keys import Signer

app = new_app("List, explain, decide and export incidents.")

IncidentArgument = Annotated[str, typer.Argument(help="the incident's id, or its beginning")]
TargetArgument = Annotated[str, typer.Argument(help="who it is assigned to")]
CommandArgument = Annotated[
    str, typer.Argument(help="the command's number, its id, or the beginning of its id")
]
WaitOption = Annotated[bool, typer.Option("--wait", help="until something came of it")]
WAIT_SECONDS: Final = 60.0
WAIT_STEP: Final = 0.5
ReasonOption = Annotated[str, typer.Option(help="why; kept with the incident")]
TenantOption = Annotated[
    str | None, typer.Option(help="for this tenant only; all of the incident by default")
]


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


async def _read(settings: Settings) -> dict[str, IncidentDocument]:
    """Return the last record of every incident."""
    from streams.kafka.reader import full_name, read_topic  # noqa: PLC0415 -- brings Kafka

    found: dict[str, IncidentDocument] = {}
    topic = full_name(settings, Channel.INCIDENTS)
    async for record in read_topic(settings, topic, from_start=True, follow=False):
        key = (record.key or b"").decode("utf-8", "replace")
        if record.value is None:
            found.pop(key, None)
        else:
            found[key] = msgspec.json.decode(record.value, type=IncidentDocument)
    return found


def all_incidents() -> dict[str, IncidentDocument]:
    """Return every incident by id, read from the topic."""
    return asyncio.run(_read(connected_settings()))


def one_incident(start: str) -> IncidentDocument:
    """Return the incident whose id is or begins with `start`.

    Raises:
        TidewatchError: There is none, or more than one.
    """
    matching = [doc for key, doc in all_incidents().items() if key.startswith(start)]
    if len(matching) != 1:
        raise TidewatchError(
            f"{'no' if not matching else 'more than one'} incident begins with {start!r}",
            remedy="see: tidewatch incidents list",
        )
    return matching[0]


@app.command("list", epilog=example("tidewatch incidents list --open --format json"))
def list_incidents(
    *,
    only_open: Annotated[bool, typer.Option("--open", help="leave out what is closed")] = False,
    form: FormatOption = Format.TEXT,
) -> None:
    """List incidents, the worst first."""
    ended = {"closed", "false-positive", "withdrawn"}
    incidents = sorted(
        (doc for doc in all_incidents().values() if not (only_open and doc.status in ended)),
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


async def _send(settings: Settings, decision: Decision, signer: Signer) -> None:
    import aiokafka  # noqa: PLC0415 -- only a decision is written

    from agents.messages import decision_message  # noqa: PLC0415 -- the same
    from streams.kafka.client import client_options  # noqa: PLC0415 -- the same
    from streams.kafka.topics import ensure_topics, topic_name  # noqa: PLC0415 -- the same

    await ensure_topics(settings, channels=[Channel.DECISIONS])
    message = decision_message(decision, signer.key)
    producer = aiokafka.AIOKafkaProducer(**client_options(settings), enable_idempotence=True)
    await producer.start()
    try:
        await producer.send_and_wait(
            topic_name(settings, Channel.DECISIONS),
            value=message.value,
            key=message.key.encode(),
            headers=list(message.headers),
        )
    finally:
        await producer.stop()


def decide(
    kind: DecisionKind,
    incident: str,
    reason: str,
    *,
    tenant: str | None = None,
    target: str | None = None,
    days: float | None = None,
    passed: bool | None = None,
) -> IncidentDocument:
    """Write one signed decision to the topic; return the incident as it was before.

    The key of the settings signs it, in the name of the actor that the key is bound to.

    Args:
        kind: What is decided.
        incident: The incident's id, or its beginning.
        reason: Why.
        tenant: For one tenant only.
        target: A command, an assignee, an indicator or a task.
        days: Until when, for a suppression.
        passed: The result, for an evaluation.
    """
    from schemas.key_bindings import authorise_decision  # noqa: PLC0415 -- only to sign
    from streams.signing_keys import load_signer  # noqa: PLC0415 -- the same

    document = one_incident(incident)
    settings = connected_settings()
    signer = load_signer(settings.state_dir, settings.signing_key)
    now = datetime.now(UTC)
    decision = Decision(
        id=stable_id("dec", document.id, kind, tenant or "", target or "", now.isoformat()),
        incident=document.id,
        actor=signer.binding.actor,
        decision=kind,
        reason=reason,
        time=now,
        tenant=tenant,
        target=target,
        expires=now + timedelta(days=days) if days is not None else None,
        passed=passed,
    )
    authorise_decision(decision, signer.key.kid, signer.binding)
    asyncio.run(_send(settings, decision, signer))
    print_line(f"{kind} {document.id}: written as {decision.id}")
    return document


def _plain_decision(kind: DecisionKind, help_text: str) -> None:
    """Add the command of a decision that needs a reason and nothing else."""

    def command(
        incident: IncidentArgument, *, reason: ReasonOption, tenant: TenantOption = None
    ) -> None:
        decide(kind, incident, reason, tenant=tenant)

    command.__doc__ = help_text
    line = f'tidewatch incidents {kind} inc-3f2a --reason "seen by the night shift"'
    app.command(kind.value, epilog=example(line))(command)


def _targeted_decision(kind: DecisionKind, example_target: str, help_text: str) -> None:
    """Add the command of a decision about a command or a person."""

    def command(
        incident: IncidentArgument,
        target: TargetArgument,
        *,
        reason: ReasonOption,
        tenant: TenantOption = None,
    ) -> None:
        decide(kind, incident, reason, tenant=tenant, target=target)

    command.__doc__ = help_text
    line = f'tidewatch incidents {kind} inc-3f2a {example_target} --reason "agreed in the call"'
    app.command(kind.value, epilog=example(line))(command)


_plain_decision(DecisionKind.ACKNOWLEDGE, "Say that somebody is on it.")
_plain_decision(DecisionKind.CLOSE, "Close the incident.")
_plain_decision(DecisionKind.FALSE_POSITIVE, "Close it as harmless, and undo what was contained.")
_plain_decision(DecisionKind.REOPEN, "Open a closed incident again.")
_plain_decision(DecisionKind.SHARE, "Let partners be told of it, however few tenants it affects.")
_targeted_decision(DecisionKind.ASSIGN, "alice", "Give the incident to somebody.")


def _about_command(kind: DecisionKind, help_text: str) -> None:
    """Add the command of a decision about one containment command."""

    def command(
        incident: IncidentArgument,
        target: CommandArgument,
        *,
        reason: ReasonOption,
        tenant: TenantOption = None,
        wait: WaitOption = False,
    ) -> None:
        document = one_incident(incident)
        view = chosen_command(document, target, kind, tenant)
        spec = view.spec
        decide(kind, document.id, reason, tenant=tenant, target=spec.command_id)
        print_line(f"{kind}: {spec.action} {spec.target} of {spec.tenant} ({spec.command_id})")
        if wait:
            print_line(f"now {_awaited(document.id, view)}")

    command.__doc__ = help_text
    number = 2 if kind is DecisionKind.RETRY else 1
    line = f'tidewatch incidents {kind} inc-3f2a {number} --reason "looked at it"'
    app.command(kind.value, epilog=example(line))(command)


def _awaited(incident: str, before: CommandView) -> str:
    """Return the state of a command once it is another than before.

    Raises:
        TidewatchError: Nothing changed in time.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        document = all_incidents().get(incident)
        for one in document.commands if document is not None else ():
            same = one.spec.command_id == before.spec.command_id
            told = (one.state, one.spec.attempt)
            if same and told != (before.state, before.spec.attempt):
                return one.state
        time.sleep(WAIT_STEP)
    raise TidewatchError(
        f"nothing came of it within {WAIT_SECONDS:.0f} s",
        where=before.spec.command_id,
        remedy="the decision is written: see tidewatch doctor, and whether the workers run",
    )


_about_command(DecisionKind.APPROVE, "Let a proposed or advised command be issued.")
_about_command(DecisionKind.REJECT, "Refuse a proposed command.")
_about_command(DecisionKind.RETRY, "Have a failed or expired command tried again.")


@app.command(epilog=example('tidewatch incidents complete inc-3f2a 1 --reason "key rotated"'))
def complete(
    incident: IncidentArgument,
    task: Annotated[str, typer.Argument(help="its number, its id, or the beginning of its id")],
    *,
    reason: ReasonOption,
    tenant: TenantOption = None,
) -> None:
    """Say that a task for people is done: a rotation, a rebuild, a replacement."""
    document = one_incident(incident)
    chosen = chosen_task(document, task, tenant)
    decide(
        DecisionKind.EVALUATION,
        document.id,
        reason,
        tenant=tenant or chosen.tenant,
        target=chosen.id,
        passed=True,
    )
    print_line(f"completed: {chosen.text}")


@app.command(epilog=example('tidewatch incidents suppress inc-3f2a --days 30 --reason "known"'))
def suppress(
    incident: IncidentArgument,
    *,
    reason: ReasonOption,
    days: Annotated[float, typer.Option(min=0.01, max=365, help="for so long")],
    tenant: TenantOption = None,
) -> None:
    """Keep the incident quiet for some days."""
    decide(DecisionKind.SUPPRESS, incident, reason, tenant=tenant, days=days)


@app.command(
    epilog=example('tidewatch incidents evaluation inc-3f2a host-1 --passed --reason "suite 4"')
)
def evaluation(
    incident: IncidentArgument,
    system: Annotated[str, typer.Argument(help="the system that was evaluated")],
    *,
    passed: Annotated[bool, typer.Option("--passed/--failed", help="the result")],
    reason: ReasonOption,
    tenant: TenantOption = None,
) -> None:
    """Tell the result of a behavioural evaluation of a recovered system."""
    decide(DecisionKind.EVALUATION, incident, reason, tenant=tenant, target=system, passed=passed)


@app.command(epilog=example("tidewatch incidents metrics --format json"))
def metrics(*, form: FormatOption = Format.TEXT) -> None:
    """Show times to detect and to contain, and how many were closed as false positives."""
    figures = case_metrics(list(all_incidents().values()))
    if form is Format.JSON:
        print_json(figures)
        return
    print_table(("figure", "value"), [(name, value) for name, value in figures.items()])


def case_metrics(incidents: list[IncidentDocument]) -> dict[str, Any]:
    """Return mean, median and p95 of the times to detect and contain, in seconds, and counts.

    Incidents found by later intelligence are counted separately: their clock starts at the fact.
    """
    figures: dict[str, Any] = {
        "incidents": len(incidents),
        "closed": sum(doc.status in {"closed", "false-positive"} for doc in incidents),
        "false_positives": sum(doc.status == "false-positive" for doc in incidents),
    }
    for name, values in (
        (
            "detect_first_sight",
            [
                doc.processing.seconds_to_detect
                for doc in incidents
                if not doc.processing.retro and doc.processing.seconds_to_detect is not None
            ],
        ),
        (
            "detect_retro_hunt",
            [
                doc.processing.seconds_to_detect
                for doc in incidents
                if doc.processing.retro and doc.processing.seconds_to_detect is not None
            ],
        ),
        (
            "contain",
            [
                doc.processing.seconds_to_contain
                for doc in incidents
                if doc.processing.seconds_to_contain is not None
            ],
        ),
    ):
        ordered = sorted(values)
        figures[f"{name}_count"] = len(ordered)
        if ordered:
            figures[f"{name}_mean"] = round(sum(ordered) / len(ordered), 3)
            figures[f"{name}_median"] = round(statistics.median(ordered), 3)
            # nearest rank: the least value that 95 of 100 do not exceed
            figures[f"{name}_p95"] = round(ordered[math.ceil(len(ordered) * 0.95) - 1], 3)
    return figures
