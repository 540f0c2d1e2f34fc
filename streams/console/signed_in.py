"""A request of a signed-in person: session, roles, index and answers, shared by the pages."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, Final, Protocol
from urllib.parse import parse_qs, urlsplit

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from agents.logs import Logger
from schemas.errors import TidewatchError
from schemas.key_bindings import NotAuthorisedError
from streams.console.changing import Change
from streams.console.config import ConsoleConfig
from streams.console.deciding import Decide
from streams.console.index import Index
from streams.console.openid import OpenId
from streams.console.pages import link, page, secured
from streams.console.queries import IndexReader, SlowQueryError
from streams.console.saved_views import SavedViews
from streams.console.sessions import Session, Sessions, same
from streams.console.uploads import Upload, Uploads
from streams.console.viewer import Role, Viewer
from streams.http.bodies import read_body
from streams.http.multipart import KIND as MULTIPART
from streams.http.multipart import parts_of
from streams.http.problems import HttpError
from streams.kafka.lag import Progress

log = Logger()

MOST_FIELDS: Final = 64
MOST_VALUE: Final = 8_000
MOST_TEXT: Final = 200_000
"""Characters of a field of `TEXTS`; a longer one is refused, as a part of it may mean another."""
TEXTS: Final = frozenset({"policy", "feed"})
NAV: Final = (
    ("Overview", "/", Role.VIEWER, False),
    ("Incidents", "/incidents", Role.VIEWER, False),
    ("Components", "/components", Role.VIEWER, False),
    ("Indicators", "/indicators", Role.VIEWER, False),
    ("Containment", "/holds", Role.VIEWER, False),
    ("Dead letters", "/dead-letters", Role.VIEWER, False),
    ("Policies", "/policies", Role.VIEWER, False),
    ("Producers", "/producers", Role.ADMIN, False),
    ("Intelligence", "/intelligence", Role.VIEWER, True),
    ("Health", "/health", Role.VIEWER, False),
)
"""Each page of the navigation: its name, address, least role, and whether it is the operator's."""


class StatusSource(Protocol):
    """The state of the index and of the applications."""

    @property
    def whole(self) -> bool:
        """Whether all that was on the topics at the start has been read."""

    @property
    def behind(self) -> int:
        """The number of records that are not in the index yet."""

    @property
    def reachable(self) -> bool:
        """Whether the brokers answered the latest request."""

    @property
    def progress(self) -> Mapping[str, Progress]:
        """The lag of each application."""


class Services(msgspec.Struct, kw_only=True):
    """The services that the pages of one console share."""

    config: ConsoleConfig
    index: Index
    sessions: Sessions
    saved: SavedViews
    uploads: Uploads = msgspec.field(default_factory=Uploads)
    status: StatusSource
    decide: Decide
    """Writes decisions."""
    change: Change
    """Writes policies and intelligence, and replays dead letters."""
    openid: OpenId | None = None
    """The provider at which people sign in; None: by a one-time link."""
    secure: bool = False
    """Whether browsers reach it by TLS."""
    hosts: frozenset[str] = frozenset()
    """The names under which it answers; empty: any."""
    stop: asyncio.Event = msgspec.field(default_factory=asyncio.Event)
    """Set when the console ends."""

    @property
    def cookie(self) -> str:
        """The name of the session's cookie."""
        return "__Host-tidewatch" if self.secure else f"tidewatch-{self.config.listen.port}"

    def token(self, request: Request) -> str | None:
        """Return the token of the session that a request belongs to."""
        return request.cookies.get(self.cookie)


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A request of a person who is signed in."""

    request: Request
    services: Services
    session: Session
    form: Mapping[str, str] = {}
    """The fields of a form that was sent."""
    files: Mapping[str, Upload] = {}
    """Its files, without empty file fields."""

    @property
    def viewer(self) -> Viewer:
        """The person who asks."""
        return self.session.viewer

    @property
    def reader(self) -> IndexReader:
        """The index, as this person may read it."""
        return IndexReader(self.services.index, self.viewer)

    def text(self, name: str, most: int = 200) -> str:
        """Return a parameter of the query, without blanks around it."""
        return self.request.query_params.get(name, "").strip()[:most]

    def number(self, name: str, default: int = 1) -> int:
        """Return a parameter that is a whole number of at least 1."""
        text = self.text(name, 9)
        return max(1, int(text)) if text.isascii() and text.isdecimal() else default

    def page(self, name: str, values: Mapping[str, Any], status: int = 200) -> Response:
        """Return the answer of a page.

        Args:
            name: The template.
            values: What it names, besides what every page does.
            status: The HTTP status.
        """
        return page(name, {**self._common(), **values}, status)

    def _common(self) -> dict[str, Any]:
        """Return the variables of every page."""
        request, status, viewer = self.request, self.services.status, self.viewer
        query = request.url.query
        return {
            "viewer": viewer,
            "csrf": self.session.csrf,
            "here": request.url.path + (f"?{query}" if query else ""),
            "path": request.url.path,
            "nav": [
                (name, path)
                for name, path, role, operators in NAV
                if viewer.may(role) and (viewer.everything or not operators)
            ],
            "whole": status.whole,
            "behind": status.behind,
            "reachable": status.reachable,
            "reader": self.reader,
            "Role": Role,
        }


Handler = Callable[[Asked], Response]
Endpoint = Callable[[Request], Awaitable[Response]]


def signed_in(
    services: Services,
    handler: Handler,
    *,
    role: Role = Role.VIEWER,
    operator: bool = False,
    files: bool = False,
) -> Endpoint:
    """Return an endpoint for people who are signed in; others are sent to sign in.

    The handler runs in a thread: it reads the index.

    Args:
        services: The console's.
        handler: The handler.
        role: The least role required.
        operator: Whether it is for the operator only.
        files: Whether a form may carry files.
    """

    async def endpoint(request: Request) -> Response:
        session = None
        try:
            check_host(services, request)
            session = services.sessions.of(services.token(request))
            if session is None:
                return _to_sign_in(request)
            _check_role(session.viewer, role, operator=operator)
            asked = Asked(request=request, services=services, session=session)
            if request.method == "POST":
                form, sent = await _form(services, request, session, files=files)
                asked = msgspec.structs.replace(asked, form=form, files=sent)
            return await run_in_threadpool(handler, asked)
        except TidewatchError as error:
            return failed(services, request, session, error)
        except Exception:
            # an error of one page: shown as a page, without its text
            log.exception("page-failed", path=request.url.path)
            fault = HttpError(HTTPStatus.INTERNAL_SERVER_ERROR, "the page could not be made")
            return failed(services, request, session, fault)

    return endpoint


def _check_role(viewer: Viewer, role: Role, *, operator: bool) -> None:
    if viewer.may(role) and (viewer.everything or not operator):
        return
    whom = f"a user with the role {role}" + (" for all tenants" if operator else "")
    raise HttpError(HTTPStatus.FORBIDDEN, "your role does not allow this", remedy=f"ask {whom}")


def failed(
    services: Services, request: Request, session: Session | None, error: TidewatchError
) -> Response:
    """Return the page of an error.

    Args:
        services: The console's.
        request: The request.
        session: The session, if a person is signed in.
        error: The error; it is also logged unless the request caused it.
    """
    status = HTTPStatus.SERVICE_UNAVAILABLE
    if isinstance(error, HttpError):
        status = error.status
    elif isinstance(error, NotAuthorisedError):
        status = HTTPStatus.FORBIDDEN
    if not isinstance(error, HttpError | SlowQueryError):
        log.error("console-failed", error=error.explain(), path=request.url.path)
    values: dict[str, Any] = {"title": error.what, "remedy": error.remedy, "status": int(status)}
    if session is None:
        return page("outside.html", values, status)
    asked = Asked(request=request, services=services, session=session)
    return asked.page("error.html", values, status)


def not_found(what: str) -> HttpError:
    """Return the error for something missing or not readable for this person, without saying which.

    Args:
        what: The missing thing.
    """
    return HttpError(
        HTTPStatus.NOT_FOUND, f"there is no such {what}", remedy="it may have been closed, or moved"
    )


def check_host(services: Services, request: Request) -> None:
    """Refuse a request under another name: it was made for another site.

    Raises:
        HttpError: 421.
    """
    host = request.headers.get("host", "").rpartition("@")[2].lower()
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    if services.hosts and name.strip("[]") not in services.hosts:
        raise HttpError(
            HTTPStatus.MISDIRECTED_REQUEST,
            "the console does not serve this host name",
            remedy="use the address that it was started with, or set url",
        )


def _to_sign_in(request: Request) -> Response:
    """Return the redirect to sign-in, which leads back to the requested page."""
    if request.method not in {"GET", "HEAD"}:
        raise HttpError(HTTPStatus.UNAUTHORIZED, "you are not signed in", remedy="sign in again")
    if request.headers.get("hx-request") or request.url.path == "/events":
        raise HttpError(HTTPStatus.UNAUTHORIZED, "you are not signed in", remedy="sign in again")
    if request.headers.get("sec-fetch-site") == "cross-site":
        # a link on another site is followed without the cookie: ask again from here
        return page("again.html", {"here": _here(request)})
    return secured(RedirectResponse(link("/sign-in", to=_here(request)), HTTPStatus.SEE_OTHER))


def _here(request: Request) -> str:
    query = request.url.query
    return request.url.path + (f"?{query}" if query else "")


def local_target(text: str) -> str:
    """Return an address to redirect to: `/` unless it belongs to this console.

    Args:
        text: The address in a request.
    """
    parts = urlsplit(text)
    own = text.startswith("/") and not text.startswith(("//", "/\\")) and not parts.netloc
    return text if own and text.isprintable() and "\\" not in text else "/"


async def _form(
    services: Services, request: Request, session: Session, *, files: bool
) -> tuple[dict[str, str], dict[str, Upload]]:
    """Return the fields of a form, which must come from a page of this session, and its files.

    Raises:
        HttpError: It comes from another site, or is not a form.
    """
    limits = services.config.limits
    raw = await read_body(request, limit=limits.body_bytes, seconds=limits.body_seconds)
    declared = request.headers.get("content-type", "")
    kind = declared.partition(";")[0].strip().lower()
    sent: dict[str, Upload] = {}
    if kind == "application/x-www-form-urlencoded":
        found = _fields(raw)
    elif kind == MULTIPART and files:
        parts = await run_in_threadpool(parts_of, raw, declared, MOST_FIELDS)
        found = {
            part.name: part.value.decode("utf-8", "replace") for part in parts if part.file is None
        }
        sent = {part.name: Upload(part.file, part.value) for part in parts if part.file}
    else:
        raise HttpError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "this is not a form of the console")
    form = {name: value if name in TEXTS else value[:MOST_VALUE] for name, value in found.items()}
    if any(len(form.get(name, "")) > MOST_TEXT for name in TEXTS):
        raise HttpError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the text is too long")
    elsewhere = request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}
    if elsewhere or not same(form.get("csrf", ""), session.csrf):
        raise HttpError(
            HTTPStatus.FORBIDDEN,
            "the form belongs to another session",
            remedy="reload the page and submit it again",
        )
    return form, sent


def _fields(raw: bytes) -> dict[str, str]:
    """Return the fields of a form without files; of several of a name the last."""
    try:
        found = parse_qs(
            raw.decode("ascii"), keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict"
        )
    except ValueError:
        raise HttpError(HTTPStatus.BAD_REQUEST, "the form can't be read") from None
    return {name: values[-1] for name, values in found.items()}
