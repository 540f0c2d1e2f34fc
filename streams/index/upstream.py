"""Client of the upstream index: pages within limits, files verified while they are streamed."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import ipaddress
import ssl
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from agents.fetching.addresses import checked_address
from agents.fetching.errors import FetchError
from agents.logs import Logger
from schemas.errors import TidewatchError
from streams.http.problems import HttpError
from streams.index.config import Upstream, UpstreamAddress
from streams.index.pages import ACCEPT, IndexFile, PageError, read_page

log = Logger()

CHUNK: Final = 64 * 1024
MAX_REDIRECTS: Final = 5
METADATA_BYTES: Final = 8 * 1024 * 1024
PAGES_AT_ONCE: Final = 4
"""Pages that are read at once: each may be large."""
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_GONE: Final = frozenset({404, 410})


class WrongBytesError(TidewatchError):
    """A file that differs from the index's digest or size."""


def upstream_failed(what: str, status: HTTPStatus = HTTPStatus.BAD_GATEWAY) -> HttpError:
    """Return the answer where the upstream index can't be read; it names no address."""
    return HttpError(
        status, what, remedy="try again; the log names the host", reason="upstream",
        headers={"retry-after": "5"},
    )  # fmt: skip


Download = tuple[int | None, AsyncIterator[bytes]]
"""The size of a file, if it is known, and its bytes."""


class _CheckedResolver(AbstractResolver):
    """Resolves the index's own host, and others to addresses that may be reached."""

    def __init__(self, own: tuple[str, int], private_hosts: tuple[str, ...]) -> None:
        self._own = own
        self._private = private_hosts
        self._system = ThreadedResolver()

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: Any = 0,  # noqa: ANN401 -- aiohttp's own
    ) -> list[ResolveResult]:
        if (host, port) == self._own:
            return await self._system.resolve(host, port, family)
        try:
            address = await asyncio.to_thread(checked_address, host, port, self._private)
        except TidewatchError as error:
            raise OSError(error.what) from error
        return await self._system.resolve(address, port, family)

    async def close(self) -> None:
        await self._system.close()


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
    return parts.scheme, (parts.hostname or "").lower(), port


class UpstreamIndex:
    """The upstream index: a pool of connections, and recently read pages."""

    def __init__(self, config: Upstream, target: UpstreamAddress) -> None:
        """Prepare; nothing is connected before `open`.

        Raises:
            TidewatchError: The authorities' file can't be read.
        """
        self._config = config
        self._target = target
        self._own = _origin(target.url)
        self._authorization = _authorization(target)
        self._tls: ssl.SSLContext = _tls(config)
        self._session: aiohttp.ClientSession | None = None
        self._reading = asyncio.Semaphore(PAGES_AT_ONCE)
        self._kept: OrderedDict[str, tuple[float, int, tuple[IndexFile, ...]]] = OrderedDict()
        self._kept_bytes = 0
        self._under_way: dict[str, asyncio.Task[tuple[IndexFile, ...] | None]] = {}

    async def open(self) -> None:
        """Open the pool."""
        connector = aiohttp.TCPConnector(
            resolver=_CheckedResolver(self._own[1:], self._config.private_hosts),
            limit=self._config.connections,
            ssl=self._tls,
            use_dns_cache=False,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            timeout=aiohttp.ClientTimeout(
                total=None,
                sock_connect=self._config.connect_seconds,
                sock_read=self._config.read_seconds,
            ),
            headers={"User-Agent": "tidewatch-index", "Accept-Encoding": "identity"},
        )

    async def close(self) -> None:
        """Close the pool."""
        for task in self._under_way.values():
            task.cancel()
        if self._session is not None:
            await self._session.close()

    async def files(self, project: str) -> tuple[IndexFile, ...] | None:
        """Return the files of a project, None if the index has none of that name.

        Requests for the same project share one answer.

        Raises:
            HttpError: 502 or 504, the index can't be read.
        """
        known = self._kept.get(project)
        if known is not None and known[0] > time.monotonic():
            self._kept.move_to_end(project)
            return known[2]
        task = self._under_way.get(project)
        if task is None:
            task = asyncio.ensure_future(self._read(project))
            self._under_way[project] = task
            task.add_done_callback(lambda done: self._ended(project, done))
        return await asyncio.shield(task)

    def _ended(self, project: str, done: asyncio.Task[tuple[IndexFile, ...] | None]) -> None:
        self._under_way.pop(project, None)
        if not done.cancelled():
            done.exception()  # the requester may have disconnected, and no other request needs it

    async def _read(self, project: str) -> tuple[IndexFile, ...] | None:
        url = f"{self._target.url}{project}/"
        try:
            async with self._reading, asyncio.timeout(self._config.page_seconds):
                async with self._get(url, {"Accept": ACCEPT}) as answer:
                    if answer.status in _GONE:
                        return None
                    self._require_ok(answer)
                    raw = await _whole(answer, self._config.page_bytes)
                    kind = answer.headers.get("content-type", "")
                    base = str(answer.url)
                # a large page takes a while to read; others are answered meanwhile
                found = await asyncio.to_thread(read_page, raw, kind, base)
        except TimeoutError:
            raise upstream_failed(
                "the index did not answer in time", HTTPStatus.GATEWAY_TIMEOUT
            ) from None
        except PageError as error:
            log.warning("index-page-unreadable", project=project[:100], error=error.explain())
            raise upstream_failed(error.what) from error
        self._keep(project, len(raw), found)
        return found

    def _keep(self, project: str, size: int, found: tuple[IndexFile, ...]) -> None:
        old = self._kept.pop(project, None)
        self._kept_bytes -= old[1] if old is not None else 0
        if size > self._config.kept_bytes or not self._config.kept_seconds:
            return
        self._kept[project] = (time.monotonic() + self._config.kept_seconds, size, found)
        self._kept_bytes += size
        while self._kept_bytes > self._config.kept_bytes:
            _, (_, gone, _) = self._kept.popitem(last=False)
            self._kept_bytes -= gone

    async def metadata(self, file: IndexFile) -> bytes | None:
        """Return the metadata of a file, None if the index does not have it after all.

        Raises:
            HttpError: The index can't be read, or the metadata differs from its digest.
        """
        try:
            async with (
                asyncio.timeout(self._config.page_seconds),
                self._get(f"{file.url}.metadata", {}) as answer,
            ):
                if answer.status in _GONE:
                    return None
                self._require_ok(answer)
                raw = await _whole(answer, METADATA_BYTES)
        except PageError as error:
            raise upstream_failed(error.what) from error
        except TimeoutError:
            raise upstream_failed(
                "the index did not answer in time", HTTPStatus.GATEWAY_TIMEOUT
            ) from None
        if isinstance(file.metadata, str) and hashlib.sha256(raw).hexdigest() != file.metadata:
            log.warning("index-wrong-bytes", file=f"{file.filename}.metadata")
            raise upstream_failed("the metadata does not match the index")
        return raw

    @asynccontextmanager
    async def download(self, file: IndexFile) -> AsyncIterator[Download]:
        """Yield the size of a file, if it is known, and its bytes.

        The last bytes are held back until the whole was checked: a client never gets a whole file
        with a wrong digest.

        Raises:
            HttpError: 404, 502 or 504.
        """
        async with self._get(file.url, {}) as answer:
            if answer.status in _GONE:
                raise HttpError(HTTPStatus.NOT_FOUND, "the index no longer has the file")
            self._require_ok(answer)
            size = answer.content_length
            if size is not None and (
                size > self._config.file_bytes or (file.size is not None and size != file.size)
            ):
                raise upstream_failed("the file's size does not match the index")
            yield size, self._checked(file, answer)

    async def _checked(
        self, file: IndexFile, answer: aiohttp.ClientResponse
    ) -> AsyncIterator[bytes]:
        digest, held, passed = hashlib.sha256(), b"", 0
        try:
            async for chunk in answer.content.iter_chunked(CHUNK):
                digest.update(chunk)
                passed += len(chunk)
                if passed > self._config.file_bytes:
                    raise WrongBytesError("the file is larger than allowed", where=file.filename)
                if held:
                    yield held
                held = chunk
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise WrongBytesError(
                f"the index closed the connection ({type(error).__name__})", where=file.filename
            ) from error
        if file.sha256 is not None and digest.hexdigest() != file.sha256:
            raise WrongBytesError("the file does not match the index", where=file.filename)
        if held:
            yield held

    def _require_ok(self, answer: aiohttp.ClientResponse) -> None:
        if answer.status == HTTPStatus.OK:
            return
        log.warning("index-refused", host=answer.url.host, status=answer.status)
        raise upstream_failed(f"the index answers {answer.status}")

    @asynccontextmanager
    async def _get(
        self, url: str, headers: dict[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Yield the answer of a URL; follow redirects, with credentials for the index alone."""
        session = self._session
        assert session is not None, "opened before it is asked"
        for _ in range(MAX_REDIRECTS + 1):
            self._require_reachable(url)
            sent = {**headers, **(self._authorization if _origin(url) == self._own else {})}
            try:
                answer = await session.get(url, headers=sent, allow_redirects=False)
            except TimeoutError:
                raise upstream_failed(
                    "the index did not answer in time", HTTPStatus.GATEWAY_TIMEOUT
                ) from None
            except (aiohttp.ClientError, OSError, ValueError) as error:
                log.warning(
                    "index-unreachable", host=urlsplit(url).hostname, error=type(error).__name__
                )
                raise upstream_failed("the index can't be reached") from error
            async with answer:
                if answer.status not in _REDIRECTS:
                    yield answer
                    return
                url = _redirected(url, answer.headers.get("location", ""))
        raise upstream_failed("the index redirects too often")

    def _require_reachable(self, url: str) -> None:
        """Refuse a literal address that is not public; the resolver does not see it."""
        _, host, port = origin = _origin(url)
        if origin == self._own:
            return
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return
        try:
            checked_address(host, port, self._config.private_hosts)
        except FetchError as error:
            log.warning("index-private-address", host=host)
            raise upstream_failed("the index refers to an address that is not public") from error


def _authorization(target: UpstreamAddress) -> dict[str, str]:
    if not target.username:
        return {}
    pair = f"{target.username}:{target.password}".encode()
    return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}


def _redirected(url: str, location: str) -> str:
    try:
        target = urljoin(url, location)
        scheme, host, _ = _origin(target)
    except ValueError:
        scheme, host, target = "", "", ""
    before = urlsplit(url).scheme
    if scheme not in {"http", "https"} or not host or (before == "https" and scheme == "http"):
        raise upstream_failed("the index redirects to an unsupported address")
    return target


async def _whole(answer: aiohttp.ClientResponse, limit: int) -> bytes:
    if (answer.content_length or 0) > limit:
        raise PageError(f"the index's answer exceeds {limit} bytes")
    parts = bytearray()
    try:
        async for chunk in answer.content.iter_chunked(CHUNK):
            parts += chunk
            if len(parts) > limit:
                raise PageError(f"the index's answer exceeds {limit} bytes")
    except aiohttp.ClientError as error:
        raise upstream_failed("the index ended its answer early") from error
    return bytes(parts)


def _tls(config: Upstream) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=config.ca)
    except (ssl.SSLError, OSError) as error:
        raise TidewatchError(
            "the authorities' file can't be loaded",
            where="upstream.ca",
            remedy=f"name a PEM file ({error.strerror or error})",
        ) from error
