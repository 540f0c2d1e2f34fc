"""Importing uploaded or pasted intelligence, and withdrawing facts: only the operator's admins."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any, Final

import msgspec
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from agents.intelligence.feed import Feed, InvalidFeedError
from agents.intelligence.snapshot import SnapshotManifest, check_snapshot, require_count
from agents.logs import Logger
from streams.cli.intel import FeedKind, read_feed
from streams.cli.output import plain
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
from streams.console.uploads import Upload
from streams.console.viewer import Role

log = Logger()

LISTED: Final = 50
"""Components that a page lists as affected."""
SOURCE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
DEFAULT_SOURCE: Final = "console"


class _Given(msgspec.Struct, frozen=True, kw_only=True):
    """A feed to be imported."""

    kind: FeedKind
    source: str
    text: str = ""
    """The pasted text."""
    file: Upload | None = None
    manifest: Upload | None = None

    @property
    def name(self) -> str:
        """Its name in errors."""
        return plain(self.file.name, 200) if self.file is not None else "the feed"

    @property
    def raw(self) -> bytes:
        """Its bytes."""
        return self.text.encode("utf-8", "replace") if self.file is None else self.file.raw


def routes(services: Services) -> list[BaseRoute]:
    """Return the routes of changing intelligence."""

    def admins(handler: Handler, *, files: bool = False) -> Endpoint:
        return signed_in(services, handler, role=Role.ADMIN, operator=True, files=files)

    return [
        Route("/intelligence/import", admins(_ask), methods=["GET"]),
        Route("/intelligence/import", admins(_sent, files=True), methods=["POST"]),
        Route("/fact", admins(_withdraw), methods=["POST"]),
    ]


def _ask(asked: Asked) -> Response:
    return _form(asked, _Given(kind=FeedKind.AUTO, source=DEFAULT_SOURCE))


def _form(
    asked: Asked, given: _Given, problem: str = "", status: HTTPStatus = HTTPStatus.OK
) -> Response:
    config = asked.services.config
    return asked.page(
        "intelligence_import.html",
        {
            "kinds": list(FeedKind),
            "kind": given.kind,
            "source": given.source,
            "text": preformatted(given.text),
            "problem": problem,
            "most": MOST_TEXT,
            "most_bytes": config.limits.body_bytes,
            "signed": config.intelligence.key is not None,
        },
        status,
    )


def _sent(asked: Asked) -> Response:
    step = asked.form.get("step", "")
    given = _given(asked)
    if step == "edit":
        return _form(asked, given)
    try:
        given = _with_file(asked, given)
        feed, prefix, signed = _read(asked, given)
    except InvalidFeedError as error:
        said = f"{error.what}; {error.remedy}" if error.remedy else error.what
        return _form(asked, given, said, HTTPStatus.UNPROCESSABLE_ENTITY)
    publish = step == "import"
    change = asked.services.change.import_feed(feed, prefix, publish=publish)
    if publish:
        log.info(
            "console-intel-imported",
            viewer=asked.viewer.name,
            source=prefix,
            published=len(change.facts),
            withdrawn=len(change.tombstones),
            signed_by=signed.key_id if signed is not None else None,
        )
        asked.services.uploads.drop(asked.session.csrf)
        return secured(
            RedirectResponse(link("/intelligence", done="imported"), HTTPStatus.SEE_OTHER)
        )
    shown: dict[str, Any] = {
        "kind": given.kind,
        "source": given.source,
        "text": preformatted(given.text),
        "upload": "",
        "feed": feed,
        "change": change,
        "facts": change.facts[:LISTED],
        "dropped": change.tombstones[:LISTED],
        "signed": signed,
    }
    if given.file is not None:
        digest = asked.services.uploads.keep(asked.session.csrf, given.file, given.manifest)
        shown |= {"upload": digest, "file": given.name, "size": len(given.raw)}
    return asked.page("intelligence_compared.html", shown)


def _given(asked: Asked) -> _Given:
    """Return the fields of a form, without a file."""
    form = asked.form
    return _Given(
        kind=FeedKind(form["kind"]) if form.get("kind") in set(FeedKind) else FeedKind.AUTO,
        source=form.get("source", "").strip() or DEFAULT_SOURCE,
        # the compared bytes are those that are imported
        text=plain_lines(form.get("feed", "")),
    )


def _with_file(asked: Asked, given: _Given) -> _Given:
    """Return the feed to import, with the file sent now or when it was compared.

    Raises:
        InvalidFeedError: There is nothing to import.
    """
    file, manifest = asked.files.get("file"), asked.files.get("manifest")
    if digest := asked.form.get("upload", ""):
        kept = asked.services.uploads.find(asked.session.csrf, digest)
        if kept is None:
            raise InvalidFeedError("the uploaded file is not available", remedy="choose it again")
        file, manifest = kept
    if file is None and not given.text.strip():
        raise InvalidFeedError("no feed was given", remedy="choose a file, or paste one")
    return msgspec.structs.replace(given, file=file, manifest=manifest)


def _read(asked: Asked, given: _Given) -> tuple[Feed, str, SnapshotManifest | None]:
    """Return the facts, the prefix of their source's names, and the publisher's manifest.

    Raises:
        InvalidFeedError: It can't be read, or lacks a required signature.
        ConsoleConfigError: The key that must sign it can't be read.
    """
    if not SOURCE.fullmatch(given.source):
        raise InvalidFeedError(
            "the name of the source is invalid", remedy="use letters, digits, dots and hyphens"
        )
    key = asked.services.config.intelligence.read_key()
    signed = None
    if key is not None:
        if given.file is None or given.manifest is None:
            raise InvalidFeedError(
                "the feed is unsigned", remedy="choose its file, and the manifest that came with it"
            )
        signed = check_snapshot(given.raw, given.manifest.raw, key, given.name)
    feed, prefix = read_feed(given.raw, given.kind, given.name, given.source)
    if signed is not None:
        require_count(feed, signed, given.name)
    return feed, prefix, signed


def _withdraw(asked: Asked) -> Response:
    key = asked.form.get("key", "")[:600]
    if asked.reader.fact(key) is None:
        raise not_found("fact")
    asked.services.change.withdraw(key)
    log.info("console-intel-withdrawn", viewer=asked.viewer.name, key=key)
    return secured(RedirectResponse(link("/intelligence", done="withdrawn"), HTTPStatus.SEE_OTHER))
