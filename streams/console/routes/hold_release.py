"""Releasing a component that closed incidents contained: the effects before and after."""

from __future__ import annotations

from enum import StrEnum
from http import HTTPStatus
from typing import Final

import msgspec
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from schemas.decisions import DecisionKind
from schemas.errors import TidewatchError
from schemas.incidents.holds import HoldView
from schemas.incidents.states import Action
from streams.console.pages import link, secured
from streams.console.routes.decisions import MOST_REASON
from streams.console.signed_in import Asked, Services, not_found, signed_in
from streams.console.viewer import Role
from streams.http.problems import HttpError
from streams.releases import Release, releasable, releases

SHOWN: Final = 40
"""The most decisions whose outcome the next page follows, limited by the length of a URL."""


def routes(services: Services) -> list[BaseRoute]:
    """Return the routes of releasing."""
    return [
        Route("/hold/release", signed_in(services, _ask, role=Role.APPROVER), methods=["GET"]),
        Route("/hold/release", signed_in(services, _release, role=Role.APPROVER), methods=["POST"]),
        Route(
            "/hold/released", signed_in(services, _released, role=Role.APPROVER), methods=["GET"]
        ),
    ]


def _found(asked: Asked, tenant: str, component: str) -> HoldView:
    hold = asked.reader.hold(tenant, component)
    if hold is None:
        raise not_found("component that is held")
    return hold


def _decisions(hold: HoldView) -> list[Release]:
    """Return the decisions that release a component.

    Raises:
        HttpError: Nothing is held, or an open incident holds it.
    """
    try:
        return [release for thing in releasable(hold) for release in releases(thing)]
    except TidewatchError as error:
        remedy = "close the incident first, or as a false positive"
        raise HttpError(HTTPStatus.CONFLICT, error.what, remedy=remedy) from None


def _ask(asked: Asked) -> Response:
    hold = _found(asked, asked.text("tenant"), asked.text("component", 600))
    return _form(asked, hold, _decisions(hold))


def _form(
    asked: Asked, hold: HoldView, decisions: list[Release], *, reason: str = "", problem: str = ""
) -> Response:
    incidents = sorted({decision.incident for decision in decisions})
    return asked.page(
        "hold_release.html",
        {
            "hold": hold,
            "things": releasable(hold),
            "lasting": Action.REVOKE,
            "incidents": incidents,
            "titles": asked.reader.titles(incidents),
            "count": len(decisions),
            "reason": reason,
            "problem": problem,
            "most": MOST_REASON,
            "back": link("/hold", tenant=hold.tenant, component=hold.component),
        },
        HTTPStatus.BAD_REQUEST if problem else HTTPStatus.OK,
    )


def _release(asked: Asked) -> Response:
    form = asked.form
    hold = _found(asked, form.get("tenant", ""), form.get("component", ""))
    decisions = _decisions(hold)
    reason = form.get("reason", "").strip()
    if not reason or len(reason.encode("utf-8", "replace")) > MOST_REASON:
        problem = "say why" if not reason else f"write at most {MOST_REASON} bytes"
        return _form(asked, hold, decisions, reason=reason, problem=problem)
    written = [
        asked.services.decide(
            asked.viewer.name,
            DecisionKind.RELEASE,
            decision.incident,
            reason,
            tenant=hold.tenant,
            target=decision.target,
            passed=None,
        )
        for decision in decisions
    ]
    return secured(
        RedirectResponse(
            link(
                "/hold/released",
                tenant=hold.tenant,
                component=hold.component,
                id=[f"{entry.incident}.{entry.id}" for entry in written[:SHOWN]],
            ),
            HTTPStatus.SEE_OTHER,
        )
    )


def _released(asked: Asked) -> Response:
    hold = _found(asked, asked.text("tenant"), asked.text("component", 600))
    outcomes = [
        _outcome(asked, hold.tenant, *name.split(".", 1))
        for name in asked.request.query_params.getlist("id")[:SHOWN]
        if "." in name
    ]
    return asked.page(
        "hold_released.html",
        {
            "hold": hold,
            "outcomes": outcomes,
            "waits": any(outcome.state is _State.WAITS for outcome in outcomes),
            "titles": asked.reader.titles(outcome.incident for outcome in outcomes),
            "back": link("/hold", tenant=hold.tenant, component=hold.component),
        },
    )


class _State(StrEnum):
    COUNTS = "counts"
    WAITS = "waits"
    REFUSED = "refused"


class _Outcome(msgspec.Struct, frozen=True):
    incident: str
    id: str
    state: _State
    text: str


def _outcome(asked: Asked, tenant: str, incident: str, uid: str) -> _Outcome:
    """Return the outcome of one decision: it counts, was refused, or waits."""
    case = asked.reader.case(incident, tenant)
    timeline = case.document.timeline if case is not None else ()
    entry = next((entry for entry in timeline if entry.ref == uid), None)
    if entry is not None:
        return _Outcome(incident, uid, _State.COUNTS, entry.text)
    refusal = asked.reader.refusal(uid)
    state = _State.WAITS if refusal is None else _State.REFUSED
    return _Outcome(incident, uid, state, refusal or "")
