"""Runs the admission webhook: the HTTP server, and the topics that its decisions need."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import aclosing
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from aiokafka.errors import KafkaError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from agents.domain.knowledge import MemoryKnowledge
from agents.logs import Logger
from schemas.channels import Channel
from schemas.errors import TidewatchError
from streams import metrics
from streams.admission.config import AdmissionConfig
from streams.admission.judging import Known, rule
from streams.admission.register import AssessedContents, ContainedComponents
from streams.admission.review import answer, named_anew, read_review
from streams.apps.knowledge_topics import knowledge_references
from streams.engine.reference_topics import ReferenceTopic
from streams.gates import decode_assessment
from streams.gateway.proofs import certificate_names
from streams.http.bodies import read_body
from streams.http.connection import PEER
from streams.http.problems import HttpError
from streams.http.running import run_until_asked
from streams.http.server import HttpServer
from streams.kafka.awaiting import passes, until_answered
from streams.kafka.reader import read_topic
from streams.kafka.topics import ensure_topics, topic_name

if TYPE_CHECKING:
    from streams.settings import Settings

log = Logger()

APP: Final = "admit"
ADMIT_PATH: Final = "/v1/admit"
READS: Final = (Channel.ASSESSMENTS, Channel.HOLDS, Channel.INTEL, Channel.POLICY)
AGAIN_SECONDS: Final = 2.0


class AdmissionServer:
    """One admission webhook on one address."""

    def __init__(self, settings: Settings, config: AdmissionConfig) -> None:
        """Bind the address; nothing is read or answered before `run`.

        Raises:
            TidewatchError: A certificate or the address can't be used.
        """
        self._settings = settings
        self._config = config
        self._register = self._new_register()
        self._held = ContainedComponents(config.tenants.values())
        self._knowledge = MemoryKnowledge()
        self._assessed = False
        self._referred = False
        self._server = HttpServer(
            APP,
            [Route(ADMIT_PATH, self._admit, methods=["POST"])],
            config.listen,
            config.limits,
            drain_seconds=settings.drain_seconds,
        )
        self.url = self._server.url

    @property
    def ready(self) -> bool:
        """Whether everything that decisions need was read."""
        return self._assessed and self._referred

    def close(self) -> None:
        """Give the address back."""
        self._server.close()

    async def run(self, stop: asyncio.Event) -> None:
        """Answer until `stop` is set.

        While the broker is unavailable it decides by the records read so far.

        Raises:
            TidewatchError: The broker can't be reached at the start, or a topic can't be read.
        """
        ended = asyncio.Event()
        serving = asyncio.ensure_future(self._server.serve(ended))
        reading = asyncio.ensure_future(self._read(stop))
        stopping = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({serving, reading, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.set()
            ended.set()
            await asyncio.gather(reading, stopping, return_exceptions=True)
            await serving
        reading.result()

    async def _admit(self, request: Request) -> Response:
        """Answer one AdmissionReview."""
        self._require_client(request)
        limits = self._config.limits
        body = await read_body(request, limit=limits.body_bytes, seconds=limits.body_seconds)
        asked = read_review(body)
        known = Known(
            contents=self._register, held=self._held, knowledge=self._knowledge, ready=self.ready
        )
        ruling = rule(named_anew(asked), asked.namespace or "", self._config, known)
        metrics.ADMISSION_REVIEWS.labels(ruling.outcome, str(ruling.admitted).lower()).inc()
        if ruling.reasons:
            log.warning(
                "not-admitted" if not ruling.admitted else "admitted-unknown",
                object=asked.label[:200],
                operation=asked.operation[:20],
                outcome=ruling.outcome,
                reasons=[why[:300] for why in ruling.reasons[:5]],
            )
        return Response(answer(asked, ruling), media_type="application/json")

    def _require_client(self, request: Request) -> None:
        allowed = self._config.clients
        names = certificate_names(request.scope["state"].get(PEER))
        if allowed and names.isdisjoint(allowed):
            raise HttpError(
                HTTPStatus.UNAUTHORIZED,
                "the client's certificate is not among those allowed",
                where="clients",
                remedy="give the API server a certificate (AdmissionConfiguration, kubeConfigFile)",
            )

    def _new_register(self) -> AssessedContents:
        return AssessedContents(self._config.tenants.values(), self._config.fail_on)

    async def _read(self, stop: asyncio.Event) -> None:
        """Read the topics until `stop` is set."""
        settings = self._settings
        references = (
            *knowledge_references(self._knowledge, settings),
            ReferenceTopic(Channel.HOLDS, self._held.set),
        )

        async def load() -> bool:
            await ensure_topics(settings, channels=list(READS))
            for reference in references:
                await reference.load(settings)
            return True

        try:
            if not await until_answered(load, settings, stop):
                return
            self._referred = True
            await self._follow(stop)
        finally:
            for reference in references:
                await reference.close()

    async def _follow(self, stop: asyncio.Event) -> None:
        """Keep the register up to date; one that is read again replaces it once complete."""
        stopping = asyncio.ensure_future(stop.wait())
        try:
            while not stop.is_set():
                reading = asyncio.ensure_future(self._read_assessments())
                await asyncio.wait({reading, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if not reading.done():
                    reading.cancel()
                    await asyncio.gather(reading, return_exceptions=True)
                    return
                try:
                    reading.result()
                except (TidewatchError, KafkaError, OSError) as error:
                    if not passes(error):
                        raise
                    log.warning("assessments-unread", error=str(error))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), AGAIN_SECONDS)
        finally:
            stopping.cancel()
            await asyncio.gather(stopping, return_exceptions=True)

    async def _read_assessments(self) -> None:
        register = self._new_register()

        def whole() -> None:
            self._register = register
            if not self._assessed:
                log.info("admission-ready", url=self.url)
            self._assessed = True

        topic = topic_name(self._settings, Channel.ASSESSMENTS)
        records = read_topic(self._settings, topic, from_start=True, follow=True, at_end=whole)
        async with aclosing(records):
            async for record in records:
                assessment = decode_assessment(record)
                if assessment is not None:
                    register.take(assessment)


async def run_admission(settings: Settings, config: AdmissionConfig) -> None:
    """Answer the API server until asked to stop (SIGTERM, SIGINT); then drain.

    Raises:
        TidewatchError: An address is taken, a file or a topic can't be read.
    """
    await run_until_asked(APP, AdmissionServer(settings, config), settings)
