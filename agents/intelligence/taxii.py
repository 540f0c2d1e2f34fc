"""Reads the indicators of a TAXII 2.1 collection, page by page, within limits."""

from __future__ import annotations

import ipaddress
import time
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import orjson
import urllib3

from agents.intelligence.feed import Feed, InvalidFeedError
from agents.intelligence.stix import OBJECTS_LIMIT, read_bundle
from schemas.version import PRODUCT

MEDIA_TYPE: Final = "application/taxii+json;version=2.1"
PAGES_LIMIT: Final = 10_000
BYTES_LIMIT: Final = 512 << 20
CONNECT_SECONDS: Final = 10.0
READ_SECONDS: Final = 60.0
TOTAL_SECONDS: Final = 900.0
_CHUNK: Final = 1 << 16
_OK: Final = 200
_LAST: Final = "X-TAXII-Date-Added-Last"
_MEANING: Final = {
    401: "it does not know the token",
    403: "the token may not read it",
    404: "the collection does not exist, or this token may not read it",
    406: "the server speaks another version than TAXII 2.1",
}


class TaxiiError(InvalidFeedError):
    """A collection that can't be read completely."""


class Collected(msgspec.Struct, frozen=True):
    """The content of a collection."""

    feed: Feed
    last: str | None
    """When its last object was added, by the server: the start of the next request."""


def read_collection(
    url: str, *, user: str | None = None, token: str | None = None, since: str | None = None
) -> Collected:
    """Return the facts of a collection's indicators; revoked ones are withdrawals.

    Nothing in it is signed: it is as trustworthy as the operator of the server. Redirects are not
    followed, as they would get the token.

    Args:
        url: The collection, as `https://HOST/API-ROOT/collections/ID/`.
        user: The user name of HTTP Basic; without one the token is sent as Bearer.
        token: The secret; None: nothing is sent.
        since: Only objects added later than this, the `last` of an earlier call.

    Raises:
        TaxiiError: It can't be reached, or refuses, or does not answer as the standard says.

    Source: TAXII 2.1, sections 3.5 (pagination) and 5.4 (get objects).
    """
    _check_url(url)
    headers = {"Accept": MEDIA_TYPE, "User-Agent": PRODUCT}
    if token is not None and user is not None:
        headers |= urllib3.make_headers(basic_auth=f"{user}:{token}")
    elif token is not None:
        headers["Authorization"] = f"Bearer {token}"
    timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS)
    with urllib3.PoolManager(timeout=timeout, retries=False, headers=headers) as pool:
        objects, last = _Reading(pool, url.rstrip("/") + "/objects/").all(since)
    if not objects:
        return Collected(Feed(), last)
    return Collected(read_bundle(orjson.dumps({"type": "bundle", "objects": objects}), url), last)


def _check_url(url: str) -> None:
    if not _is_private(url):
        raise TaxiiError(
            "a token must not be sent to this address",
            where="--taxii",
            remedy="name it as https://HOST/API-ROOT/collections/ID/",
        )


def _is_private(url: str) -> bool:
    """Return whether the connection is private: TLS, or this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    if not host or parts.username:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host))


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Reading:
    """The pages of one collection."""

    def __init__(self, pool: urllib3.PoolManager, url: str) -> None:
        self._pool = pool
        self._url = url
        self._due = time.monotonic() + TOTAL_SECONDS
        self._left = BYTES_LIMIT

    def all(self, since: str | None) -> tuple[list[Any], str | None]:
        objects: list[Any] = []
        last = since
        query = {"match[type]": "indicator", "match[version]": "last"}
        if since is not None:
            query["added_after"] = since
        for _ in range(PAGES_LIMIT):
            body, added = self._page(query)
            objects += body.get("objects") or []
            last = added or last
            if len(objects) > OBJECTS_LIMIT:
                raise self._wrong(f"it has more than {OBJECTS_LIMIT:,} objects")
            if not body.get("more"):
                return objects, last
            # `next` is optional: without it, later objects were added after the last of this page
            follows = (
                {"next": str(body["next"])} if "next" in body else {"added_after": added or ""}
            )
            if {**query, **follows} == query or not all(follows.values()):
                raise self._wrong("it announces more objects, but no way to request them")
            query = {**query, **follows}
        raise self._wrong(f"it has more than {PAGES_LIMIT:,} pages")

    def _page(self, query: dict[str, str]) -> tuple[dict[str, Any], str | None]:
        """Return an envelope, and when its last object was added."""
        try:
            response = self._pool.request(
                "GET", self._url, fields=query, redirect=False, preload_content=False
            )
            try:
                raw = self._body(response)
            finally:
                response.release_conn()
        except urllib3.exceptions.HTTPError as error:
            raise TaxiiError(
                f"the server can't be reached ({type(error).__name__})",
                where=self._url,
                remedy="check its address, certificate and network",
            ) from error
        if response.status != _OK:
            said = _MEANING.get(response.status, "it refuses")
            wait = response.headers.get("Retry-After", "")
            raise TaxiiError(
                f"{said} (HTTP {response.status})",
                where=self._url,
                remedy=f"try again in {wait[:20]} s" if wait.isdigit() else "check URL and token",
            )
        try:
            body = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise self._wrong("its answer is not JSON") from error
        if not isinstance(body, dict) or not isinstance(body.get("objects", []), list):
            raise self._wrong("its answer is not an envelope of objects")
        return body, response.headers.get(_LAST)

    def _body(self, response: urllib3.BaseHTTPResponse) -> bytes:
        raw = bytearray()
        for chunk in response.stream(_CHUNK, decode_content=True):
            raw += chunk
            if len(raw) > self._left:
                raise self._wrong(f"it has more than {BYTES_LIMIT >> 20} MiB")
            if time.monotonic() > self._due:
                raise self._wrong(f"it was not read within {TOTAL_SECONDS:g} s")
        self._left -= len(raw)
        return bytes(raw)

    def _wrong(self, what: str) -> TaxiiError:
        return TaxiiError(what, where=self._url, remedy="ask the server's operator")
