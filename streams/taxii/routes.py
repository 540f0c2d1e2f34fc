"""Answers TAXII 2.1 requests: discovery, collections, manifests, objects and versions.

Source: TAXII 2.1 (OASIS Standard), sections 3 to 5.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from schemas.severity import Tlp
from streams.http.problems import HttpError
from streams.http.secrets import Tokens
from streams.taxii.config import TaxiiConfig, TaxiiReader
from streams.taxii.filters import ObjectPage, matching, read_filters, versions_of
from streams.taxii.shelf import Collection, ObjectVersion, Shelf, from_micros

TAXII: Final = "application/taxii+json"
TAXII_21: Final = "application/taxii+json;version=2.1"
STIX_21: Final = "application/stix+json;version=2.1"
ROOT: Final = "shared"
_CHALLENGE: Final = 'Basic realm="taxii", charset="UTF-8", Bearer realm="taxii"'
_MEANING: Final = {
    Tlp.CLEAR: "for everyone",
    Tlp.GREEN: "for the community",
    Tlp.AMBER: "for the recipient's organisation and its clients",
    Tlp.AMBER_STRICT: "for the recipient's organisation only",
    Tlp.RED: "for the recipient only",
}

Answer = Callable[["TaxiiRequest"], dict[str, Any] | Response]


class TaxiiRequest(msgspec.Struct, frozen=True):
    """An authenticated request."""

    request: Request
    reader: TaxiiReader

    @property
    def path(self) -> Mapping[str, Any]:
        """The parts of the path."""
        return self.request.path_params


class TaxiiServer:
    """Handlers of the requests, over the shelf."""

    def __init__(
        self,
        config: TaxiiConfig,
        tokens: Tokens[TaxiiReader],
        shelf: Shelf,
        *,
        ready: Callable[[], bool] = lambda: True,
    ) -> None:
        """Answer from a shelf.

        Args:
            config: The configuration.
            tokens: The readers' tokens.
            shelf: The readable objects; it may grow meanwhile.
            ready: Whether all that is on the topic is on the shelf: before, answers would be
                partial.
        """
        self._config = config
        self._tokens = tokens
        self._shelf = shelf
        self._ready = ready

    def routes(self) -> list[BaseRoute]:
        """Return the routes, each with and without its last slash."""
        root = f"/{ROOT}"
        one = root + "/collections/{collection}"
        read: list[tuple[str, Answer]] = [
            ("/taxii2", self._discovery),
            (root, self._root),
            (f"{root}/status/{{status}}", _no_status),
            (f"{root}/collections", self._collections),
            (one, self._collection),
            (f"{one}/manifest", self._manifest),
            (f"{one}/objects", self._objects),
            (f"{one}/objects/{{object}}", self._object),
            (f"{one}/objects/{{object}}/versions", self._versions),
        ]
        write = self._guarded(self._refuse_write)
        ends = ("/", "")
        return [
            *(Route(p + end, self._guarded(a), methods=["GET"]) for p, a in read for end in ends),
            *(
                Route(f"{one}/{rest}{end}", write, methods=["POST", "DELETE"])
                for rest in ("objects", "objects/{object}")
                for end in ends
            ),
            Route("/{rest:path}", self._guarded(_nowhere), methods=["GET"]),
        ]

    def _guarded(self, answer: Answer) -> Callable[[Request], Awaitable[Response]]:
        """Return an endpoint that authenticates the reader, and answers errors as TAXII does."""

        async def endpoint(request: Request) -> Response:
            try:
                _check_accept(request.headers.get("accept"))
                asked = TaxiiRequest(request, self._reader(request))
                self._check_ready()
                made = answer(asked)
            except HttpError as error:
                return _error(error)
            return made if isinstance(made, Response) else _json(made)

        return endpoint

    def _check_ready(self) -> None:
        if not self._ready():
            raise HttpError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "the shared indicators are still being read",
                headers={"retry-after": "5"},
            )

    def _reader(self, request: Request) -> TaxiiReader:
        given = request.headers.get("authorization")
        scheme, _, rest = (given or "").partition(" ")
        name = None
        if scheme.lower() == "basic":
            name, rest = _basic(rest)
        reader = None
        if scheme.lower() in {"basic", "bearer", "token"}:
            reader = self._tokens.grant(f"Bearer {rest}")
        if reader is None or name not in {None, reader.name}:
            raise HttpError(
                HTTPStatus.UNAUTHORIZED,
                "the request is not authenticated",
                where="Authorization",
                remedy="send the token as Bearer, or with your name as Basic",
                headers={"www-authenticate": _CHALLENGE},
            )
        return reader

    def _discovery(self, asked: TaxiiRequest) -> dict[str, Any]:
        base = self._config.url.rstrip("/") or str(asked.request.base_url).rstrip("/")
        url = f"{base}/{ROOT}/"
        found = {
            "title": self._config.title,
            "description": "Indicators of compromise of AI supply chains, shared by Tidewatch",
            "default": url,
            "api_roots": [url],
        }
        return {**found, "contact": self._config.contact} if self._config.contact else found

    def _root(self, _asked: TaxiiRequest) -> dict[str, Any]:
        return {
            "title": f"{self._config.title}: shared indicators",
            "versions": [TAXII_21],
            "max_content_length": self._config.limits.body_bytes,
        }

    def _collections(self, asked: TaxiiRequest) -> dict[str, Any]:
        return {"collections": [_described(collection) for collection in asked.reader.collections]}

    def _collection(self, asked: TaxiiRequest) -> dict[str, Any]:
        return _described(_chosen(asked))

    def _manifest(self, asked: TaxiiRequest) -> Response:
        page = matching(self._shelf, _chosen(asked), self._filters(asked))
        return _paged(page, {"objects": [_manifest_entry(entry) for entry in page.entries]})

    def _objects(self, asked: TaxiiRequest) -> Response:
        page = matching(self._shelf, _chosen(asked), self._filters(asked))
        return _paged(page, {"objects": [entry.body for entry in page.entries]})

    def _object(self, asked: TaxiiRequest) -> Response:
        collection, uid = _chosen(asked), self._known(asked)
        page = matching(self._shelf, collection, self._filters(asked, uid))
        return _paged(page, {"objects": [entry.body for entry in page.entries]})

    def _versions(self, asked: TaxiiRequest) -> Response:
        collection, uid = _chosen(asked), self._known(asked)
        page = versions_of(self._shelf, collection, uid, self._filters(asked, uid))
        return _paged(page, {"versions": [entry.version for entry in page.entries]})

    def _known(self, asked: TaxiiRequest) -> str:
        """Return the id of the object that the path names; 404 if there is none."""
        uid = str(asked.path["object"])
        if not self._shelf.versions(_chosen(asked), uid):
            raise _missing("object")
        return uid

    def _filters(self, asked: TaxiiRequest, uid: str | None = None) -> Any:  # noqa: ANN401 -- passed on
        query = asked.request.query_params
        twice = [name for name in query if len(query.getlist(name)) > 1]
        if twice:
            raise HttpError(HTTPStatus.BAD_REQUEST, "the parameter is repeated", where=twice[0])
        return read_filters(query, most=self._config.page, object_id=uid)

    def _refuse_write(self, asked: TaxiiRequest) -> Response:
        _chosen(asked)
        raise HttpError(HTTPStatus.FORBIDDEN, "this server is read-only")


def _no_status(_asked: TaxiiRequest) -> Response:
    raise _missing("status")


def _nowhere(_asked: TaxiiRequest) -> Response:
    raise _missing("page")


def _missing(what: str) -> HttpError:
    return HttpError(HTTPStatus.NOT_FOUND, f"the {what} does not exist, or you may not read it")


def _chosen(asked: TaxiiRequest) -> Collection:
    """Return the collection that the path names; 404 for one that the reader may not read."""
    named = str(asked.path["collection"])
    for collection in asked.reader.collections:
        if named in {collection.id, collection.alias}:
            return collection
    raise _missing("collection")


def _described(collection: Collection) -> dict[str, Any]:
    tlp, tenant = collection.tlp, collection.tenant
    marking = f"TLP:{tlp.upper()}"
    whose = f"{tenant}'s own indicators" if tenant else "Indicators"
    return {
        "id": collection.id,
        "title": f"{tenant}: {marking}" if tenant else marking,
        "description": f"{whose} marked {marking}: {_MEANING[tlp]}",
        "alias": collection.alias,
        "can_read": True,
        "can_write": False,
        "media_types": [STIX_21],
    }


def _manifest_entry(entry: ObjectVersion) -> dict[str, Any]:
    return {
        "id": entry.id,
        "date_added": format_added(entry),
        "version": entry.version,
        "media_type": STIX_21,
    }


def format_added(entry: ObjectVersion) -> str:
    """Return when an entry was added, to the microsecond; the times are unique."""
    return from_micros(entry.added).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _paged(page: ObjectPage, content: dict[str, Any]) -> Response:
    body = {"more": page.next is not None, **content}
    if page.next is not None:
        body["next"] = page.next
    if not page.entries:
        # an envelope without objects is empty, by the standard
        body = {}
    headers = {}
    if page.entries:
        headers = {
            "x-taxii-date-added-first": format_added(page.entries[0]),
            "x-taxii-date-added-last": format_added(page.entries[-1]),
        }
    return _json(body, headers=headers)


def _json(
    body: Any,  # noqa: ANN401 -- a JSON document
    status: int = HTTPStatus.OK,
    headers: Mapping[str, str] | None = None,
) -> Response:
    return Response(msgspec.json.encode(body), status, dict(headers or {}), TAXII_21)


def _error(error: HttpError) -> Response:
    body = {
        "title": error.what,
        "http_status": str(int(error.status)),
        "description": ": ".join(filter(None, [error.where, error.remedy])),
    }
    return _json(body, error.status, error.headers)


def _check_accept(accept: str | None) -> None:
    """Refuse a request for another version of TAXII, or for another media type.

    Raises:
        HttpError: 406.
    """
    for part in (accept or "*/*").split(","):
        kind, *parameters = (piece.strip().lower() for piece in part.split(";"))
        versions = [
            parameter[8:].strip('" ')
            for parameter in parameters
            if parameter.startswith("version=")
        ]
        if kind in {"*/*", "application/*"} or (kind == TAXII and versions in ([], ["2.1"])):
            return
    raise HttpError(
        HTTPStatus.NOT_ACCEPTABLE, "only TAXII 2.1 is supported", where="Accept", remedy=TAXII_21
    )


def _basic(rest: str) -> tuple[str, str]:
    """Return user and password; empty ones if the header can't be read."""
    try:
        user, _, password = base64.b64decode(rest.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return user, password
