"""HTTP within a fetch scope: pinned addresses, checked redirects, ranges, bounded retries."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import IO, Final, Self
from urllib.parse import quote

import msgspec
import tenacity
import urllib3

from agents.fetching.addresses import Resolver, checked_address, system_resolver
from agents.fetching.deadlines import Pace, RequestDeadlines, timed
from agents.fetching.errors import FetchError, RefusedError
from agents.fetching.fetch_scope import FetchRules, Location, Reach, parse_relative
from agents.fetching.sources import CHUNK, BlockSource, OpenSource

MAX_REDIRECTS: Final = 5
FIRST_RANGE: Final = 64 * 1024
_PORTS: Final = {"http": 80, "https": 443}
_LENGTH: Final = r"\d{1,15}"
"""A length below 1 PB: Python refuses to read numbers of thousands of digits."""
_CONTENT_LENGTH: Final = re.compile(_LENGTH, re.ASCII)
_CONTENT_RANGE: Final = re.compile(rf"bytes (?:({_LENGTH})-({_LENGTH})|\*)/({_LENGTH})", re.ASCII)
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_TRANSIENT: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_OK, _PARTIAL, _UNSATISFIABLE, _CHANGED = 200, 206, 416, 412
_UNAUTHORIZED: Final = 401

Signer = Callable[[Location, dict[str, str]], dict[str, str]]
"""Returns the headers of a request, given its location and the headers so far."""


class _TransientError(FetchError):
    """A failure that a retry may resolve."""


class HttpAnswer(msgspec.Struct, frozen=True):
    """A response's status, headers by lower-case name, and body."""

    status: int
    headers: dict[str, str]
    body: bytes
    location: Location


def quoted(location: Location) -> str:
    """Return the percent-encoded path and query of a location."""
    path = quote(location.path, safe="/~-._:@!$&'()*+,;=")
    return f"{path}?{location.query}" if location.query else path


class HttpClient:
    """Sends the requests of one tenant; resolves and checks each host name once."""

    def __init__(self, reach: Reach, resolve: Resolver = system_resolver) -> None:
        """Start without connections.

        Args:
            reach: The tenant's fetch scope.
            resolve: Resolves names; the operating system by default.
        """
        self.reach = reach
        self._resolve = resolve
        self._pinned: dict[tuple[str, int], str] = {}
        self._pools: dict[tuple[str, str], urllib3.HTTPConnectionPool] = {}
        self._deadlines = RequestDeadlines()

    def close(self) -> None:
        """Close all connections."""
        for pool in self._pools.values():
            pool.close()
        self._pools.clear()

    def _pool(self, location: Location) -> urllib3.HTTPConnectionPool:
        key = (location.scheme, location.host)
        if key not in self._pools:
            host, port = _host_and_port(location)
            pin = (host, port)
            if pin not in self._pinned:
                self._pinned[pin] = checked_address(
                    host, port, self.reach.rules.private_hosts, self._resolve
                )
            timeout = urllib3.Timeout(
                connect=self.reach.rules.connect_seconds, read=self.reach.rules.read_seconds
            )
            if location.scheme == "https":
                self._pools[key] = urllib3.HTTPSConnectionPool(
                    self._pinned[pin],
                    port,
                    timeout=timeout,
                    maxsize=2,
                    cert_reqs="CERT_REQUIRED",
                    server_hostname=host,
                    assert_hostname=host,
                )
            else:
                self._pools[key] = urllib3.HTTPConnectionPool(
                    self._pinned[pin], port, timeout=timeout, maxsize=2
                )
            pool = self._pools[key]
            pool.ConnectionCls = timed(pool.ConnectionCls, self._deadlines)
        return self._pools[key]

    def _send(
        self, location: Location, headers: Mapping[str, str], due: float
    ) -> urllib3.BaseHTTPResponse:
        """Return an answer with its headers, whose body may be read until `due`."""
        now = time.monotonic()
        if now >= due:
            raise FetchError(
                f"it was not fetched within {self.reach.rules.total_seconds:g} s",
                where=location.uri[:200],
            )
        self._deadlines.until = min(due, now + self.reach.rules.slow_seconds)
        try:
            return self._pool(location).urlopen(
                "GET",
                quoted(location),
                headers={"Host": location.host, "Accept-Encoding": "identity", **headers},
                redirect=False,
                retries=False,
                preload_content=False,
                assert_same_host=False,
            )
        except urllib3.exceptions.HTTPError as error:
            raise _TransientError(
                f"the server did not answer ({type(error).__name__})", where=location.uri[:200]
            ) from error
        finally:
            self._deadlines.until = due

    def _due(self) -> float:
        """Return the deadline of a fetch that starts now, on the monotonic clock."""
        return time.monotonic() + self.reach.rules.total_seconds

    def _follow(
        self,
        location: Location,
        sign: Signer,
        headers: Mapping[str, str],
        *,
        own_host: bool,
        due: float,
    ) -> tuple[urllib3.BaseHTTPResponse, Location]:
        """Follow and check redirects; return the final response and its location."""
        start = location
        for _ in range(MAX_REDIRECTS + 1):
            response = self._send(location, sign(location, dict(headers)), due)
            target = response.headers.get("Location")
            if response.status not in _REDIRECTS or not target:
                return response, location
            response.close()
            here = f"{location.scheme}://{location.host}{quoted(location)}"
            onward = parse_relative(here, target)
            same = (onward.scheme, onward.host) == (start.scheme, start.host)
            if not (self.reach.admits_redirect(onward) or (own_host and same)):
                raise RefusedError(
                    "a redirect leads outside the tenant's fetch scope",
                    where=f"{start.uri[:200]} to {onward.scheme}://{onward.host}",
                )
            location = onward
        raise FetchError(f"more than {MAX_REDIRECTS} redirects", where=start.uri[:200])

    def _retrying(self) -> tenacity.Retrying:
        rules = self.reach.rules
        return tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_TransientError),
            stop=tenacity.stop_after_attempt(rules.attempts),
            wait=tenacity.wait_random_exponential(multiplier=rules.backoff_seconds, max=20),
            reraise=True,
        )

    def get(
        self,
        location: Location,
        *,
        sign: Signer,
        limit: int,
        headers: Mapping[str, str] | None = None,
        own_host: bool = False,
        accept: frozenset[int] = frozenset({_OK}),
    ) -> HttpAnswer:
        """Return a complete response of at most `limit` bytes.

        Args:
            location: A location that the fetch scope admitted.
            sign: Adds the authorisation headers for a location.
            limit: Most bytes of the body.
            headers: Further headers.
            own_host: Allow redirects within the same host (the hub's own paths).
            accept: Statuses of a successful response.

        Raises:
            RefusedError: a redirect or address is outside the fetch scope.
            FetchError: another status, a body too large or incomplete, or no response.
        """
        due = self._due()

        def once() -> HttpAnswer:
            response, final = self._follow(
                location, sign, headers or {}, own_host=own_host, due=due
            )
            try:
                _judge(response, final, accept)
                body = _read(response, limit + 1, final, Pace(self.reach.rules))
            finally:
                response.close()
            if len(body) > limit:
                raise FetchError(f"the answer is larger than {limit} bytes", where=final.uri[:200])
            return HttpAnswer(
                response.status,
                {name.lower(): value for name, value in response.headers.items()},
                body,
                final,
            )

        return self._retrying()(once)

    def open(self, location: Location, *, sign: Signer, own_host: bool = False) -> OpenSource:
        """Open an object as a source: by ranges, or spooled if the server has none.

        Raises:
            RefusedError: a redirect or address is outside the fetch scope.
            FetchError: the fetch failed, or the object is too large to spool.
        """
        due = self._due()
        return self._retrying()(lambda: self._open(location, sign, own_host=own_host, due=due))

    def _open(self, location: Location, sign: Signer, *, own_host: bool, due: float) -> OpenSource:
        wanted = {"Range": f"bytes=0-{FIRST_RANGE - 1}"}
        response, final = self._follow(location, sign, wanted, own_host=own_host, due=due)
        try:
            _judge(response, final, frozenset({_OK, _PARTIAL, _UNSATISFIABLE}))
            if response.status == _OK:
                return _spool(response, self.reach.rules, final)
            size = _total(response, final)
            if response.status == _PARTIAL:
                _check_range(response, 0, min(FIRST_RANGE, size), final)
        finally:
            response.close()
        reader = _Ranges(self, final, sign, response.headers.get("ETag"), size, due)
        return BlockSource(reader, size)

    def read_range(
        self, location: Location, sign: Signer, *, start: int, length: int, etag: str | None,
        size: int, due: float,
    ) -> bytes:  # fmt: skip
        """Return a range of an object, checking that it did not change since it was opened.

        Args:
            location: Where it is.
            sign: Adds the authorisation headers for a location.
            start: Its first byte.
            length: How many bytes.
            etag: The entity tag of the object when it was opened.
            size: Its size then.
            due: The deadline for reading the object, on the monotonic clock.

        Raises:
            FetchError: the object changed, the response is incomplete, or the fetch failed.
        """
        headers = {"Range": f"bytes={start}-{start + length - 1}"}
        if etag and not etag.startswith("W/"):
            headers["If-Match"] = etag

        def once() -> bytes:
            response, final = self._follow(location, sign, headers, own_host=False, due=due)
            try:
                if response.status == _CHANGED:
                    raise FetchError("it changed while it was read", where=final.uri[:200])
                _judge(response, final, frozenset({_PARTIAL}))
                _check_range(response, start, length, final)
                found = response.headers.get("ETag")
                if _total(response, final) != size or (etag and found and found != etag):
                    raise FetchError("it changed while it was read", where=final.uri[:200])
                body = _read(response, length, final, Pace(self.reach.rules))
            finally:
                response.close()
            if len(body) != length:
                raise _TransientError("the answer was cut off", where=final.uri[:200])
            return body

        return self._retrying()(once)


class _Ranges:
    """Reads ranges of an object at its final location."""

    def __init__(
        self,
        client: HttpClient,
        location: Location,
        sign: Signer,
        etag: str | None,
        size: int,
        due: float,
    ) -> None:
        self._client = client
        self._location = location
        self._sign = sign
        self._etag = etag
        self._size = size
        self._due = due

    def read_range(self, offset: int, length: int) -> bytes:
        return self._client.read_range(
            self._location,
            self._sign,
            start=offset,
            length=length,
            etag=self._etag,
            size=self._size,
            due=self._due,
        )


class SpooledSource:
    """A body spooled into an unnamed temporary file."""

    def __init__(self, spool: IO[bytes], size: int) -> None:
        """Take over the file."""
        self._spool = spool
        self._size = size

    @property
    def size(self) -> int:
        """Length in bytes."""
        return self._size

    def read(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`."""
        if offset < 0 or length <= 0:
            return b""
        self._spool.seek(offset)
        return self._spool.read(length)

    def close(self) -> None:
        """Remove the file."""
        self._spool.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close."""
        self.close()


def _host_and_port(location: Location) -> tuple[str, int]:
    name, colon, port = location.host.rpartition(":")
    if colon and port.isdigit() and not name.endswith(":"):
        return name.strip("[]"), int(port)
    return location.host.strip("[]"), _PORTS[location.scheme]


def _judge(response: urllib3.BaseHTTPResponse, location: Location, accept: frozenset[int]) -> None:
    if response.status in _TRANSIENT and response.status not in accept:
        raise _TransientError(f"the server answered {response.status}", where=location.uri[:200])
    if response.status not in accept:
        raise FetchError(f"the server answered {response.status}", where=location.uri[:200])
    if response.headers.get("Content-Encoding", "identity").lower() not in {"", "identity"}:
        raise FetchError(
            "the server compressed the body although it was not asked to", where=location.uri[:200]
        )


def _total(response: urllib3.BaseHTTPResponse, location: Location) -> int:
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if match is None:
        raise FetchError("the server does not state its length", where=location.uri[:200])
    return int(match.group(3))


def _check_range(
    response: urllib3.BaseHTTPResponse, start: int, length: int, location: Location
) -> None:
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if match is None or match.group(1) is None:
        raise FetchError("the server did not send the requested range", where=location.uri[:200])
    if int(match.group(1)) != start or int(match.group(2)) != start + length - 1:
        raise FetchError("the server sent a different range", where=location.uri[:200])


def _read(response: urllib3.BaseHTTPResponse, length: int, location: Location, pace: Pace) -> bytes:
    """Return up to `length` bytes of a body, fewer at its end.

    Raises:
        _TransientError: the connection broke.
        FetchError: the server is slower than the minimum speed.
    """
    body = bytearray()
    try:
        while len(body) < length:
            # only what has arrived: a server may send the rest byte by byte
            piece = response.read1(min(length - len(body), CHUNK), decode_content=False)
            if not piece:
                break
            body += piece
            pace.came(len(piece), location)
    except urllib3.exceptions.HTTPError as error:
        raise _TransientError("the answer was cut off", where=location.uri[:200]) from error
    return bytes(body)


def _spool(
    response: urllib3.BaseHTTPResponse, rules: FetchRules, location: Location
) -> SpooledSource:
    # The caller closes it; the file has no name and is deleted on close.
    spool = tempfile.TemporaryFile()  # noqa: SIM115
    size, limit, pace = 0, rules.spool_bytes, Pace(rules)
    try:
        while chunk := _read(response, CHUNK, location, pace):
            size += len(chunk)
            if size > limit:
                raise FetchError(  # noqa: TRY301 -- the spool is closed below
                    f"the server has no ranges, and more than {limit} bytes",
                    where=location.uri[:200],
                )
            spool.write(chunk)
        announced = response.headers.get("Content-Length")
        if announced is not None and not _CONTENT_LENGTH.fullmatch(announced):
            raise FetchError(  # noqa: TRY301 -- the spool is closed below
                "the server does not state its length", where=location.uri[:200]
            )
        if announced is not None and int(announced) != size:
            raise _TransientError("the answer was cut off", where=location.uri[:200])  # noqa: TRY301 -- the same
    except BaseException:
        spool.close()
        raise
    finally:
        response.close()
    return SpooledSource(spool, size)


def no_signature(_location: Location, headers: dict[str, str]) -> dict[str, str]:
    """Add no authorisation: an anonymous request."""
    return headers


def bearer(reach: Reach) -> Signer:
    """Return a signer that sends the tenant's token or password to its hosts only."""

    def sign(location: Location, headers: dict[str, str]) -> dict[str, str]:
        secrets = reach.secrets_for(location.host)
        if secrets is None or (location.scheme != "https" and not _is_private(reach, location)):
            return headers
        if secrets.token:
            headers["Authorization"] = f"Bearer {secrets.token}"
        elif secrets.username and secrets.password:
            headers |= urllib3.make_headers(basic_auth=f"{secrets.username}:{secrets.password}")
        return headers

    return sign


def _is_private(reach: Reach, location: Location) -> bool:
    """Return whether the host is a private host, to which plain HTTP may carry secrets."""
    name = location.host.partition(":")[0]
    return bool({name, location.host} & set(reach.rules.private_hosts))
