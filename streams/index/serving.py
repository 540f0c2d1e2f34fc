"""Runs the index: the HTTP server, the topics of intelligence and policies, the upstream index."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from agents.domain.knowledge import MemoryKnowledge
from agents.logs import Logger
from schemas.channels import Channel
from schemas.components import canonical_package
from streams import metrics
from streams.apps.knowledge_topics import knowledge_references
from streams.http.problems import HttpError
from streams.http.running import run_until_asked
from streams.http.server import HttpServer
from streams.index.config import IndexConfig, target_of
from streams.index.judging import Refusal, is_own_name, judge_file, judge_project
from streams.index.pages import (
    JSON_TYPE,
    IndexFile,
    ListedFile,
    file_path,
    html_page,
    json_page,
    wanted_type,
)
from streams.index.upstream import UpstreamIndex, WrongBytesError
from streams.kafka.awaiting import until_answered
from streams.kafka.topics import ensure_topics

if TYPE_CHECKING:
    from streams.settings import Settings

log = Logger()

APP: Final = "index"
READS: Final = (Channel.INTEL, Channel.POLICY)
_METADATA: Final = ".metadata"
_PROJECT: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,254}[a-z0-9])?")
"""A canonical name, the only kind of name that is requested upstream."""


class IndexServer:
    """One index on one address."""

    def __init__(self, settings: Settings, config: IndexConfig) -> None:
        """Bind the address; nothing is answered before `run`.

        Raises:
            TidewatchError: The upstream index is not known, or a file or the address can't be used.
        """
        self._settings = settings
        self._config = config
        target = target_of(config.upstream)
        self._upstream = UpstreamIndex(config.upstream, target)
        self._knowledge = MemoryKnowledge()
        self.ready = False
        """Whether intelligence and policies were read."""
        self._server = HttpServer(
            APP,
            [
                Route("/simple/{project}", self._unslashed, methods=["GET"]),
                Route("/simple/{project}/", self._page, methods=["GET"]),
                Route("/files/{project}/{filename}", self._file, methods=["GET"]),
                Route("/refused/{code}/{project}/{filename}", self._refused, methods=["GET"]),
            ],
            config.listen,
            config.limits,
            drain_seconds=settings.drain_seconds,
        )
        self.url = self._server.url

    def close(self) -> None:
        """Give the address back."""
        self._server.close()

    async def run(self, stop: asyncio.Event) -> None:
        """Answer until `stop` is set.

        Raises:
            TidewatchError: The broker can't be reached at the start, or a topic can't be read.
        """
        references = knowledge_references(self._knowledge, self._settings)

        async def load() -> bool:
            await ensure_topics(self._settings, channels=list(READS))
            for reference in references:
                await reference.load(self._settings)
            return True

        await self._upstream.open()
        ended = asyncio.Event()
        serving = asyncio.ensure_future(self._server.serve(ended))
        try:
            if await until_answered(load, self._settings, stop):
                self.ready = True
                log.info("index-ready", url=f"{self.url}/simple/")
                stopping = asyncio.ensure_future(stop.wait())
                await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
                stopping.cancel()
                await asyncio.gather(stopping, return_exceptions=True)
        finally:
            ended.set()
            await serving
            for reference in references:
                await reference.close()
            await self._upstream.close()

    async def _unslashed(self, request: Request) -> Response:
        """Redirect to the page of a project (PEP 503)."""
        name = canonical_package(request.path_params["project"])
        return RedirectResponse(f"{file_path(name)}/", HTTPStatus.MOVED_PERMANENTLY)

    async def _page(self, request: Request) -> Response:
        """Answer the page of a project, without refused files."""
        self._require_ready()
        asked = request.path_params["project"]
        name = canonical_package(asked)
        if asked != name:
            return RedirectResponse(f"../{file_path(name)}/", HTTPStatus.MOVED_PERMANENTLY)
        kind = wanted_type(request.headers.get("accept"))
        if kind is None:
            raise HttpError(
                HTTPStatus.NOT_ACCEPTABLE, "the index serves HTML and JSON", where="accept"
            )
        files = await self._files(name)
        if files is None:
            raise _absent()
        entries = self._entries(name, files)
        made = json_page if kind == JSON_TYPE else html_page
        # a page may have thousands of files
        body = await asyncio.to_thread(made, name, entries)
        return Response(body, media_type=kind, headers={"vary": "accept"})

    async def _files(self, name: str) -> tuple[IndexFile, ...] | None:
        """Return the files of a project; None if it does not exist or must not be requested."""
        if not _PROJECT.fullmatch(name) or is_own_name(name, self._config, self._knowledge):
            return None
        return await self._upstream.files(name)

    def _entries(self, name: str, files: tuple[IndexFile, ...]) -> list[ListedFile]:
        """Return how files are listed.

        A refused file is yanked, and its address contains the reason: a resolver skips it if there
        is another, and an installer that needs this one shows the address. If every file is refused
        none is yanked: the installer then requests one, and shows the reason of the refusal.
        """
        whole = judge_project(name, self._config, self._knowledge)
        now = datetime.now(UTC)
        judged = [
            (file, whole or judge_file(file, name, self._config, self._knowledge, now))
            for file in files
        ]
        some = any(refusal is None for _, refusal in judged)
        return [_entry(name, file, refusal, passed_over=some) for file, refusal in judged]

    async def _file(self, request: Request) -> Response:
        """Answer a file or its metadata: judged again, and verified while it is streamed."""
        self._require_ready()
        name, filename = request.path_params["project"], request.path_params["filename"]
        asked = filename.removesuffix(_METADATA)
        files = await self._files(name) if canonical_package(name) == name else None
        file = next((candidate for candidate in files or () if candidate.filename == asked), None)
        if file is None:
            metrics.INDEX_FILES.labels("absent").inc()
            raise _absent()
        refusal = judge_project(name, self._config, self._knowledge) or judge_file(
            file, name, self._config, self._knowledge, datetime.now(UTC)
        )
        if refusal is not None:
            # the address that an installer shows contains the reason
            return RedirectResponse(
                f"../../{file_path('refused', refusal.code, name, asked)}", HTTPStatus.FOUND
            )
        if filename != asked:
            found = await self._upstream.metadata(file) if file.metadata is not False else None
            if found is None:
                raise _absent()
            return Response(found, media_type="application/octet-stream")
        if request.method == "HEAD":
            size = {"content-length": str(file.size)} if file.size is not None else {}
            return Response(headers=size, media_type="application/octet-stream")
        return await self._streamed(file)

    async def _streamed(self, file: IndexFile) -> Response:
        async with AsyncExitStack() as stack:
            size, chunks = await stack.enter_async_context(self._upstream.download(file))
            held = stack.pop_all()

        async def body() -> AsyncIterator[bytes]:
            outcome = "broken"
            try:
                async with held:
                    async for chunk in chunks:
                        yield chunk
                outcome = "served"
            except WrongBytesError as error:
                # the connection ends before the file does, so that no client considers it complete
                log.warning("index-wrong-bytes", file=file.filename, error=error.explain())
                raise ClientDisconnect from error
            finally:
                metrics.INDEX_FILES.labels(outcome).inc()

        headers = {"content-length": str(size)} if size is not None else {}
        return StreamingResponse(body(), headers=headers, media_type="application/octet-stream")

    async def _refused(self, request: Request) -> Response:
        """Answer why a file is refused."""
        self._require_ready()
        name, filename = request.path_params["project"], request.path_params["filename"]
        refusal = judge_project(name, self._config, self._knowledge)
        files = await self._files(name) if canonical_package(name) == name else None
        file = next(
            (candidate for candidate in files or () if candidate.filename == filename), None
        )
        if file is None:
            raise _absent()
        if refusal is None:
            refusal = judge_file(file, name, self._config, self._knowledge, datetime.now(UTC))
        if refusal is None:
            # it was refused before: it is old enough now, or the fact was withdrawn
            served = f"../../../{file_path('files', name, filename)}"
            return RedirectResponse(served, HTTPStatus.FOUND)
        metrics.INDEX_FILES.labels("refused").inc()
        metrics.INDEX_REFUSALS.labels(refusal.reason).inc()
        log.warning("index-refusal", file=filename, reason=refusal.code, detail=refusal.text)
        raise HttpError(
            HTTPStatus.FORBIDDEN,
            f"{filename} is refused: {refusal.text}",
            reason=refusal.code,
            remedy="ask the operator of this index",
        )

    def _require_ready(self) -> None:
        """Refuse to answer before intelligence and policies were read."""
        if not self.ready:
            raise HttpError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "the index is still reading intelligence",
                reason="starting",
                headers={"retry-after": "1"},
            )


def _entry(name: str, file: IndexFile, refusal: Refusal | None, *, passed_over: bool) -> ListedFile:
    if refusal is None:
        url = f"../../{file_path('files', name, file.filename)}"
        return ListedFile(file=file, url=url, yanked=file.yanked, metadata=file.metadata)
    yanked: Any = f"tidewatch: {refusal.text}" if passed_over else False
    url = f"../../{file_path('refused', refusal.code, name, file.filename)}"
    return ListedFile(file=file, url=url, yanked=yanked, metadata=False)


def _absent() -> HttpError:
    return HttpError(HTTPStatus.NOT_FOUND, "the index has nothing of that name")


async def run_index(settings: Settings, config: IndexConfig) -> None:
    """Answer installers until asked to stop (SIGTERM, SIGINT); then drain.

    Raises:
        TidewatchError: An address is taken, a file or a topic can't be read, or the upstream index
            is not known.
    """
    await run_until_asked(APP, IndexServer(settings, config), settings)
