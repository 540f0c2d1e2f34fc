"""Request handlers of the gateway: webhooks of producers, CloudEvents, and its OpenAPI."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from agents.logs import Logger
from schemas import dead_letters as reasons
from schemas.errors import TidewatchError, UnreadableRecordError
from streams import metrics
from streams.adapters.envelopes import why_no_event
from streams.event_records import CHANNEL_OF_TYPE, CONTENT_TYPE, EventRecord, event_key
from streams.gateway.assessments import AssessmentIndex
from streams.gateway.config import CLOUDEVENTS, Endpoint, GatewayConfig
from streams.gateway.delivery import GatewayRecord, RecordWriter
from streams.gateway.letters import APP, Letters
from streams.gateway.openapi import document
from streams.gateway.pressure import Reservation, Room
from streams.gateway.proofs import WINDOW_SECONDS, Prover, certificate_names, single
from streams.gateway.reading import read_cloudevents, read_hook
from streams.gateway.trying import HEADER as TEST_HEADER
from streams.http.bodies import declared_size, read_body, refuse_unreadable
from streams.http.connection import PEER
from streams.http.problems import HttpError, problem_of
from streams.http.secrets import Tokens
from streams.kafka.topics import topic_name
from streams.settings import Settings

log = Logger()

REMEMBERED: Final = 10_000
"""Signed deliveries that each endpoint remembers for as long as their signature holds."""
MAX_WAIT: Final = 60
"""Seconds that a request may wait for an assessment."""
DELIVERY: Final = "x-mlflow-delivery-id"
UNPROVED: Final = "unproved"
PRESSED: Final = "pressed"

ReadRequest = Callable[[], list[EventRecord]]


class ServedEndpoint:
    """One endpoint as it is served."""

    def __init__(self, name: str, endpoint: Endpoint) -> None:
        """Read its secrets.

        Raises:
            TidewatchError: A secret can't be read.
        """
        self.name = name
        self.endpoint = endpoint
        self.prover = Prover(name, endpoint)
        self._seen: OrderedDict[str, float] = OrderedDict()

    def count(self, outcome: str) -> None:
        """Count a request by its outcome."""
        metrics.GATEWAY_REQUESTS.labels(self.name, outcome).inc()

    def seen(self, delivery: str) -> bool:
        """Return whether a signed delivery was accepted already."""
        now = time.monotonic()
        while self._seen and next(iter(self._seen.values())) < now - WINDOW_SECONDS:
            self._seen.popitem(last=False)
        return delivery in self._seen

    def remember(self, delivery: str) -> None:
        """Remember a signed delivery that was accepted."""
        self._seen[delivery] = time.monotonic()
        while len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)


class Gateway:
    """The handlers of one gateway."""

    def __init__(self, settings: Settings, config: GatewayConfig, delivery: RecordWriter) -> None:
        """Read every endpoint's secrets.

        Raises:
            TidewatchError: A secret can't be read, or two tokens are the same.
        """
        self._settings = settings
        self._config = config
        self._delivery = delivery
        self._letters = Letters(settings)
        self._hooks: dict[str, ServedEndpoint] = {}
        self._tokens: Tokens[ServedEndpoint] = Tokens()
        self._clients: dict[str, ServedEndpoint] = {}
        for name, endpoint in config.endpoints.items():
            door = ServedEndpoint(name, endpoint)
            if endpoint.producer != CLOUDEVENTS:
                self._hooks[name] = door
                continue
            for token in door.prover.secrets:
                self._tokens.add(token, door, f"endpoints.{name}.secret")
            for client in endpoint.clients:
                if client in self._clients:
                    raise TidewatchError(
                        f"two endpoints are for {client}",
                        where=f"endpoints.{name}.clients",
                        remedy="name each client once: it has one tenant",
                    )
                self._clients[client] = door
        self._room = Room(
            config.pressure.in_flight_bytes,
            (endpoint.tenant for endpoint in config.endpoints.values()),
            config.limits.body_bytes,
        )
        self.index = AssessmentIndex(
            {bound.tenant for bound in config.endpoints.values() if bound.producer == CLOUDEVENTS}
        )
        self._openapi = document()

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/v1/events", self.events, methods=["POST"]),
            Route("/v1/hooks/{endpoint}", self.hook, methods=["POST"]),
            Route("/v1/hooks/{endpoint}/{secret}", self.hook, methods=["POST"]),
            Route("/v1/assessments/{event:path}", self.assessment, methods=["GET"]),
            Route("/openapi.json", self.openapi, methods=["GET"]),
        ]

    async def openapi(self, _request: Request) -> Response:
        """Answer the OpenAPI description."""
        return JSONResponse(self._openapi)

    async def assessment(self, request: Request) -> Response:
        """Answer the assessment of an event of the token's tenant; wait for it if asked to."""
        door = self._authenticated(request)
        found = await self.index.wait(
            door.endpoint.tenant,
            request.path_params["event"],
            request.query_params.get("source"),
            _wait_seconds(request.query_params.get("wait", "0")),
        )
        final = found is not None and found.final
        return JSONResponse(
            {
                "final": final,
                "status": found.status if found else None,
                "severity": found.severity if found else None,
                "assessment": msgspec.to_builtins(found.last) if found else None,
            },
            HTTPStatus.OK if final else HTTPStatus.ACCEPTED,
            None if final else {"retry-after": "1"},
        )

    async def events(self, request: Request) -> Response:
        """Take CloudEvents."""
        door = self._authenticated(request)
        if TEST_HEADER in request.headers:
            return _tested(door)
        refuse_unreadable(request, self._config.limits.body_bytes)
        room = self._reserve(door, request, proved=True)
        try:
            body = await self._body(request)
        except BaseException:
            room.release()
            raise

        def read() -> list[EventRecord]:
            return read_cloudevents(
                request.headers.raw,
                body,
                tenant=door.endpoint.tenant,
                now_ms=_now_ms(),
                max_bytes=self._settings.max_event_bytes,
            )

        return await self._take(door, request, body, read, room)

    async def hook(self, request: Request) -> Response:
        """Take a producer's request."""
        door = self._hooks.get(request.path_params["endpoint"])
        refuse_unreadable(request, self._config.limits.body_bytes)
        by_path = "secret" in request.path_params
        if door is None or by_path != (door.prover.rule.kind == "path"):
            metrics.GATEWAY_REQUESTS.labels("unknown", UNPROVED).inc()
            raise _unproved()
        signed = door.prover.signs_body
        if not signed:
            self._prove(door, request, b"")
        room = self._reserve(door, request, proved=not signed)
        try:
            body = await self._body(request)
            if signed:
                self._prove(door, request, body)
        except BaseException:
            room.release()
            raise
        if TEST_HEADER in request.headers:
            room.release()
            return _tested(door)
        delivery = (
            single(request.headers.raw, DELIVERY) if door.prover.rule.kind == "mlflow" else None
        )
        if delivery is not None and door.seen(delivery):
            room.release()
            door.count("repeated")
            return JSONResponse({"events": [], "repeated": True})

        def read() -> list[EventRecord]:
            return read_hook(
                door.endpoint,
                request.headers.raw,
                body,
                now_ms=_now_ms(),
                max_bytes=self._settings.max_event_bytes,
            )

        answer = await self._take(door, request, body, read, room)
        if delivery is not None and answer.status_code < HTTPStatus.BAD_REQUEST:
            door.remember(delivery)
        return answer

    def _authenticated(self, request: Request) -> ServedEndpoint:
        """Return the owner of a request's token or client certificate."""
        door = self._tokens.grant(single(request.headers.raw, "authorization"))
        if door is None and self._clients:
            names = certificate_names(request.scope["state"].get(PEER))
            door = next(
                (self._clients[name] for name in sorted(names & self._clients.keys())), None
            )
        if door is None:
            metrics.GATEWAY_REQUESTS.labels("unknown", UNPROVED).inc()
            raise _unproved()
        return door

    def _prove(self, door: ServedEndpoint, request: Request, body: bytes) -> None:
        if not door.prover.proves(
            request.headers.raw,
            body,
            peer=request.scope["state"].get(PEER),
            path_secret=request.path_params.get("secret"),
            now=datetime.now(UTC),
        ):
            door.count(UNPROVED)
            raise _unproved()

    def _reserve(self, door: ServedEndpoint, request: Request, *, proved: bool) -> Reservation:
        size = declared_size(request)
        wanted = self._config.limits.body_bytes if size is None else size
        room = self._room.reserve(door.endpoint.tenant, wanted, proved=proved)
        if room is None:
            door.count(PRESSED)
            raise HttpError(
                HTTPStatus.TOO_MANY_REQUESTS,
                "too many requests are in progress",
                remedy="send it again later",
                reason=PRESSED,
                headers={"retry-after": "1"},
            )
        return room

    async def _body(self, request: Request) -> bytes:
        limits = self._config.limits
        return await read_body(request, limit=limits.body_bytes, seconds=limits.body_seconds)

    async def _take(
        self,
        door: ServedEndpoint,
        request: Request,
        body: bytes,
        read: ReadRequest,
        room: Reservation,
    ) -> Response:
        """Read a request's events and deliver them, or its dead letter; release its memory."""
        began = time.monotonic()
        try:
            records = read()
        except UnreadableRecordError as error:
            return await self._refuse(door, request, body, error, room)
        except BaseException:
            room.release()
            raise
        await self._deliver(door, [self._outgoing(record) for record in records], room)
        metrics.GATEWAY_SECONDS.observe(time.monotonic() - began)
        for record in records:
            metrics.EVENTS_OUT.labels(APP, CHANNEL_OF_TYPE[record.event.type]).inc()
        door.count("accepted")
        if not records:
            return JSONResponse({"events": [], "reason": why_no_event(body)})
        return JSONResponse({"events": [_shown(record) for record in records]}, HTTPStatus.ACCEPTED)

    async def _deliver(
        self, door: ServedEndpoint, records: Sequence[GatewayRecord], room: Reservation
    ) -> None:
        if not records:
            room.release()
            return
        try:
            await self._delivery.deliver(records, room.release)
        except HttpError as error:
            door.count("away" if error.status is HTTPStatus.SERVICE_UNAVAILABLE else "refused")
            raise

    def _outgoing(self, record: EventRecord) -> GatewayRecord:
        topic = topic_name(self._settings, CHANNEL_OF_TYPE[record.event.type])
        return GatewayRecord(topic, event_key(record.event).encode(), record.value, (CONTENT_TYPE,))

    async def _refuse(
        self,
        door: ServedEndpoint,
        request: Request,
        body: bytes,
        error: UnreadableRecordError,
        room: Reservation,
    ) -> Response:
        """Answer an unreadable request once its dead letter is on the broker."""
        letter = self._letters.letter(
            door.name, body, single(request.headers.raw, "content-type"), error
        )
        await self._deliver(door, [letter] if letter is not None else [], room)
        if letter is not None:
            metrics.DEAD_LETTERS.labels(APP, _channel(door), error.reason).inc()
        door.count("refused")
        log.warning("request-refused", endpoint=door.name, reason=error.reason, detail=error.error)
        refused = HttpError(
            _STATUS.get(error.reason, HTTPStatus.BAD_REQUEST),
            "the request can't be read",
            where=error.error,
            reason=error.reason,
            remedy=f"correct it: the endpoint takes {door.endpoint.producer}, of its own tenant",
        )
        key = letter.key.decode() if letter is not None else None
        return problem_of(refused, {"dead_letter": key})


_STATUS: Final[Mapping[str, HTTPStatus]] = {
    reasons.TENANT_MISMATCH: HTTPStatus.FORBIDDEN,
    reasons.TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
}


def _tested(door: ServedEndpoint) -> Response:
    """Return the answer to an authenticated test request."""
    door.count("tested")
    endpoint = door.endpoint
    return JSONResponse(
        {
            "test": True,
            "endpoint": door.name,
            "tenant": endpoint.tenant,
            "producer": endpoint.producer,
        }
    )


def _channel(door: ServedEndpoint) -> str:
    """Return the intended channel of a refused request, as far as its endpoint determines it."""
    return door.endpoint.producer


def _shown(record: EventRecord) -> dict[str, Any]:
    event = record.event
    return {"id": event.id, "source": event.source, "type": event.type, "subject": event.subject}


def _unproved() -> HttpError:
    """Return the answer to an unauthenticated request; it names no endpoint."""
    return HttpError(
        HTTPStatus.UNAUTHORIZED,
        "the endpoint does not exist, or its secret or signature is wrong",
        remedy="compare address and secret with: tidewatch gateway --check FILE",
        reason=UNPROVED,
        headers={"www-authenticate": "Bearer"},
    )


def _wait_seconds(text: str) -> float:
    """Return how long a request wants to wait.

    Raises:
        HttpError: 400, not a number of seconds up to `MAX_WAIT`.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= 2 and int(text) <= MAX_WAIT):  # noqa: PLR2004 -- digits of MAX_WAIT
        raise HttpError(
            HTTPStatus.BAD_REQUEST,
            f"wait is not a number of seconds from 0 to {MAX_WAIT}",
            where="wait",
            remedy="ask again after each answer",
        )
    return float(text)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
