"""Importing intelligence that is pasted, and withdrawing facts: only the operator's admins."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Final

from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from agents.intelligence.feed import InvalidFeedError
from agents.logs import Logger
from streams.cli.intel import FeedKind, read_feed
from streams.console.pages import link, plain_lines, preformatted, secured
from streams.console.signed_in import (
    MOST_TEXT,
    Asked,
    Endpoint,
    Handler,
    Services,
    not_found,
    signed_in,
)
from streams.console.viewer import Role

log = Logger()

LISTED: Final = 50
"""Components that a page lists as affected."""
SOURCE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
DEFAULT_SOURCE: Final = "console"


def routes(services: Services) -> list[BaseRoute]:
    """Return the routes of changing intelligence."""

    def admins(handler: Handler) -> Endpoint:
        return signed_in(services, handler, role=Role.ADMIN, operator=True)

    return [
        Route("/intelligence/import", admins(_ask), methods=["GET"]),
        Route("/intelligence/import", admins(_sent), methods=["POST"]),
        Route("/fact", admins(_withdraw), methods=["POST"]),
    ]


def _ask(asked: Asked) -> Response:
    return _form(asked, FeedKind.AUTO, DEFAULT_SOURCE, "")


def _form(
    asked: Asked,
    kind: FeedKind,
    source: str,
    text: str,
    problem: str = "",
    status: HTTPStatus = HTTPStatus.OK,
) -> Response:
    return asked.page(
        "intelligence_import.html",
        {
            "kinds": list(FeedKind),
            "kind": kind,
            "source": source,
            "text": preformatted(text),
            "problem": problem,
            "most": MOST_TEXT,
        },
        status,
    )


def _sent(asked: Asked) -> Response:
    form = asked.form
    kind = FeedKind(form["kind"]) if form.get("kind") in set(FeedKind) else FeedKind.AUTO
    source = form.get("source", "").strip() or DEFAULT_SOURCE
    # what is compared is what is sent on, and imported
    text, step = plain_lines(form.get("feed", "")), form.get("step", "")
    if step == "edit":
        return _form(asked, kind, source, text)
    try:
        _check_source(source)
        feed, prefix = read_feed(text.encode("utf-8", "replace"), kind, "the feed", source)
    except InvalidFeedError as error:
        said = f"{error.what}; {error.remedy}" if error.remedy else error.what
        return _form(asked, kind, source, text, said, HTTPStatus.UNPROCESSABLE_ENTITY)
    publish = step == "import"
    change = asked.services.change.import_feed(feed, prefix, publish=publish)
    if publish:
        log.info(
            "console-intel-imported",
            viewer=asked.viewer.name,
            source=prefix,
            published=len(change.facts),
            withdrawn=len(change.tombstones),
        )
        return secured(
            RedirectResponse(link("/intelligence", done="imported"), HTTPStatus.SEE_OTHER)
        )
    return asked.page(
        "intelligence_compared.html",
        {
            "kind": kind,
            "source": source,
            "text": preformatted(text),
            "feed": feed,
            "change": change,
            "facts": change.facts[:LISTED],
            "dropped": change.tombstones[:LISTED],
        },
    )


def _check_source(source: str) -> None:
    if not SOURCE.fullmatch(source):
        raise InvalidFeedError(
            "the source has no such name", remedy="use letters, digits, dots and hyphens"
        )


def _withdraw(asked: Asked) -> Response:
    key = asked.form.get("key", "")[:600]
    if asked.reader.fact(key) is None:
        raise not_found("fact")
    asked.services.change.withdraw(key)
    log.info("console-intel-withdrawn", viewer=asked.viewer.name, key=key)
    return secured(RedirectResponse(link("/intelligence", done="withdrawn"), HTTPStatus.SEE_OTHER))
