"""The list of incidents, one incident, and its exports."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

import msgspec
from markupsafe import Markup
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from agents.domain.rules import rule_named
from schemas.atlas import attacks
from schemas.decisions import DecisionKind
from schemas.errors import TidewatchError
from schemas.incidents.states import IncidentStatus, Occurrence, TaskState
from schemas.incidents.views import FindingView
from schemas.severity import Severity, Tlp
from streams.cli.incident_list import SortKey, since_when
from streams.console.actions import ACTS, allowed, offered, offered_for
from streams.console.pages import link, part, secured
from streams.console.saved_views import NAME
from streams.console.selections import Case, CaseSelection
from streams.console.signed_in import Asked, Services, not_found, signed_in
from streams.http.problems import HttpError
from streams.reports.graph_folding import MOST_FOLDED, Fold, Folded, Folding, folded, folding_of
from streams.reports.impact import impact
from streams.reports.incident_export import OF_PARTNERS, ExportFormat, exported
from streams.reports.incident_graph import Graph, incident_graph, svg, tree
from streams.reports.incident_words import (
    Defanging,
    authorised,
    next_steps,
    summary,
    where,
)

_SINCE: Final = ("1h", "24h", "7d", "30d")
SHOWN: Final = 12
"""Commands, tasks and entries of the timeline that a page shows at once; the rest unfolds."""
EVIDENCE_FIELDS: Final = 24
"""Most fields of a finding's evidence that a page shows."""
_GRAPH: Final = "svg"
_FILES: Final = {
    ExportFormat.MARKDOWN: ("text/markdown", "md"),
    ExportFormat.HTML: ("text/html", "html"),
    ExportFormat.JSON: ("application/json", "json"),
    ExportFormat.STIX: ("application/stix+json;version=2.1", "stix.json"),
    ExportFormat.MISP: ("application/json", "misp.json"),
}
"""The content type and the file suffix of each format."""
DOWNLOAD: Final = "sandbox; default-src 'none'; style-src 'unsafe-inline'"
"""The policy of a file that is downloaded: it has its own style, and runs nothing."""


def routes(services: Services) -> list[BaseRoute]:
    """Return the routes of incidents."""
    one = "/incidents/{incident}"
    return [
        Route("/incidents", signed_in(services, _list), methods=["GET"]),
        Route(one, signed_in(services, _incident), methods=["GET"]),
        Route(f"{one}/export.{{form}}", signed_in(services, _export), methods=["GET"]),
    ]


def selection(asked: Asked) -> CaseSelection:
    """Return the selection of incidents in a request; invalid choices are left out."""
    statuses = tuple(
        status
        for status in asked.request.query_params.getlist("status")
        if status in set(IncidentStatus)
    )
    severity = asked.text("severity")
    sort = asked.text("sort")
    assignee = asked.request.query_params.get("assignee")
    if assignee == "me":
        assignee = asked.viewer.name
    elif assignee == "nobody":
        assignee = ""
    elif assignee is not None:
        assignee = assignee.strip()[:200] or None
    since = asked.text("since")
    try:
        since_ms = round(since_when(since, datetime.now(UTC)).timestamp() * 1000) if since else 0
    except TidewatchError as error:
        raise HttpError(HTTPStatus.BAD_REQUEST, error.what, remedy=error.remedy) from None
    return CaseSelection(
        text=asked.text("q"),
        # open ones unless something else is asked for
        open=asked.text("show") != "all" and not statuses,
        statuses=statuses,
        severity=Severity(severity) if severity in set(Severity) else None,
        tenant=asked.text("tenant"),
        assignee=assignee,
        waiting=asked.text("waiting") == "1",
        since_ms=since_ms,
        sort=SortKey(sort) if sort in set(SortKey) else SortKey.SCORE,
        reverse=asked.text("reverse") == "1",
        page=asked.number("page"),
    )


def _list(asked: Asked) -> Response:
    chosen = selection(asked)
    found = asked.reader.cases(chosen)
    query = dict(asked.request.query_params.multi_items())
    query.pop("page", None)
    statuses = list(chosen.statuses)

    def again(**changed: object) -> str:
        """Return the address of this list with other parameters."""
        given: dict[str, object] = {**query, "status": statuses, **changed}
        return link("/incidents", **given)

    return asked.page(
        "incidents.html",
        {
            "chosen": chosen,
            "found": found,
            "query": query,
            "again": again,
            "views": _views(),
            "saved": [
                (view.name, f"/incidents?{view.query}" if view.query else "/incidents")
                for view in asked.services.saved.of(asked.viewer.name)
            ],
            "name_length": NAME,
            "statuses": list(IncidentStatus),
            "severities": list(reversed(Severity)),
            "sorts": list(SortKey),
            "since": _SINCE,
            "tenants": asked.reader.tenants(),
            "assignees": asked.reader.assignees(),
        },
    )


def _views() -> list[tuple[str, str]]:
    """Return the standard views: a name and an address."""
    return [
        ("Open", link("/incidents")),
        ("Wait for a person", link("/incidents", waiting=True)),
        ("Mine", link("/incidents", assignee="me")),
        ("Nobody's", link("/incidents", assignee="nobody")),
        ("Critical and high", link("/incidents", severity="high")),
        ("Changed today", link("/incidents", since="24h", sort="changed")),
        ("All", link("/incidents", show="all", sort="changed")),
    ]


def found_case(asked: Asked) -> Case:
    """Return the incident that the path of a request names.

    Raises:
        HttpError: There is none that this person may read.
    """
    case = asked.reader.case(asked.request.path_params["incident"], asked.text("tenant"))
    if case is None:
        raise not_found("incident")
    return case


def _incident(asked: Asked) -> Response:
    case = found_case(asked)
    return asked.page("incident.html", incident_values(asked, case))


def incident_values(asked: Asked, case: Case) -> dict[str, Any]:
    """Return the values of the page of an incident.

    Args:
        asked: The request.
        case: The incident.
    """
    document = case.document
    defanged = Defanging(document)
    graph = incident_graph(document)
    folding = folding_of(asked.text("fold"), asked.text("turned", MOST_FOLDED))
    part_of = folded(graph, folding)
    parts = asked.reader.parts(document.id)
    related = asked.reader.titles(document.related)
    commands = [
        (number, view, offered_for(asked.viewer, document, view))
        for number, view in enumerate(document.commands, 1)
    ]
    # tasks of this person first
    commands.sort(key=lambda command: not command[2])
    tasks = sorted(
        enumerate(document.tasks, 1), key=lambda numbered: numbered[1].state is TaskState.DONE
    )
    return {
        "case": case,
        "incident": document,
        "defanged": defanged,
        "summary": summary(document),
        "steps": next_steps(document),
        "assigned": sorted(
            {tenant_part.assignee for tenant_part in document.tenants if tenant_part.assignee}
        ),
        "shown": SHOWN,
        "findings": [_finding(view) for view in document.findings],
        "impact": impact(document),
        "tree": tree(graph),
        "graph": _drawn(part_of, folding, case) if document.systems else None,
        "folds": _folds(folding, case) if part_of.switches else [],
        "commands": commands,
        "acts": offered(asked.viewer, document),
        "completes": allowed(asked.viewer, ACTS[DecisionKind.EVALUATION]),
        "authorised": authorised,
        "tasks": tasks,
        "TaskState": TaskState,
        "timeline": document.timeline[::-1],
        "decided": [entry for entry in document.timeline if entry.what is Occurrence.DECIDED],
        "of_tenants": parts,
        "related": [related[other] for other in document.related if other in related],
        "attacks": attacks(document.techniques),
        "own": f"/incidents/{part(document.id)}",
        "of_tenant": case.tenant,
    }


def _drawn(shown: Folded, folding: Folding, case: Case) -> Markup:
    """Return the graph as part of a page; `svg` escapes its texts."""
    switches = {
        node: msgspec.structs.replace(switch, address=_turned(folding.turn(switch.key), case))
        for node, switch in shown.switches.items()
    }
    drawn = svg(shown.graph, styled=False, address=_address(shown.graph), switches=switches)
    return Markup(drawn)  # noqa: S704 -- see above


def _turned(folding: Folding, case: Case) -> str:
    """Return the address of an incident's page with its graph folded otherwise."""
    fold = None if folding.fold is Fold.LARGE else folding.fold
    turned = ".".join(sorted(folding.turned))
    own = f"/incidents/{part(case.document.id)}"
    return f"{link(own, tenant=case.tenant, fold=fold, turned=turned)}#spread"


def _folds(folding: Folding, case: Case) -> list[tuple[str, str, bool]]:
    """Return the ways to fold everything: a name, an address, and whether it is current."""
    return [
        (name, _turned(Folding(fold), case), folding == Folding(fold))
        for name, fold in (
            ("Large groups folded", Fold.LARGE),
            ("All folded", Fold.ALL),
            ("Nothing folded", Fold.NOTHING),
        )
    ]


def _address(graph: Graph) -> Callable[[str], str | None]:
    """Return the links of a graph's nodes: components have a page, systems none."""

    def address(node: str) -> str | None:
        known = node not in graph.systems and node not in graph.groups and ":" in node
        return link("/component", key=node) if known else None

    return address


def _finding(view: FindingView) -> dict[str, Any]:
    """Return a finding with the texts of its rule."""
    try:
        rule = rule_named(view.rule_id)
    except KeyError:  # of another version, or of the ledger
        rule = None
    evidence = [
        (name, value) for name, value in view.evidence.items() if value not in (None, "", [], {})
    ]
    return {
        "view": view,
        "where": where(view),
        "title": rule.title if rule is not None else view.rule_id,
        "why": " ".join(rule.description.split()) if rule is not None else "",
        "triage": list(rule.triage) if rule is not None else [],
        "evidence": evidence[:EVIDENCE_FIELDS],
        "more": max(0, len(evidence) - EVIDENCE_FIELDS),
        "basis": view.basis.kind.value if view.basis is not None else "claimed",
    }


def _export(asked: Asked) -> Response:
    case = found_case(asked)
    form = asked.request.path_params["form"]
    document = case.document
    if form == _GRAPH:
        text, kind, suffix = svg(incident_graph(document)), "image/svg+xml", form
    elif form in _FILES:
        wanted = ExportFormat(form)
        # partners' formats name no tenant, and a tenant's part no other tenant
        names_others = not case.tenant and wanted not in OF_PARTNERS
        kind, suffix = _FILES[wanted]
        text = exported(document, wanted, Tlp.AMBER_STRICT if names_others else Tlp.AMBER)
        if suffix.endswith("json"):
            text = msgspec.json.format(text, indent=2)
    else:
        raise not_found("export")
    name = "".join(
        char for char in document.id if char.isascii() and (char.isalnum() or char in "-_")
    )
    answer = Response(text, media_type=kind)
    answer.headers["content-disposition"] = f'attachment; filename="{name}.{suffix}"'
    return secured(answer, DOWNLOAD)
