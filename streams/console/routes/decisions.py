"""Deciding about an incident: the effects of a decision before and after it is made."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from agents.triage.incidents.rows import TEXT_BYTES
from schemas.decisions import COMPUTED, MOST_DAYS, SEVERITY_TARGETS, DecisionKind
from schemas.errors import TidewatchError
from schemas.incidents.views import IncidentDocument
from schemas.severity import Severity
from streams.console.actions import ABOUT_COMMANDS, ACTS, Act, Plan, allowed, planned
from streams.console.pages import link, part, secured
from streams.console.routes.incidents import found_case
from streams.console.selections import Case
from streams.console.signed_in import Asked, Services, signed_in
from streams.console.viewer import Role
from streams.http.problems import HttpError

MOST_REASON: Final = TEXT_BYTES
"""Bytes of a reason: an incident keeps no more of it."""
MOST_NAME: Final = 200
WHOLE: Final = "*"
"""The choice of all tenants, of the operator."""


def routes(services: Services) -> list[BaseRoute]:
    """Return the routes of decisions."""
    one = "/incidents/{incident}"
    return [
        Route(f"{one}/decide", signed_in(services, _ask, role=Role.ANALYST), methods=["GET"]),
        Route(f"{one}/decide", signed_in(services, _decide, role=Role.ANALYST), methods=["POST"]),
        Route(f"{one}/decided", signed_in(services, _decided, role=Role.ANALYST), methods=["GET"]),
    ]


def _act(asked: Asked, name: str) -> Act:
    act = ACTS.get(DecisionKind(name)) if name in set(DecisionKind) else None
    if act is None:
        raise HttpError(HTTPStatus.NOT_FOUND, "the decision does not exist")
    if not allowed(asked.viewer, act):
        whom = f"a user with the role {act.role}" + (" for all tenants" if act.operator else "")
        raise HttpError(HTTPStatus.FORBIDDEN, f"your role may not {act.kind}", remedy=f"ask {whom}")
    return act


def _part_of(asked: Asked, case: Case, chosen: str) -> str | None:
    """Return the part that a decision is for: a tenant's viewer decides for that tenant alone."""
    if not asked.viewer.everything:
        return case.tenant
    if chosen in {"", WHOLE}:
        return None
    if chosen not in {tenant_part.tenant for tenant_part in case.document.tenants}:
        raise HttpError(HTTPStatus.BAD_REQUEST, "this tenant has no part in the incident")
    return chosen


def _plan(asked: Asked, case: Case, act: Act, *, target: str, tenant: str) -> Plan:
    try:
        return planned(case.document, act, target=target, tenant=_part_of(asked, case, tenant))
    except HttpError:
        raise
    except TidewatchError as error:
        # it was done or decided in the meantime
        raise HttpError(HTTPStatus.CONFLICT, error.what, remedy=error.remedy) from None


def _ask(asked: Asked) -> Response:
    case = found_case(asked)
    act = _act(asked, asked.text("kind"))
    plan = _plan(asked, case, act, target=asked.text("target", 600), tenant=asked.text("for"))
    return _form(asked, case, plan)


def _form(asked: Asked, case: Case, plan: Plan, *, reason: str = "", problem: str = "") -> Response:
    document = case.document
    return asked.page(
        "decide.html",
        {
            "incident": document,
            "plan": plan,
            "reason": reason,
            "problem": problem,
            "of_tenant": case.tenant,
            "back": link(f"/incidents/{part(document.id)}", tenant=case.tenant),
            "action": link(f"/incidents/{part(document.id)}/decide", tenant=case.tenant),
            "choices": [tenant_part.tenant for tenant_part in document.tenants]
            if asked.viewer.everything
            and plan.act.target in {"", "days", "severity"}
            and document.tenant_count > 1
            else [],
            "people": asked.reader.assignees(),
            "most": MOST_REASON,
            "severities": [*(severity.value for severity in reversed(Severity)), COMPUTED],
            "days": asked.form.get("days", "7"),
            "most_days": MOST_DAYS,
        },
        HTTPStatus.BAD_REQUEST if problem else HTTPStatus.OK,
    )


def _decide(asked: Asked) -> Response:
    case = found_case(asked)
    form = asked.form
    act = _act(asked, form.get("kind", ""))
    target = form.get("target", "").strip()
    plan = _plan(asked, case, act, target=target, tenant=form.get("for", ""))
    reason = form.get("reason", "").strip()
    problem = ""
    days: int | None = None
    if not reason or len(reason.encode("utf-8", "replace")) > MOST_REASON:
        problem = "say why" if not reason else f"write at most {MOST_REASON} bytes"
    elif act.target == "person" and not 0 < len(target) <= MOST_NAME:
        problem = "say to whom"
    elif act.target == "severity" and target not in SEVERITY_TARGETS:
        problem = "choose a severity"
    elif act.target == "days" and (days := _days(form.get("days", ""))) is None:
        problem = f"enter a number of days, 1 to {MOST_DAYS}"
    if problem:
        return _form(asked, case, plan, reason=reason, problem=problem)
    decision = asked.services.decide(
        asked.viewer.name,
        act.kind,
        case.document.id,
        reason,
        tenant=plan.tenant,
        target=plan.target,
        passed=plan.passed,
        days=days,
    )
    return secured(
        RedirectResponse(
            link(
                f"/incidents/{part(case.document.id)}/decided",
                tenant=case.tenant,
                id=decision.id,
                kind=act.kind,
                target=plan.target or "",
            ),
            HTTPStatus.SEE_OTHER,
        )
    )


def _days(text: str) -> int | None:
    """Return a number of days, None if it is none that a suppression may last."""
    text = text.strip()
    known = text.isascii() and text.isdecimal() and len(text) <= len(str(MOST_DAYS))
    return int(text) if known and 1 <= int(text) <= MOST_DAYS else None


def _decided(asked: Asked) -> Response:
    case = found_case(asked)
    kind, target, uid = asked.text("kind"), asked.text("target", 600), asked.text("id")
    document = case.document
    entries = [entry for entry in document.timeline if entry.ref == uid and uid]
    command = None
    if kind in ABOUT_COMMANDS:
        command = next((v for v in document.commands if v.spec.command_id == target), None)
    return asked.page(
        "decided.html",
        {
            "incident": document,
            "kind": kind,
            "uid": uid,
            "entry": entries[0] if entries else None,
            "command": command,
            "task": _task(document, target),
            "refusal": asked.reader.refusal(uid) if not entries else None,
            "back": link(f"/incidents/{part(document.id)}", tenant=case.tenant),
        },
    )


def _task(document: IncidentDocument, target: str) -> object | None:
    return next((task for task in document.tasks if task.id == target), None)
